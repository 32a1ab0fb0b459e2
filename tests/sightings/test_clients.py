"""What is kept of clients' addresses, and how matches get into the journal."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from inkgate.health.monitor import Monitor, unwatched
from inkgate.health.reading import read_all
from inkgate.rules.crypto.message import Message
from inkgate.rules.lookup.matcher import Match
from inkgate.sightings.journal.clients import client_reducer, hashed, truncated
from inkgate.sightings.journal.journal import Journal
from inkgate.sightings.journal.recorder import Recorder
from support.waiting import wait_until

UUID = "0b7f6a1e-0000-4000-8000-000000000000"
Address = IPv4Address | IPv6Address
MATCH = Match("domain", Message("block", ({"uuid": UUID, "event_id": "7"}, {"event_id": "8"})))


@pytest.mark.parametrize(
    ("client", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1::/48"),
        ("2001:DB8:1:2::%eth0", "2001:db8:1::/48"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("-", ""),
        ("user.example", ""),
        ("", ""),
    ],
)
def test_truncated(client: str, network: str) -> None:
    assert truncated(client) == network


@given(st.ip_addresses(), st.ip_addresses())
@example(IPv4Address("192.0.2.1"), IPv6Address("::ffff:192.0.2.1"))
def test_hash_is_a_pseudonym_under_its_key(one: Address, two: Address) -> None:
    key = b"0123456789abcdef"
    assert (hashed(str(one), key) == hashed(str(two), key)) is (client(one) == client(two))
    assert hashed(str(one), key) != hashed(str(one), key + b"0")
    assert str(one) not in hashed(str(one), key)


def client(address: Address) -> Address:
    """Who it is: an IPv4 address mapped into IPv6 is the same client (RFC 4291, 2.5.5.2)."""
    return (address.version == 6 and address.ipv4_mapped) or address


def test_hash_is_hmac_sha256_of_label_and_address() -> None:
    # printf 'inkgate/v1 client\0192.0.2.1' | openssl dgst -sha256 -hmac 0123456789abcdef
    command = ["openssl", "dgst", "-sha256", "-hmac", "0123456789abcdef"]
    done = subprocess.run(
        command, input=b"inkgate/v1 client\x00192.0.2.1", capture_output=True, check=True
    )
    expected = done.stdout.decode().rpartition("= ")[2].strip()
    assert hashed("192.0.2.1", b"0123456789abcdef") == "h:" + expected[:24]
    assert hashed("::ffff:192.0.2.1", b"0123456789abcdef") == "h:" + expected[:24]


def test_all_is_kept_if_so_set(tmp_path: Path) -> None:
    assert client_reducer("keep", tmp_path / "none")("192.0.2.1") == "192.0.2.1"


def configured(tmp_path: Path, lines: str) -> Path:
    config = tmp_path / "inkgate.toml"
    config.write_text(f'[sightings]\njournal = "j.db"\nclients_key_file = "k"\n{lines}\n')
    return config


def failing(folder: Path, log: Callable[[str], None]) -> Recorder:
    """A recorder whose journal's folder, `later`, is not there yet."""
    config = configured(folder, "")
    config.write_text('[sightings]\njournal = "later/j.db"\n')
    return Recorder(config, Monitor(folder / "health", "inkgate-helper", log))


def lost(folder: Path) -> int:
    """How many incidents the recorder of `failing` has counted as lost."""
    (process,) = read_all(folder / "health")
    return process.numbers["incident-lost"]


def named(path: Path) -> list[str]:
    return [s.incident for s in Journal(path).read()]


def test_recorded_is_in_the_file_before_a_page_is_read(tmp_path: Path) -> None:
    recorder = Recorder(configured(tmp_path, 'node = "n"'), unwatched(print))
    recorder.record("192.0.2.1", "GET", "IG-1", [MATCH])
    wait_until(lambda: named(tmp_path / "j.db"), "the first record")
    with closing(sqlite3.connect(tmp_path / "j.db", isolation_level=None)) as other:
        # Whoever waited for the file would do so for five seconds.
        other.execute("BEGIN IMMEDIATE")
        before = time.monotonic()
        for n in range(2, 50):
            recorder.record("192.0.2.1", "GET", f"IG-{n}", [MATCH, MATCH])
        assert time.monotonic() - before < 4
    recorder.flush()
    sightings = list(Journal(tmp_path / "j.db").read())
    assert len(sightings) == 1 + 48 * 2
    assert sightings[0].attributes == (UUID,)
    assert sightings[0].events == ("7", "8")
    assert abs(sightings[0].time - time.time()) < 60


