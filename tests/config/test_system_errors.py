"""What the system refuses is one line with place and remedy, and status 2: in every command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from inkgate.config.command import CommandGroup
from inkgate.health.counters import Counters
from inkgate.rules.crypto.key_cache import KeyCache
from inkgate.sightings.journal.journal import Journal
from support.installation import BIN, Installation, attribute
from support.logs import access_line
from support.reporting import sighting
from support.small_disk import small_disk

NOBODY = 65_534
SUBSCRIBER = '[rules.subscribers.other]\ntoken_file = "other.token"\n'


# What is said, as a regular expression; SQLite has words of its own.
FAULTS = {
    "full": r"(No space left on device|disk is full).*; .*room",
    "read-only": r"(Read-only file system|readonly database).*; (mount it for writing|check )",
    "forbidden": r"(Permission denied|unable to open database).*; .*(owner|user|readable)",
}


def _without_keys(installation: Installation) -> None:
    for name in ("token", "publisher.pub", "publisher/signing.key"):
        (installation.folder / name).unlink()


def _with_a_pack(installation: Installation) -> None:
    done = installation.run("inkgate-rules", "export", str(installation.folder / "pack.inkgate"))
    assert done.returncode == 0, done.stderr
    for entry in (installation.folder / "rules").glob("**/*"):
        if entry.is_file() or entry.is_symlink():
            entry.unlink()


def _changed(installation: Installation) -> None:
    installation.add("more", attribute("domain", "more.example"))


def _nothing(_: Installation) -> None:
    pass


# Words, with FOLDER for the installation's; what is done while there still is room.
WRITING: dict[str, tuple[tuple[str, ...], Callable[[Installation], None]]] = {
    "keygen": (("inkgate-rules", "keygen"), _without_keys),
    "refresh": (("inkgate-rules", "refresh"), _changed),
    "publish": (("inkgate-rules", "publish", "--for", "other", "-o", "FOLDER/out"), _changed),
    "export": (("inkgate-rules", "export", "FOLDER/own.inkgate"), _nothing),
    "export-foreign": (
        ("inkgate-rules", "export-foreign", "--format", "thesis-pbkdf2", "FOLDER/partner"),
        _nothing,
    ),
    "install": (("inkgate-rules", "install", "FOLDER/pack.inkgate"), _with_a_pack),
    "pages": (("inkgate-squid-conf", "pages"), _nothing),
    "launcher": (("inkgate-squid-conf", "launcher"), _nothing),
    "clients' key": (("inkgate-sightings", "keygen"), _nothing),
    "audit's picture": (("inkgate-rules", "audit", "--plot", "FOLDER/audit.svg"), _nothing),
    "report": (("inkgate-sightings", "report"), _nothing),
    "match's journal": (
        ("inkgate-rules", "match", "--sightings", "--format", "squid", "FOLDER/access.log"),
        _nothing,
    ),
    "group": (
        ("inkgate-sightings", "join"),
        _nothing,
    ),
}


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """An installation on a file system of its own."""
    with small_disk(tmp_path / "disk", 4) as place:
        for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
            folder.chmod(0o755)
        monkeypatch.setattr(tempfile, "tempdir", str(place))
        made = Installation()
        _set_up(made)
        yield made


def _set_up(made: Installation) -> None:
    text = made.config.read_text().replace("[helper]", SUBSCRIBER + "[helper]")
    text = text.replace(
        '"run/sightings.db"', '"run/sightings.db"\nclients_key_file = "clients.key"'
    )
    text += 'launcher = "launcher"\n[sightings.misp]\nurl = "http://127.0.0.1:9"\n'
    text += 'key_variable = "HOME"\n[aggregation]\nstate = "state"\nname = "a"\n'
    made.config.write_text(text)
    (made.folder / "other.token").write_bytes(os.urandom(32))
    (made.folder / "access.log").write_text(
        "1795650988.045 27 192.0.2.1 TCP_MISS/200 3398 GET http://listed.example/ - HIER_NONE/- -\n"
    )
    made.add("listed", attribute("domain", "listed.example"))
    made.refresh()


def _break(fault: str, installation: Installation) -> None:
    if fault == "read-only":
        place = installation.folder.parent
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
    if fault == "full":
        with pytest.raises(OSError, match="No space"):
            (installation.folder / "filling").write_bytes(bytes(5 << 20))


def run(installation: Installation, words: tuple[str, ...], fault: str, **more: object) -> str:
    """Standard error of a command that must have failed as it should."""
    command, *rest = (word.replace("FOLDER", str(installation.folder)) for word in words)
    if fault == "forbidden":
        more |= {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    with tempfile.TemporaryDirectory(prefix="inkgate-open-", dir="/var/tmp") as folder:
        # Tests' own folders are those of the user that runs the tests alone.
        Path(folder).chmod(0o777)
        if fault == "forbidden":
            more["env"] = {**os.environ, "HOME": "/", "MPLCONFIGDIR": folder}
        done = subprocess.run(
            [BIN / command, "--config", installation.config, *rest],
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=120,
            check=False,
            **{"stdout": subprocess.DEVNULL, "cwd": "/", **more},
        )
    assert "Traceback" not in done.stderr
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if ": warning: no counters in " not in line]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith(f"{command}: ")
    return lines[0]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", WRITING)
@pytest.mark.slow
def test_command_that_writes_says_what_is_wrong(small: Installation, name: str, fault: str) -> None:
    words, prepare = WRITING[name]
    prepare(small)
    small.config.chmod(0o644)
    _break(fault, small)
    said = run(small, words, fault)
    assert re.search(FAULTS[fault], said), said
    assert str(small.folder) in said
    assert "[Errno" not in said


@pytest.mark.parametrize("free_kib", range(0, 400, 20))
@pytest.mark.slow
def test_refresh_that_runs_out_of_room_anywhere_says_so(small: Installation, free_kib: int) -> None:
    """Among them the key cache, whose files LMDB maps: a hole in one would end the process."""
    small.add("more", *(attribute("domain", f"{n}.more.example") for n in range(100)))
    _break("full", small)
    filling = small.folder / "filling"
    os.truncate(filling, filling.stat().st_size - (free_kib << 10))
    before = (small.folder / "rules/current").readlink()
    done = small.run("inkgate-rules", "refresh")
    if done.returncode == 0:
        return
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "No space left on device" in done.stderr
    assert "; make room there" in done.stderr
    assert str(small.folder) in done.stderr
    assert (small.folder / "rules/current").readlink() == before


PRINTING = (
    ("inkgate-rules", "inspect"),
    ("inkgate-rules", "inspect", "--json"),
    ("inkgate-rules", "match", "domain=listed.example"),
    ("inkgate-rules", "match", "FOLDER/access.log"),
    ("inkgate-rules", "audit"),
    ("inkgate-rules", "export", "-"),
    ("inkgate-rules", "refresh"),
    ("inkgate-squid-conf", "fragment"),
    ("inkgate-squid-conf", "minimal"),
    ("inkgate-squid-conf", "pages"),
    ("inkgate-sightings", "status"),
)


@pytest.mark.parametrize("words", PRINTING, ids=" ".join)
@pytest.mark.slow
def test_output_that_cannot_be_written_is_said(
    installation: Installation, words: tuple[str, ...]
) -> None:
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    (installation.folder / "access.log").write_text('{"url": "http://listed.example/"}\n')
    installation.run("inkgate-squid-conf", "pages")
    text = installation.config.read_text()
    installation.config.write_text(text + f'launcher = "{installation.folder}/launcher"\n')
    installation.run("inkgate-squid-conf", "launcher")
    shown = installation.folder / "run"
    shown.chmod(0o755)
    with Path("/dev/full").open("w") as full:
        said = run(installation, words, "full", stdout=full)
    assert "standard output: No space left on device; make room there" in said


def test_reader_that_has_enough_is_no_error(installation: Installation) -> None:
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as nobody_reads:
        done = subprocess.run(
            [BIN / "inkgate-rules", "--config", installation.config, "inspect"],
            stdout=nobody_reads,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_our_own_fault_has_a_traceback_and_never_the_status_of_an_answer() -> None:
    @click.group(cls=CommandGroup)
    def group() -> None:
        pass

    @group.command()
    def broken() -> None:
        raise ZeroDivisionError

    done = CliRunner().invoke(group, ["broken"])
    assert done.exit_code == 2
    assert "ZeroDivisionError" in done.stderr
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("what", ["key cache", "counters"])
def test_mapped_file_on_a_full_disk_is_an_error_and_no_signal(
    small: Installation, what: str
) -> None:
    """A hole in a mapped file ends the process (SIGBUS) when it is written to."""
    cache = small.folder / "cache"
    KeyCache(cache, "a", 1 << 20).close()
    for lock in cache.glob("*-lock"):
        lock.unlink()
    _break("full", small)
    act = {
        "key cache": f"KeyCache(Path({str(cache)!r}), 'a', 1 << 20)",
        "counters": f"Counters(Path({str(small.folder / 'run')!r}), 'x', ['a']).add('a')",
    }[what]
    code = f"""
