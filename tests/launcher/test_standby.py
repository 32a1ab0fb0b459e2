"""The launcher and its standby: no request is lost or answered twice, whatever is broken."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from inkgate.squid_conf.launching import place_launcher
from support.installation import BIN, Installation, attribute
from support.status import status
from support.waiting import wait_until

LAUNCHER = Path(__file__).parents[2] / "squid_conf" / "launcher" / "inkgate-launch"

# Stands for the helper: starts only once a file is there, then answers each line with OK.
_HELPER = """\
#!/bin/sh
case "$*" in
*--check*) [ -e "$0.can-start" ] || { echo "$0: the interpreter is gone" >&2; exit 3; } ;;
*) exec awk '{ print $1, "OK"; fflush() }' ;;
esac
"""


class Launched:
    """A launcher with a pipe to it, as Squid has one.

    Attributes:
        process: the launcher's.
    """

    def __init__(self, folder: Path, settings: str = "", launcher: Path = LAUNCHER) -> None:
        self.folder = folder
        self.helper = folder / "helper"
        self.helper.write_text(_HELPER)
        self.helper.chmod(0o755)
        self.config = folder / "inkgate.toml"
        self.config.write_text(settings)
        self.log = (folder / "log").open("w+")
        self.process = subprocess.Popen(
            [launcher, self.helper, self.config],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
        )

    def can_start(self) -> None:
        """From now on the helper can start."""
        Path(f"{self.helper}.can-start").touch()

    def send(self, data: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def answer(self) -> bytes:
        assert self.process.stdout
        return self.process.stdout.readline()

    def said(self) -> str:
        return (self.folder / "log").read_text()

    def end(self) -> list[bytes]:
        """End its input; the answers that were still to come."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        rest = self.process.stdout.read().splitlines()
        self.process.wait(30)
        return rest

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.log):
            if pipe:
                pipe.close()


@pytest.fixture
def launched(tmp_path: Path) -> Iterator[Launched]:
    made = Launched(tmp_path)
    yield made
    made.close()


def test_helper_that_can_start_gets_every_line(tmp_path: Path) -> None:
    (tmp_path / "helper.can-start").touch()
    made = Launched(tmp_path)
    try:
        made.send(b"1 GET http://a.example/ 192.0.2.1 - - -\n")
        assert made.answer() == b"1 OK\n"
        assert made.end() == []
        assert made.said() == ""
    finally:
        made.close()


@pytest.mark.parametrize(
    ("fail", "answer"),
    [
        ("open", b"7 ERR log=inkgate-unavailable\n"),
        ("closed", b"7 BH message=inkgate-unavailable log=inkgate-unavailable\n"),
    ],
)
def test_helper_that_cannot_start_is_answered_for_and_said(
    tmp_path: Path, fail: str, answer: bytes
) -> None:
    made = Launched(tmp_path, f'[helper]\nfail = "{fail}"')
    try:
        made.send(b"7 GET http://a.example/ 192.0.2.1 - - -\n")
        assert made.answer() == answer
        wait_until(lambda: "the interpreter is gone" in made.said(), "the reason in the log")
        (line,) = [line for line in made.said().splitlines() if "interpreter" in line]
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00 inkgate-standby\[\d+\]: ", line)
        assert "critical: helper-not-started" in line
    finally:
        made.close()