@pytest.mark.parametrize(
    ("lines", "client"), [('clients = "truncate"', "192.0.2.0/24"), ('clients = "hash"', "")]
)
def test_recorder_keeps_no_more_than_set(tmp_path: Path, lines: str, client: str) -> None:
    said: list[str] = []
    recorder = Recorder(configured(tmp_path, lines), unwatched(said.append))
    recorder.record("192.0.2.1", "GET", "IG-1", [MATCH])
    recorder.flush()
    # Without a key, a hash cannot be made, and the address is not what was asked for.
    assert [s.client for s in Journal(tmp_path / "j.db").read()] == [client]
    assert b"192.0.2.1" not in b"".join(p.read_bytes() for p in tmp_path.glob("j.db*"))
    assert bool(said) is (client == "")


def test_empty_journal_records_nothing(tmp_path: Path) -> None:
    config = configured(tmp_path, "")
    config.write_text('[sightings]\njournal = ""\n')
    recorder = Recorder(config, unwatched(print))
    recorder.record("192.0.2.1", "GET", "IG-1", [MATCH])
    recorder.flush()
    assert not (tmp_path / "j.db").exists()


@pytest.mark.slow
def test_journal_that_cannot_be_written_is_said_and_its_records_wait(tmp_path: Path) -> None:
    said: list[str] = []
    recorder = failing(tmp_path, said.append)
    recorder.record("192.0.2.1", "GET", "IG-1", [MATCH])
    wait_until(lambda: said, "a line about the journal")
    assert "later/j.db" in said[0]
    (tmp_path / "later").mkdir()
    wait_until(lambda: len(said) == 2, "a line about the journal that can be written again")
    assert [s.incident for s in Journal(tmp_path / "later/j.db").read()] == ["IG-1"]


@pytest.mark.slow
def test_what_was_recorded_while_the_journal_failed_waits_for_no_other(tmp_path: Path) -> None:
    said: list[str] = []
    recorder = failing(tmp_path, said.append)
    recorder.record("192.0.2.1", "GET", "IG-1", [MATCH])
    wait_until(lambda: said, "a line about the journal")
    recorder.record("192.0.2.1", "GET", "IG-2", [MATCH])
    (tmp_path / "later").mkdir()
    wait_until(lambda: len(named(tmp_path / "later/j.db")) == 2, "both records")


def test_burst_is_journalled_to_its_end(tmp_path: Path) -> None:
    recorder = Recorder(configured(tmp_path, ""), unwatched(print))
    recorder.record("192.0.2.1", "GET", "IG-0", [MATCH])
    wait_until(lambda: named(tmp_path / "j.db") == ["IG-0"], "the first record")
    # While the next ones are gathered: more than a block, and no whole number of them.
    for n in range(1, 2_500):
        recorder.record("192.0.2.1", "GET", f"IG-{n}", [MATCH])
    wait_until(lambda: len(named(tmp_path / "j.db")) == 2_500, "all records")


@pytest.mark.slow
def test_log_on_a_full_disk_stops_no_journal(tmp_path: Path) -> None:
    said: list[str] = []
    with Path("/dev/full").open("w") as full:

        def log(line: str) -> None:
            said.append(line)
            print(line, file=full, flush=True)

        recorder = failing(tmp_path, log)
        recorder.record("192.0.2.1", "GET", "IG-1", [MATCH])
        recorder.record("192.0.2.1", "GET", "IG-2", [None])  # type: ignore[list-item]
        wait_until(lambda: any("journal-failed" in line for line in said), "the journal's line")
        (tmp_path / "later").mkdir()
        wait_until(lambda: named(tmp_path / "later/j.db") == ["IG-1"], "the first record")
        recorder.record("192.0.2.1", "GET", "IG-3", [MATCH])
        wait_until(lambda: named(tmp_path / "later/j.db") == ["IG-1", "IG-3"], "the last record")
        with contextlib.suppress(OSError):
            full.close()


def test_host_name_that_is_no_utf8_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(nodename="n\udcff"))
    config = configured(tmp_path, "")
    recorder = Recorder(config, unwatched(print))
    recorder.record("192.0.2.1", "GET", "IG-1", [MATCH])
    recorder.flush()
    assert [s.node for s in Journal(tmp_path / "j.db").read()] == ["n?"]


