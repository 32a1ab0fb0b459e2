"""tools/bootstrap.sh: what is missing is named, and a sudo that asks is answered, not refused."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.pages import ROOT
from support.waiting import wait_until

TOOLS = ("sh", "dirname", "cat", "tr", "env", "setsid", "touch")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A clone, and a machine without curl whose sudo and apt-get note what they are told."""
    (tmp_path / "clone/tools").mkdir(parents=True)
    shutil.copy(ROOT / "tools/bootstrap.sh", tmp_path / "clone/tools")
    programs = tmp_path / "bin"
    programs.mkdir()
    for tool in TOOLS:
        (programs / tool).symlink_to(shutil.which(tool) or tool)
    _program(programs / "id", "echo 1000")
    # It ends the script: nothing more is to be installed here.
    _program(programs / "apt-get", f'echo "apt-get $*" >>{tmp_path}/log; [ "$1" = update ]')
    _program(
        programs / "sudo",
        f'echo "sudo $*" >>{tmp_path}/log\n'
        'case "$1" in\n'
        f"-n) [ -e {tmp_path}/allowed ] || exit 1; shift;;\n"
        "-v) printf 'Password: ' >/dev/tty; read -r word </dev/tty\n"
        f'    [ "$word" = right ] || exit 1; touch {tmp_path}/allowed; exit;;\n'
        "esac\n"
        '"$@"\n',
    )
    return tmp_path


def _program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def log(place: Path) -> list[str]:
    path = place / "log"
    return path.read_text().splitlines() if path.exists() else []


def words(place: Path) -> list[str]:
    return ["setsid", "--ctty", "sh", str(place / "clone/tools/bootstrap.sh"), "run"]


def answered(place: Path, password: str) -> tuple[str, int]:
    """What is said on a terminal on which somebody types a password."""
    terminal, inside = pty.openpty()
    process = subprocess.Popen(
        words(place),
        stdin=inside,
        stdout=inside,
        stderr=inside,
        env={"PATH": str(place / "bin")},
    )
    os.close(inside)
    os.set_blocking(terminal, False)
    said = ""

    def read() -> str:
        nonlocal said
        with contextlib.suppress(OSError):
            said += os.read(terminal, 1 << 16).decode()
        return said

    try:
        wait_until(lambda: "Password: " in read() or process.poll() is not None, "the question")
        os.write(terminal, f"{password}\n".encode())
        wait_until(lambda: read() and process.poll() is not None, "its end")
        return read(), process.wait(10)
    finally:
        process.kill()
        os.close(terminal)


def test_sudo_that_asks_is_asked_where_there_is_a_terminal(place: Path) -> None:
    said, _ = answered(place, "right")
    assert "sudo asks for your password" in said
    assert "installing: curl" in said
    assert any(re.fullmatch(r"apt-get install .*\bcurl\b.*", line) for line in log(place))
    assert not any(line.startswith("sudo -n apt-get") for line in log(place))


def test_wrong_password_says_what_to_run(place: Path) -> None:
    said, status = answered(place, "wrong")
    assert "Run as root: apt-get update && apt-get install curl" in said
    assert status == 1
    assert not any(line.startswith("apt-get") for line in log(place))


def test_without_a_terminal_nobody_is_asked(place: Path) -> None:
    done = subprocess.run(
        words(place)[2:],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
        env={"PATH": str(place / "bin")},
    )
    assert done.returncode == 1
    assert "Run as root: apt-get update && apt-get install curl" in done.stderr
    assert log(place) == ["sudo -n true"]


def test_sudo_that_does_not_ask_is_used_at_once(place: Path) -> None:
    (place / "allowed").touch()
    subprocess.run(
        words(place)[2:],
        capture_output=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
        env={"PATH": str(place / "bin")},
    )
    assert log(place)[0] == "sudo -n true"
    assert any(line.startswith("sudo -n env") for line in log(place))
    assert not any(line.startswith("sudo -v") for line in log(place))


def test_readme_names_all_that_a_bare_debian_lacks() -> None:
    """What the script cannot install itself, since it or its caller needs it first."""
    text = (ROOT / "README.md").read_text()
    first = text[text.index("## Try it") : text.index("make run")]
    installed = re.search(r"apt-get install (.*)", first)
    assert installed
    assert {"git", "make", "python3-venv"} <= set(installed[1].split())
    assert "git clone" in first
    assert "cd inkgate" in first
