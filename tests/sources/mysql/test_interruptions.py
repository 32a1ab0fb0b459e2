"""What changes, hangs or goes away while a MISP's database is read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from inkgate.rules.sources.last_good import LastGood
from support.installation import SETTINGS, Installation
from support.mariadb import DATABASE, PASSWORD, USER, MariaDb
from support.misp_mysql import add, fault, fill, read
from support.relay import Relay

pytestmark = pytest.mark.slow


def test_what_is_changed_while_it_reads_does_not_count(misp: MariaDb, tmp_path: Path) -> None:
    fill(misp, 12_000)
    misp.add("tags", id=1, name="late")

    def change() -> None:
        number = misp.add("events", uuid="late", info="late")
        add(misp, "domain", "late.example", event_id=number)
        add(misp, "domain", "late-too.example")
        misp.add("attribute_tags", attribute_id=11_999, event_id=1, tag_id=1)
        misp.execute(f"UPDATE {DATABASE}.attributes SET to_ids = 0 WHERE id = 11998")
        misp.execute(f"DELETE FROM {DATABASE}.attributes WHERE id = 11997")

    with Relay(misp.port, 800_000, change, cut=False) as relay:
        found, faults = read(misp, tmp_path, port=relay.port)
        assert relay.acted
    assert not faults
    assert [a.value for a in found] == [f"n{i}.example" for i in range(12_000)]
    assert not any(a.tags for a in found)
    assert len(read(misp, tmp_path)[0]) == 12_000


def test_server_that_stops_answering_is_given_up(misp: MariaDb, tmp_path: Path) -> None:
    import threading

    fill(misp, 6000)
    for_ever = threading.Event()
    with Relay(misp.port, 100_000, for_ever.wait, cut=False) as relay:
        found = read(misp, tmp_path, port=relay.port, timeout=1)
        for_ever.set()
    assert "broke off" in fault(found)
    assert found[0] == []


@contextmanager
def installed(misp: MariaDb, **settings: object) -> Iterator[Installation]:
    """An installation that reads this MISP, and a plain list."""
    source = {"type": "misp-mysql", "user": USER, "password_file": "mysql.password", "timeout": 20}
    source |= {"port": misp.port, **settings}
    entry = ", ".join(f"{k} = {repr(v).replace(chr(39), chr(34))}" for k, v in source.items())
    made = Installation(SETTINGS.replace('"events"', f'"events", {{ {entry} }}'))
    secret = made.folder / "mysql.password"
    secret.touch(mode=0o600)
    secret.write_text(PASSWORD + "\n")
    try:
        yield made
    finally:
        made.close()


def matches(installation: Installation, name: str) -> bool:
    return installation.run("inkgate-rules", "match", f"domain={name}").returncode == 0


def test_refresh_from_mysql_on_the_command_line(misp: MariaDb) -> None:
    add(misp, "domain", "listed.example")
    with installed(misp) as installation:
        (installation.events / "list.txt").write_text("file.example\n")
        done = installation.run("inkgate-rules", "refresh", "--misp", "mysql")
        assert done.returncode == 0
        (note,) = done.stderr.splitlines()
        assert "everything in it counts" in note
        assert matches(installation, "listed.example")
        assert not matches(installation, "file.example")
        assert installation.run("inkgate-rules", "refresh").returncode == 0
        assert matches(installation, "file.example")


@pytest.mark.parametrize("way", ["connection cut", "connection killed"])
def test_lost_in_the_middle_the_last_good_reading_counts(misp: MariaDb, way: str) -> None:
    fill(misp, 12_000)
    arguments: list[str] = []

    def act() -> None:
        for process in psutil.Process().children(recursive=True):
            arguments.extend(process.cmdline())
        if way == "connection killed":
            for number, *_ in misp.execute(
                "SELECT id FROM information_schema.processlist WHERE user = %s", USER
            ):
                misp.execute(f"KILL {number}")

    with installed(misp) as installation:
        assert installation.run("inkgate-rules", "refresh").returncode == 0
        add(misp, "domain", "later.example")
        text = installation.config.read_text()
        with Relay(misp.port, 800_000, act, cut=way == "connection cut") as relay:
            installation.config.write_text(text.replace(str(misp.port), str(relay.port)))
            # The same database by another way: its copy is filed under the place's name.
            copies = installation.places.publisher / "last-good"
            (copy,) = copies.glob("*.snapshot")
            place = f"mysql:127.0.0.1:{relay.port}/{DATABASE}"
            copy.rename(LastGood(copies)._named(place.encode(), ".snapshot"))
            done = installation.run("inkgate-rules", "refresh")
            assert relay.acted
        assert done.returncode == 1
        assert f"{place}: broke off the connection" in done.stderr
        assert "12000" in done.stdout
        assert matches(installation, "n0.example")
        assert matches(installation, "n11999.example")
        assert not matches(installation, "later.example")
        assert str(Path(sys.prefix)) in " ".join(arguments)
        assert not [text for text in (*arguments, done.stdout, done.stderr) if PASSWORD in text]
        assert all(
            PASSWORD.encode() not in path.read_bytes()
            for path in installation.folder.rglob("*")
            if path.is_file() and path.name != "mysql.password"
        )


def test_server_without_tls_and_then_killed(tmp_path: Path, certificate: tuple[str, str]) -> None:
    server = MariaDb()
    try:
        server.add("events", uuid="e1")
        fill(server, 12_000)
        found = read(server, tmp_path, ca_file=certificate[0])
        assert "offers no TLS" in fault(found)
        with Relay(server.port, 800_000, server.kill, cut=False) as relay:
            found = read(server, tmp_path, port=relay.port)
        assert "broke off the connection" in fault(found)
        assert found[0] == []
        assert "cannot be reached" in fault(read(server, tmp_path))
    finally:
        server.close()


def test_database_that_is_suddenly_empty_is_doubted(misp: MariaDb) -> None:
    add(misp, "domain", "listed.example")
    with installed(misp) as installation:
        (installation.events / "list.txt").write_text("file.example\n")
        assert installation.run("inkgate-rules", "refresh").returncode == 0
        misp.execute(f"DELETE FROM {DATABASE}.attributes")
        done = installation.run("inkgate-rules", "refresh")
        assert done.returncode == 1
        assert "is empty and was not before" in done.stderr
        assert matches(installation, "listed.example")
        assert installation.run("inkgate-rules", "refresh", "--allow-empty").returncode == 0
        assert not matches(installation, "listed.example")