def test_end_of_the_process_loses_nothing(tmp_path: Path) -> None:
    config = configured(tmp_path, "")
    program = (
        "from pathlib import Path; from inkgate.rules.lookup.matcher import Match;"
        "from inkgate.rules.crypto.message import Message;"
        "from inkgate.sightings.journal.recorder import Recorder;"
        "from inkgate.health.monitor import unwatched;"
        f"r = Recorder(Path({str(config)!r}), unwatched(print));"
        "m = Match('domain', Message('block', ()));"
        "[r.record('', 'GET', f'IG-{n}', [m]) for n in range(500)]"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert len(list(Journal(tmp_path / "j.db").read())) == 500


def test_unencodable_text_stops_no_journal(tmp_path: Path) -> None:
    said: list[str] = []
    recorder = Recorder(configured(tmp_path, ""), unwatched(said.append))
    recorder.record("192.0.2.1", "G\udcff", "IG-1", [MATCH])
    recorder.record("192.0.2.1", "GET", "IG-2", [MATCH])
    wait_until(lambda: len(named(tmp_path / "j.db")) == 2, "both records")
    assert [s.method for s in Journal(tmp_path / "j.db").read()] == ["G?", "GET"]
    assert not said


def test_thread_that_cannot_be_started_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    recorder = Recorder(configured(tmp_path, ""), unwatched(said.append))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        recorder.record("192.0.2.1", "GET", "IG-1", [MATCH])
        assert "can't start new thread" in said[0]
        recorder.flush()
        assert named(tmp_path / "j.db") == ["IG-1"]
        recorder.record("192.0.2.1", "GET", "IG-2", [MATCH])
    recorder.record("192.0.2.1", "GET", "IG-3", [MATCH])
    wait_until(lambda: named(tmp_path / "j.db") == ["IG-1", "IG-2", "IG-3"], "all records")


def no_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_what_comes_after_the_end_is_written_at_the_next_end(tmp_path: Path) -> None:
    before = threading.enumerate()
    recorder = Recorder(configured(tmp_path, ""), unwatched(print))
    recorder.record("192.0.2.1", "GET", "IG-0", [MATCH])
    recorder.close()
    for n in (1, 2):
        recorder.record("192.0.2.1", "GET", f"IG-{n}", [MATCH])
        recorder.close()
    assert named(tmp_path / "j.db") == ["IG-0", "IG-1", "IG-2"]
    assert set(threading.enumerate()) <= set(before)


@pytest.mark.slow
def test_loss_of_every_outage_is_counted_and_said(tmp_path: Path) -> None:
    said: list[str] = []
    before = 0
    recorder = failing(tmp_path, said.append)
    folder = tmp_path / "later"
    for outage in (1, 2):
        for n in range(150_000):
            recorder.record("", "GET", f"IG-{outage}-{n}", [MATCH])
        wait_until(lambda before=before: lost(tmp_path) > before, "the loss to be counted")
        folder.mkdir()
        recorder.flush()
        before = lost(tmp_path)
        recorder._journal = None
        shutil.rmtree(folder)
    recorder.record("", "GET", "IG-1", [MATCH])
    recorder.flush()
    for n in range(150_000):
        recorder.record("", "GET", f"IG-{n}", [MATCH])
    recorder.close()
    assert lost(tmp_path) > before
    assert any("critical: incident-lost: more than 8 MiB of incidents wait" in s for s in said)


def test_incident_that_cannot_be_journalled_is_said_and_others_go_on(tmp_path: Path) -> None:
    said: list[str] = []
    recorder = Recorder(configured(tmp_path, ""), unwatched(said.append))
    recorder.record("192.0.2.1", "GET", "IG-1", [None])  # type: ignore[list-item]
    recorder.record("192.0.2.1", "GET", "IG-2", [MATCH])
    wait_until(lambda: named(tmp_path / "j.db"), "the other record")
    assert said == ["critical: incident-lost: it cannot be kept: TypeError"]


@pytest.mark.slow
def test_lost_incidents_are_counted(tmp_path: Path) -> None:
    said: list[str] = []
    recorder = failing(tmp_path, said.append)
    for n in range(150_000):
        recorder.record("", "GET", f"IG-{n}", [MATCH])
    (tmp_path / "later").mkdir()
    recorder.flush()
    found = [s.incident for s in Journal(tmp_path / "later/j.db").read()]
    missing = 150_000 - len(found)
    assert missing > 0
    with closing(sqlite3.connect(tmp_path / "later/j.db")) as connection:
        ((kept,),) = connection.execute("SELECT sum(length(data)) FROM blocks").fetchall()
    # What may wait, but for a block of 1,024 that is not whole.
    assert abs(kept - (8 << 20)) < 1024 * 100
    assert found[-1] == "IG-149999"
    assert lost(tmp_path) == missing
    assert any("critical: incident-lost: " in line for line in said)
