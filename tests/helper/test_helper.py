"""The helper as Squid sees it: one process, lines in, lines out."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inkgate.helper.clean_fields import host_key
from inkgate.helper.protocol import MAX_LINE_BYTES, LineSplitter, parse_request, request_id
from inkgate.rules.lookup.recent import Recent
from inkgate.rules.lookup.target import parse_target
from inkgate.sightings.journal.journal import Journal
from support.installation import BIN, Installation, attribute
from support.waiting import wait_until

ANSWER = re.compile(
    rb"(\d{1,20}) (?:ERR(?: log=inkgate-unavailable)?|BH message=inkgate-unavailable"
    rb" log=inkgate-unavailable"
    rb"|OK message=(IG-[0-9A-Z]{10}) log=\2)"
)


def start(
    installation: Installation, *options: str, stderr: IO[str] | int = subprocess.PIPE
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [BIN / "inkgate-helper", "--config", installation.config, *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        # What a helper that dies of a signal was doing goes to its standard error.
        env={**os.environ, "PYTHONFAULTHANDLER": "1"},
    )


def ask(installation: Installation, data: bytes, *options: str) -> dict[bytes, bytes]:
    """Answers by ID of a helper that gets all of the input at once."""
    out, _ = start(installation, *options).communicate(data, timeout=300)
    lines = out.split(b"\n")
    assert lines.pop() == b""
    for line in lines:
        assert ANSWER.fullmatch(line), line
    answers = dict(line.split(b" ", 1) for line in lines)
    assert len(answers) == len(lines), "an ID was answered twice"
    return answers


def line(number: int, url: str, method: str = "GET", server: str = "-", agent: str = "-") -> bytes:
    return f"{number} {method} {url} 127.0.0.1 {server} {agent} -\n".encode()


@pytest.fixture
def listed(installation: Installation) -> Installation:
    installation.add(
        "listed",
        attribute("domain", "listed.example"),
        attribute("url", "http://files.example/bad?x=1 y"),
        attribute("ip-dst", "198.51.100.66"),
        attribute("ip-dst", "2001:db8::/48"),
        attribute("domain|ip", "pair.example|192.0.2.9"),
        attribute("hostname|port", "odd.example|8443"),
    )
    installation.refresh()
    return installation


def test_verdicts(listed: Installation) -> None:
    answers = ask(
        listed,
        line(0, "http://a.listed.example/")
        + line(1, "http://files.example/bad?x=1%20y")
        + line(2, "http://files.example/bad?x=2")
        + line(3, "http://fine.example/", server="198.51.100.66")
        + line(4, "http://fine.example/", server="2001:db8:0:1::2")
        + line(5, "odd.example:8443", method="CONNECT")
        + line(6, "odd.example:443", method="CONNECT")
        + line(7, "files.example:443", method="CONNECT")
        + line(18446744073709551615, "http://listed.example/")
        + b"8 GET http://listed.example/ 127.0.0.1 - - -",
    )
    matched = {int(i) for i, answer in answers.items() if answer.startswith(b"OK")}
    assert matched == {0, 1, 3, 4, 5, 8, 18446744073709551615}
    assert len(answers) == 10


def match(helper: subprocess.Popen[bytes]) -> str:
    """Ask for a listed URL; the incident of the answer."""
    assert helper.stdin
    assert helper.stdout
    helper.stdin.write(line(1, "http://listed.example/"))
    helper.stdin.flush()
    return helper.stdout.readline().split(b"log=")[1].strip().decode()


def incidents(journal: Path) -> list[str]:
    return [s.incident for s in Journal(journal).read()]


@contextlib.contextmanager
def locked(journal: Path) -> Iterator[None]:
    """Nothing can be written to a journal until the end of this."""
    with contextlib.closing(sqlite3.connect(journal, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


def test_match_is_journalled_after_its_answer_and_needs_no_other_request(
    listed: Installation,
) -> None:
    helper = start(listed)
    assert len(listed.sightings(match(helper))) == 1
    with locked(listed.folder / "run" / "sightings.db"):
        # Who waits for a journal that cannot be written does so for five seconds.
        before = time.monotonic()
        incident = match(helper)
        assert time.monotonic() - before < 4
        assert incident not in listed.run("inkgate-sightings", "list").stdout
    assert len(listed.sightings(incident)) == 1
    assert helper.poll() is None
    helper.communicate()


@pytest.mark.parametrize(
    ("how", "loses"), [("end of input", False), (signal.SIGTERM, False), (signal.SIGKILL, True)]
)
@pytest.mark.slow
def test_only_a_kill_loses_matches_and_only_those_not_yet_committed(
    listed: Installation, how: signal.Signals | str, loses: bool
) -> None:
    helper = start(listed)
    first = match(helper)
    assert len(listed.sightings(first)) == 1
    with locked(listed.folder / "run" / "sightings.db"):
        others = [match(helper) for _ in range(20)]
        if how == signal.SIGKILL:
            helper.kill()
            helper.wait()
    if isinstance(how, signal.Signals):
        helper.send_signal(how)
    helper.communicate(timeout=60)
    kept = incidents(listed.folder / "run" / "sightings.db")
    assert kept == [first, *([] if loses else others)]


@pytest.mark.slow
def test_what_a_kill_loses_is_the_newest(listed: Installation) -> None:
    helper = start(listed)
    answered = [match(helper)]
    assert len(listed.sightings(answered[0])) == 1
    path = listed.folder / "run" / "sightings.db"
    with locked(path):
        # Several commits' worth (sightings/journal/block.py).
        answered += [match(helper) for _ in range(4000)]
    wait_until(lambda: len(incidents(path)) > 1, "another commit")
    helper.kill()
    helper.communicate()
    kept = incidents(path)
    assert kept == answered[: len(kept)]


@pytest.mark.parametrize(
    ("fail", "answer"), [("open", b"ERR log=inkgate-unavailable"), ("closed", b"BH")]
)
@pytest.mark.parametrize("broken", ["settings", "rules", "cut-off rules", "token"])
@pytest.mark.slow
def test_what_cannot_be_read_follows_fail(
    listed: Installation, fail: str, answer: bytes, broken: str
) -> None:
    if broken == "settings":
        listed.config.write_text("not [ toml")
    elif broken == "rules":
        (listed.folder / "rules" / "current" / "rules.mdb").write_bytes(b"")
    elif broken == "cut-off rules":
        os.truncate(listed.folder / "rules" / "current" / "rules.mdb", 3 * 4096)
    else:
        listed.places.token_file.write_text("another token, but long enough\n")
    answers = ask(listed, line(1, "http://listed.example/"), "--fail", fail)
    assert answers[b"1"].startswith(answer)


def publish_damaged(installation: Installation) -> None:
    """Make a generation the current one that has been damaged before."""
    current = installation.places.installed / "current"
    generation = current.resolve()
    damaged = shutil.copytree(generation, generation.with_name("0000000099-damaged"))
    (damaged / "manifest.json").write_text("{")
    link = current.with_name("new")
    link.symlink_to(damaged)
    link.replace(current)


@pytest.mark.slow
def test_new_generation_is_noticed_and_old_one_kept_when_it_is_damaged(
    listed: Installation,
) -> None:
    log = listed.folder / "helper.log"
    with log.open("w") as file:
        helper = start(listed, stderr=file)

    def verdict(url: str) -> bytes:
        assert helper.stdin
        assert helper.stdout
        helper.stdin.write(line(1, url))
        helper.stdin.flush()
        return helper.stdout.readline().split()[1]

    assert verdict("http://added.example/") == b"ERR"
    listed.add("more", attribute("domain", "added.example"))
    listed.refresh()
    wait_until(lambda: verdict("http://added.example/") == b"OK", "the new generation")
    publish_damaged(listed)
    wait_until(lambda: "manifest" in log.read_text(), "a line about the damaged generation")
    assert verdict("http://added.example/") == b"OK"
    helper.communicate()


@pytest.mark.parametrize("how", ["eof", "sigterm"])
@pytest.mark.slow
def test_everything_pending_is_answered_at_the_end(listed: Installation, how: str) -> None:
    helper = start(listed)
    assert helper.stdin
    assert helper.stdout
    helper.stdin.write(line(99999, "http://warm-up.example/"))
    helper.stdin.flush()
    helper.stdout.readline()
    sent = 2000
    data = b"".join(line(n, f"http://new{n}.example/") for n in range(sent))
    helper.stdin.write(data[:60_000])
    helper.stdin.flush()
    if how == "sigterm":
        helper.send_signal(signal.SIGTERM)
        out = helper.stdout.read()
        _, said = helper.communicate(timeout=60)
        assert out.count(b"\n") == data[:60_000].count(b"\n") + 1
    else:
        out, said = helper.communicate(data[60_000:], timeout=60)
        assert out.count(b"\n") == sent
    assert helper.returncode == 0, said.decode()


@pytest.mark.parametrize("squid_is", ["closing", "gone"])
@pytest.mark.slow
def test_no_thread_is_left_when_the_interpreter_ends(listed: Installation, squid_is: str) -> None:
    code = (
        "import sys, threading, inkgate.helper.__main__ as m\n"
        "m.main(sys.argv[1:])\n"
        "print([t.name for t in threading.enumerate()], file=sys.stderr)\n"
    )
    helper = subprocess.Popen(
        [BIN / "python", "-c", code, "--config", listed.config],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert helper.stdin
    assert helper.stdout
    helper.stdin.write(line(1, "http://listed.example/"))
    helper.stdin.flush()
    assert helper.stdout.readline().startswith(b"1 OK")
    if squid_is == "gone":
        helper.stdout.close()
    new = b"".join(line(n, f"http://new{n}.example/") for n in range(3000))
    with contextlib.suppress(BrokenPipeError):
        helper.stdin.write(new)
        helper.stdin.close()
    said = helper.stderr.read().decode() if helper.stderr else ""
    assert helper.wait(60) == 0, said
    assert said.endswith("['MainThread']\n"), said
    assert ("Squid is gone" in said) is (squid_is == "gone")


def test_stray_output_does_not_reach_squid(listed: Installation) -> None:
    code = (
        "import os, sys, inkgate.helper.__main__ as m\n"
        "m._take_stdout(); print('stray'); os.write(1, b'stray'); sys.stdout.flush()\n"
    )
    done = subprocess.run([BIN / "python", "-c", code], capture_output=True, timeout=60, check=True)
    assert done.stdout == b""


def hostile_lines(count: int) -> tuple[bytes, list[bytes]]:
    """Lines of every kind of badness, and the IDs that must be answered."""
    chance = random.Random(2016)
    lines = []
    expected = []
    for number in range(count):
        noise = chance.randbytes(chance.choice((0, 3, 40, 300))).replace(b"\n", b"")
        identity = b"%d" % number
        kind = chance.randrange(12)
        body = {
            0: b"GET http://" + noise + b".example/ 127.0.0.1 - - -",
            1: b"GET http://host%d.example/%%zz%%%s 127.0.0.1 - - -" % (number % 99, noise),
            2: b"GET " + noise,
            3: noise,
            4: b"",
            5: b"GET http://listed.example/\0 127.0.0.1 - - -",
            6: b"CONNECT " + noise + b":443 ::1 - - -",
            7: b"GET http://files.example/%25%32%35" + noise + b" - 198.51.100.66%zz - -",
            8: b"GET http://[::1/ 127.0.0.1 not-an-address %ff%fe -",
            9: b"GET http://a.example/ 127.0.0.1 - - -\r",
            10: b"  GET  http://a.example/",
            11: b"GET http://user@listed.example:99999999999999999999/ " + noise + b" - - -",
        }[kind]
        if chance.random() < 0.0005:
            body = b"GET http://a.example/" + b"a" * 60_000 + b" 127.0.0.1 - - -"
        if chance.random() < 0.05:
            identity = chance.choice(
                (b"", b"x", b"-1", b"99999999999999999999", b"1_0", b"+5", b"\xd9\xa3", b"0x1")
            )
        else:
            expected.append(identity)
        lines.append(identity + b" " + body)
    return b"\n".join(lines), expected


def verdict(answer: bytes) -> bytes:
    return answer.split(b" ")[0]


@pytest.mark.parametrize("agents", [False, True], ids=["no agents listed", "agents listed"])
@pytest.mark.slow
def test_line_alone_is_answered_as_among_others(listed: Installation, agents: bool) -> None:
    if agents:
        listed.add("agent", attribute("user-agent", "evil/1"))
        listed.refresh()
    data, _ = hostile_lines(3_000)
    known = b"".join(line(10**7 + n, f"http://host{n}.example/", agent="-") for n in range(50))
    mixed = [*data.split(b"\n"), *known.replace(b" -\n", b" evil/1 -\n").splitlines()] * 2
    lines = [one for one in mixed if request_id(one)]
    together: dict[bytes, list[bytes]] = {}
    alone: dict[bytes, list[bytes]] = {}
    out, _ = start(listed).communicate(b"\n".join(lines))
    for answer in out.splitlines():
        together.setdefault(answer.split(b" ", 1)[0], []).append(verdict(answer.split(b" ", 1)[1]))
    process = start(listed)
    assert process.stdin
    assert process.stdout
    for one in lines:
        os.write(process.stdin.fileno(), one + b"\n")
        answer = process.stdout.readline().rstrip()
        alone.setdefault(answer.split(b" ", 1)[0], []).append(verdict(answer.split(b" ", 1)[1]))
    process.stdin.close()
    process.wait()
    assert {i: sorted(v) for i, v in alone.items()} == {i: sorted(v) for i, v in together.items()}


@pytest.mark.slow
def test_hundred_thousand_hostile_lines(listed: Installation) -> None:
    data, expected = hostile_lines(100_000)
    answers = ask(listed, data)
    assert set(answers) == set(expected)


@given(st.binary(max_size=200))
def test_protocol_never_raises(data: bytes) -> None:
    for piece in LineSplitter(50).feed(data + b"\n"):
        request = parse_request(piece)
        assert request is None or request.id == piece.split(b" ")[0]
        if request:
            parse_target(request.method, request.uri)
        request_id(piece)


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_lines_do_not_depend_on_how_they_arrive(data: bytes, cuts: list[int]) -> None:
    whole, pieces = LineSplitter(), LineSplitter()
    edges = [0, *sorted(cuts), len(data)]
    expected = whole.feed(data) + whole.finish()
    got = [line for a, b in itertools.pairwise(edges) for line in pieces.feed(data[a:b])]
    assert got + pieces.finish() == expected


def test_endless_line_is_held_only_in_part() -> None:
    lines = LineSplitter()
    for _ in range(100):
        assert lines.feed(b"7" * MAX_LINE_BYTES) == []
    (cut,) = lines.feed(b"\n")
    assert len(cut) <= 2 * MAX_LINE_BYTES


@given(
    st.sampled_from(["http://", "https://", "ftp://", ""]),
    st.text(max_size=20),
    st.text(max_size=20),
)
def test_two_uris_with_one_host_key_have_one_host(scheme: str, one: str, other: str) -> None:
    uri = f"{scheme}a.example/{one}".encode("utf-8", "replace")
    same = host_key(uri) + b"/" + other.encode("utf-8", "replace")
    if host_key(uri) == host_key(same):
        ours = parse_target("GET", uri.decode())
        theirs = parse_target("GET", same.decode())
        if ours and theirs:
            assert (ours.host, ours.port) == (theirs.host, theirs.port)


def test_recent_never_holds_more_than_its_limit() -> None:
    recent: Recent[int, bool] = Recent(100)
    for number in range(10_000):
        recent.put(number, True)
        recent.get(7)
        assert len(recent) <= 100
    assert recent.get(9_999)


def test_block_is_not_lost_behind_a_log_without_uuids(installation: Installation) -> None:
    installation.configure('message = ["event_id"]\nactions = { "tag:watch" = "log" }')
    installation.add(
        "two",
        attribute("domain", "listed.example", Tag=[{"name": "watch"}]),
        attribute("domain", "a.listed.example"),
    )
    installation.refresh()
    answers = ask(installation, line(1, "http://a.listed.example/"))
    assert answers[b"1"].startswith(b"OK")


def test_clean_verdict_of_an_empty_authority_is_not_kept(listed: Installation) -> None:
    answers = ask(listed, line(1, "http:////fine.example/") + line(2, "http:////listed.example/"))
    assert answers[b"1"].startswith(b"ERR")
    assert answers[b"2"].startswith(b"OK")


def test_port_of_a_listed_address_is_asked_for_each_time(installation: Installation) -> None:
    installation.add("pair", attribute("ip-dst|port", "198.51.100.7|8443"))
    installation.refresh()
    answers = ask(
        installation,
        line(1, "http://a.example/", server="198.51.100.7")
        + line(2, "http://a.example:8443/", server="198.51.100.7")
        + line(3, "http://b.example:8443/", server="198.51.100.7")
        + line(4, "http://b.example:8443/", server="198.51.100.8"),
    )
    assert [answers[b"%d" % n][:2] for n in (1, 2, 3, 4)] == [b"ER", b"OK", b"OK", b"ER"]