def test_hand_over_answers_each_line_exactly_once(launched: Launched) -> None:
    count = 100_000
    answers: list[bytes] = []
    reader = threading.Thread(
        target=lambda: answers.extend(launched.process.stdout or ())  # type: ignore[arg-type]
    )
    reader.start()
    for start in range(0, count, 100):
        # Cut anywhere, so that blocks end in the middle of lines.
        lines = b"".join(
            b"%d GET http://h%d.example/ 192.0.2.1 - - -\n" % (n, n)
            for n in range(start, start + 100)
        )
        launched.send(lines[:37])
        launched.send(lines[37:])
        if start == count // 4:
            wait_until(lambda: len(answers) > count // 8, "answers of the standby")
            launched.can_start()
        if start == count // 2:
            wait_until(lambda: "takes over" in launched.said(), "the hand-over", 60)
    assert launched.process.stdin
    launched.process.stdin.close()
    reader.join(60)
    by = dict(answer.split()[:2] for answer in answers)
    assert len(answers) == count
    assert sorted(map(int, by)) == list(range(count))
    assert set(by.values()) == {b"ERR", b"OK"}


def test_half_line_is_finished_before_the_helper_takes_over(launched: Launched) -> None:
    launched.send(b"1 GET http://a.example/ 192.0.2.1 - - -\n2 GET http://b.exa")
    assert launched.answer() == b"1 ERR log=inkgate-unavailable\n"
    launched.can_start()
    # The trial ends while half a line lies in the standby; the rest must find it there.
    wait_until(lambda: not _children(launched.process.pid), "the end of the trial")
    launched.send(b"mple/ 192.0.2.1 - - -\n")
    assert launched.answer() == b"2 ERR log=inkgate-unavailable\n"
    wait_until(lambda: "takes over" in launched.said(), "the hand-over", 60)
    launched.send(b"3 GET http://c.example/ 192.0.2.1 - - -\n")
    assert launched.answer() == b"3 OK\n"


@pytest.mark.parametrize(
    ("line", "answers"),
    [
        (b"\n", []),
        (b"GET http://no-identity.example/\n", []),
        (b"18446744073709551616 GET x\n", []),
        (b"18446744073709551615 GET x\n", [b"18446744073709551615 ERR log=inkgate-unavailable"]),
        (b"5\n", [b"5 ERR log=inkgate-unavailable"]),
        (b"5", [b"5 ERR log=inkgate-unavailable"]),
        (b"6 " + b"x" * 1_000_000 + b"\n", [b"6 ERR log=inkgate-unavailable"]),
        (b"007x GET y\n", []),
        (b"9 \x00\xff\x1b[2J\n", [b"9 ERR log=inkgate-unavailable"]),
    ],
)
def test_only_lines_with_an_identity_are_answered(
    launched: Launched, line: bytes, answers: list[bytes]
) -> None:
    launched.send(line)
    assert launched.end() == answers


def test_signals_of_a_terminal_do_not_end_it(launched: Launched) -> None:
    launched.send(b"1 GET x\n")
    assert launched.answer() == b"1 ERR log=inkgate-unavailable\n"
    for number in (signal.SIGINT, signal.SIGHUP):
        os.kill(launched.process.pid, number)
    launched.send(b"2 GET x\n")
    assert launched.answer() == b"2 ERR log=inkgate-unavailable\n"


@pytest.mark.parametrize(
    ("settings", "answer"),
    [
        ("", b"ERR"),
        ("[helper]\nfail = 'closed'\n", b"BH"),
        ('[icap]\nfail = "closed"\n', b"ERR"),
        ('[helper]\n  fail="closed" # never let anything pass\n', b"BH"),
        ('[helper]\n# fail = "closed"\n', b"ERR"),
        ('not toml at all [[[\n[helper]\nfail = "closed"\n', b"BH"),
    ],
)
def test_fail_is_read_from_the_settings_even_if_they_are_broken(
    tmp_path: Path, settings: str, answer: bytes
) -> None:
    made = Launched(tmp_path, settings)
    try:
        made.send(b"1 GET x\n")
        assert made.answer().split()[1] == answer
    finally:
        made.close()


@pytest.mark.parametrize("name", ["helpr", "HELPER", "xyzzy", "inkgate.helper"])
def test_section_that_may_be_the_helpers_leaves_fail_as_it_was_placed(
    tmp_path: Path, name: str
) -> None:
    place_launcher(tmp_path, "closed")
    sections = f"[rules]\n[[rules.sources]]\n[{name}]\nfail = 'open'\n"
    made = Launched(tmp_path, sections, tmp_path / LAUNCHER.name)
    try:
        made.send(b"1 GET x\n")
        assert made.answer().split()[1] == b"BH"
    finally:
        made.close()


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@pytest.mark.parametrize("content", [b"", b"ajar\n", b"open; exit 1\n", b"\xff\x00"])
def test_copy_of_fail_that_is_damaged_counts_as_open(tmp_path: Path, content: bytes) -> None:
    place_launcher(tmp_path, "closed")
    (tmp_path / "fail").write_bytes(content)
    helper = tmp_path / "helper"
    helper.write_text('#!/bin/sh\n[ "$4" = open ] || exit 1\nexec awk \'{ print $1, "OK" }\'\n')
    helper.chmod(0o755)
    done = subprocess.run(
        [tmp_path / "inkgate-launch", helper, tmp_path / "missing.toml"],
        input=b"1 GET x\n",
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == b"1 OK\n"


def test_status_tells_of_the_standby(installation: Installation) -> None:
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    helper = installation.folder / "helper"
    helper.write_text(
        f'#!/bin/sh\n[ -e "$0.can-start" ] || exit 3\nexec {BIN / "inkgate-helper"} "$@"\n'
    )
    helper.chmod(0o755)
    process = subprocess.Popen(
        [LAUNCHER, helper, installation.config], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin
    assert process.stdout
    try:
        process.stdin.write(b"1 GET http://listed.example/ 192.0.2.1 - - -\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"1 ERR log=inkgate-unavailable\n"
        found = wait_until(
            lambda: (s := status(installation)).rows["by-fail"]["data"]["by_fail"] and s,
            "the answer to be counted",
        )
        assert found.code == 2
        assert found.is_now("helper-not-started")
        assert found.level("standby") == 2
        Path(f"{helper}.can-start").touch()
        found = wait_until(
            lambda: (s := status(installation)).rows.get("helper") and s, "the helper's row"
        )
        assert found.level("helper-not-started") == 0
        assert found.count("helper-not-started") >= 1
        assert found.rows["by-fail"]["data"]["by_fail"] == 1
        assert "process-died" not in found.rows
        process.stdin.write(b"2 GET http://listed.example/ 192.0.2.1 - - -\n")
        process.stdin.flush()
        assert process.stdout.readline().startswith(b"2 OK ")
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


@pytest.mark.parametrize("folder", ["", "nowhere/health"])
def test_counters_that_cannot_be_kept_are_said_unless_that_is_meant(
    tmp_path: Path, folder: str
) -> None:
    made = Launched(tmp_path, f'[health]\nfolder = "{folder}"')
    try:
        made.send(b"7 GET http://a.example/ 192.0.2.1 - - -\n")
        assert made.answer() == b"7 ERR log=inkgate-unavailable\n"
        assert ("warning: no counters in" in made.said()) is bool(folder)
        assert not list(tmp_path.glob("**/*.counters"))
    finally:
        made.close()
