"""`match --follow --resume`: no line is lost or matched twice over ends, rotations and kills."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from support.installation import BIN, Installation, attribute
from support.waiting import wait_until

# A process or several for each test.
pytestmark = pytest.mark.slow

FORMAT = "%ts.%03tu %>a %rm %ru %<a"


@pytest.fixture
def listed(installation: Installation) -> Installation:
    """One that lists an address and a name."""
    installation.add(
        "listed", attribute("ip-dst", "198.51.100.66"), attribute("domain", "listed.example")
    )
    installation.refresh()
    return installation


def lines(first: int, count: int) -> str:
    return "".join(
        f"{1_750_000_000 + n}.000 192.0.2.7 CONNECT host{n}.example:443 198.51.100.66\n"
        for n in range(first, first + count)
    )


def follow(listed: Installation, log: Path, *options: str) -> subprocess.Popen[str]:
    command = [BIN / "inkgate-rules", "--config", listed.config, "match", "--follow", "--json"]
    command += ["--resume", listed.folder / "positions.json", "--format", FORMAT, *options, log]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def seen_by(process: subprocess.Popen[str], count: int) -> list[str]:
    """What the next matches were of."""
    assert process.stdout
    return [json.loads(process.stdout.readline())["observed"] for _ in range(count)]


def end(process: subprocess.Popen[str]) -> tuple[list[str], str]:
    """End it; what else matched, and what it said."""
    process.send_signal(signal.SIGTERM)
    out, said = process.communicate(timeout=60)
    return [json.loads(line)["observed"] for line in out.splitlines()], said


def hosts(first: int, count: int) -> list[str]:
    return [f"host{n}.example:443" for n in range(first, first + count)]


def test_next_run_goes_on_where_the_last_one_ended(listed: Installation, tmp_path: Path) -> None:
    log = tmp_path / "tunnels.log"
    log.write_text(lines(0, 3))
    first = follow(listed, log)
    assert seen_by(first, 3) == hosts(0, 3)
    assert end(first)[0] == []
    with log.open("a") as file:
        file.write(lines(3, 2))
    second = follow(listed, log)
    assert seen_by(second, 2) == hosts(3, 2)
    assert end(second)[0] == []


@pytest.mark.parametrize("is_killed", [True, False])
def test_half_a_line_at_the_end_is_read_whole_by_the_next_run(
    listed: Installation, tmp_path: Path, is_killed: bool
) -> None:
    log = tmp_path / "tunnels.log"
    text = lines(0, 3)
    log.write_text(text[:-20])
    first = follow(listed, log)
    assert seen_by(first, 2) == hosts(0, 2)
    wait_until((listed.folder / "positions.json").exists, "the position to be kept")
    if is_killed:
        first.kill()
        first.communicate()
    else:
        assert end(first)[0] == []
    log.write_text(text)
    second = follow(listed, log)
    assert seen_by(second, 1) == hosts(2, 1)
    assert end(second)[0] == []


def test_rotation_between_two_runs_loses_nothing(listed: Installation, tmp_path: Path) -> None:
    log = tmp_path / "tunnels.log"
    log.write_text(lines(0, 2))
    first = follow(listed, log)
    assert seen_by(first, 2) == hosts(0, 2)
    end(first)
    with log.open("a") as file:
        file.write(lines(2, 2))
    log.rename(tmp_path / "tunnels.log.0")
    log.write_text(lines(4, 2))
    second = follow(listed, log)
    assert seen_by(second, 4) == hosts(2, 4)
    assert end(second)[0] == []
    with log.open("a") as file:
        file.write(lines(6, 1))
    third = follow(listed, log)
    assert seen_by(third, 1) == hosts(6, 1)
    end(third)


def test_log_that_is_gone_is_said_and_the_new_one_read(
    listed: Installation, tmp_path: Path
) -> None:
    log = tmp_path / "tunnels.log"
    log.write_text(lines(0, 2))
    first = follow(listed, log)
    assert seen_by(first, 2) == hosts(0, 2)
    end(first)
    log.unlink()
    log.write_text(lines(5, 1))
    second = follow(listed, log)
    assert seen_by(second, 1) == hosts(5, 1)
    assert "is gone: what was added to it since is not matched" in end(second)[1]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a": 1}', b"\xff"])
def test_damaged_positions_are_refused_in_one_line(
    listed: Installation, tmp_path: Path, content: bytes
) -> None:
    (listed.folder / "positions.json").write_bytes(content)
    log = tmp_path / "tunnels.log"
    log.write_text(lines(0, 1))
    process = follow(listed, log)
    out, said = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert said.count("\n") == 1
    assert "positions.json" in said
    assert "remove it" in said


def test_only_the_server_of_a_line_is_looked_up(listed: Installation, tmp_path: Path) -> None:
    log = tmp_path / "tunnels.log"
    log.write_text(
        # A listed name, refused before it had a server; one at a clean server; a literal
        # address, which was judged when it was asked for; and a clean name at a listed one.
        "1750000000.000 192.0.2.7 CONNECT listed.example:443 -\n"
        "1750000001.000 192.0.2.7 CONNECT listed.example:443 192.0.2.80\n"
        "1750000002.000 192.0.2.7 CONNECT 198.51.100.66:443 198.51.100.66\n" + lines(0, 1)
    )
    process = follow(listed, log, "--only-server")
    assert seen_by(process, 1) == hosts(0, 1)
    assert end(process)[0] == []


def test_resume_goes_with_follow_alone(listed: Installation, tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text(lines(0, 1))
    done = listed.run("inkgate-rules", "match", "--resume", str(tmp_path / "p"), str(log))
    assert done.returncode == 2
    assert "--resume goes with --follow" in done.stderr