from pathlib import Path
from {KeyCache.__module__} import KeyCache
from {Counters.__module__} import Counters
try:
    {act}
except OSError as error:
    print(error.strerror)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd="/"
    )
    assert (done.returncode, done.stdout) == (0, "No space left on device\n"), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("inkgate", "status"),
        ("inkgate", "status", "--json"),
        ("inkgate-rules", "inspect"),
        ("inkgate-rules", "inspect", "--json"),
        ("inkgate-rules", "match", "domain=listed.example"),
        ("inkgate-rules", "refresh"),
        ("inkgate-sightings", "list"),
        ("inkgate-sightings", "status", "--json"),
        ("inkgate-squid-conf", "fragment"),
        ("inkgate", "squid", "--help"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("is_said_too", [False, True], ids=["stdout", "both"])
def test_reader_who_wants_no_more_is_no_error(
    installation: Installation, words: tuple[str, ...], is_said_too: bool
) -> None:
    """As with `| head`: the end is silent, and no status that means something else."""
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    with closing(Journal(installation.folder / "run" / "sightings.db")) as journal:
        journal.append([sighting(["5f0a1b2c-0000-4000-8000-000000000001"])])
    reader, writer = os.pipe()
    os.close(reader)
    command, *rest = words
    done = subprocess.run(
        [BIN / command, "--config", installation.config, *rest],
        stdout=writer,
        stderr=writer if is_said_too else subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert b"pipe" not in (done.stderr or b"").lower()
    assert done.returncode in (1, 141)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_command_without_standard_streams_says_so_and_harms_no_file(
    installation: Installation, closed: str
) -> None:
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    log = installation.folder / "access.log"
    log.write_text(access_line("http://listed.example/") + "\n")
    command = f'exec "$0" --config "$1" match "$2" {closed}'
    words = ["sh", "-c", command, BIN / "inkgate-rules", installation.config, log]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert "Traceback" not in done.stderr
    if ">&-" not in closed.replace("2>&-", ""):
        assert (done.returncode, "http://listed.example/" in done.stdout) == (0, True)
        return
    assert done.returncode == 2
    if "2>&-" not in closed:
        assert "standard output: Bad file descriptor" in done.stderr
    assert installation.run("inkgate-rules", "match", "domain=listed.example").returncode == 0
