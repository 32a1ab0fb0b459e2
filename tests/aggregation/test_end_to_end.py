"""Real processes: three proxies' journals, one aggregator, files or a real Redis, and MISP."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import stix2validator

from inkgate.sightings.aggregation.registry import PROTOCOLS
from inkgate.sightings.journal.incident import new_incident
from inkgate.sightings.journal.journal import Journal
from inkgate.sightings.journal.sighting import Sighting
from support.aggregation import PROTOCOL_NAMES
from support.installation import BIN
from support.misp import MispServer
from support.redis_server import RedisServer
from support.waiting import wait_until

pytestmark = pytest.mark.slow

PERIOD = "2026-01-05"
WITHIN = 1767787200.0  # 2026-01-07T12:00:00Z
NAMES = ("alpha", "beta", "gamma")
COUNTS = {"alpha": (3, 0, 1, 0), "beta": (4, 0, 0, 0), "gamma": (0, 0, 5, 1)}


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with RedisServer() as server:
        yield server.url


class Member:
    """One machine with its own settings and state."""

    def __init__(self, folder: Path, name: str, mailbox: str, misp: MispServer) -> None:
        self.folder = folder / name
        self.folder.mkdir()
        self.journal = self.folder / "journal.db"
        (self.folder / "misp.key").write_text(misp.key)
        self.config = self.folder / "inkgate.toml"
        self.config.write_text(
            f'[sightings]\njournal = "journal.db"\nkeep_days = 36500\n[aggregation]\n'
            f'state = "state"\nname = "{name}"\nmailbox = "{mailbox}"\nmisp_url = "{misp.url}"\n'
            f'misp_key_file = "misp.key"\n'
        )

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [BIN / "inkgate-sightings", "--config", self.config, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "COLUMNS": "300"},
        )

    def run(self, *arguments: object, status: int = 0) -> str:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=60)
        assert process.returncode == status, err
        return out if status == 0 else err


def see(journal: Path, attributes: list[str], counts: tuple[int, ...]) -> None:
    """What a proxy saw: one incident each time, and some outside of the period."""
    sightings = [
        (attribute, WITHIN)
        for attribute, count in zip(attributes, counts, strict=True)
        for _ in range(count)
    ]
    sightings += [(attributes[1], WITHIN - 7 * 86400), (attributes[1], WITHIN + 7 * 86400)]
    Journal(journal).append([
        Sighting(time=moment, incident=new_incident(), indicator_class="domain", node="n",
                 attributes=(attribute,), client="192.0.2.1", method="GET", action="block")
        for attribute, moment in sightings
    ])  # fmt: skip


class Federation:
    """Three subscribers and an aggregator, set up with the commands."""

    def __init__(self, folder: Path, mailbox: str, protocol: str, *options: str) -> None:
        self.folder, self.mailbox = folder, mailbox
        self.misp = MispServer()
        event = self.misp.misp.add_event(
            "made up", [("domain", f"listed{n}.example") for n in range(4)]
        )
        self.attributes = [a.uuid for a in self.misp.misp.attributes_of(event)]
        self.uuids = folder / "uuids.txt"
        self.uuids.write_text("\n".join(self.attributes) + f"\n{uuid.uuid4()}\n")
        self.aggregator = Member(folder, "aggregator", mailbox, self.misp)
        self.members = {name: Member(folder, name, mailbox, self.misp) for name in NAMES}
        keys = [self.members[n].run("join").strip() for n in NAMES]
        out = self.aggregator.run(
            "setup", "isac", "--uuids", self.uuids, "--serial", 7, "--protocol", protocol,
            *(word for key in keys for word in ("--subscriber", key)), *options,
        )  # fmt: skip
        place = self.aggregator.folder / "state" / "groups" / "isac"
        self.dealt = folder / "dealt"
        self.list, self.place = place / "list-7.txt", place
        self.fingerprint = out.split()[-1]
        has_dealer = next(p for p in PROTOCOLS if p.name == protocol).deal is not None
        if has_dealer:
            self.deal()
        for name, member in self.members.items():
            key = ["--key", self.dealt / "subscribers" / f"{name}.key"] if has_dealer else []
            member.run(
                "join", "--group", place / "group.json", "--fingerprint", self.fingerprint, *key
            )
            see(member.journal, self.attributes, COUNTS[name])
        shutil.rmtree(self.dealt, ignore_errors=True)

    def deal(self) -> None:
        """By a third party; the aggregator gets its own key only."""
        dealer = Member(self.folder, "dealer", self.mailbox, self.misp)
        dealer.run("deal", "--group", self.place / "group.json", "--folder", self.dealt)
        key = ("--key", self.dealt / "aggregator.key")
        self.aggregator.run("setup", "isac", "--uuids", self.uuids, "--serial", 7, *key)

    def about(self, command: str, wait: int = 30) -> tuple[object, ...]:
        return (command, "isac", "--period", PERIOD, "--list", self.list, "--wait", wait)

    def close(self) -> None:
        self.misp.close()

    def run(self, names: tuple[str, ...] = NAMES) -> None:
        processes = [self.members[n].start(*self.about("encrypt")) for n in names]
        processes.append(self.aggregator.start(*self.about("aggregate")))
        for process in processes:
            _, err = process.communicate(timeout=90)
            assert process.returncode == 0, err

    def closed_rounds(self) -> int:
        """How many rounds the aggregator has closed, whether or not all were told of it."""
        return len(list((self.aggregator.folder / "state").rglob("closed")))

    def publish(self) -> str:
        return self.aggregator.run(
            "publish", "isac", "--period", PERIOD, "--list", self.list, "--uuids", self.uuids
        )

    def totals_in_stix(self, path: Path) -> dict[str, int]:
        """Totals as summaries of a bundle, which is written twice and is the same."""
        written = []
        for _ in range(2):
            about = ("--period", PERIOD, "--list", self.list, "--uuids", self.uuids)
            self.aggregator.run("publish", "isac", *about, "--stix", path)
            written.append(json.loads(path.read_text()))
        options = stix2validator.ValidationOptions(version="2.1", strict_types=True)
        assert stix2validator.validate_instance(written[0], options).errors == []
        assert written[0]["objects"] == written[1]["objects"]
        group, *told = written[0]["objects"]
        assert (group["type"], group["name"]) == ("identity", "inkgate isac")
        assert {(one["type"], one["summary"]) for one in told} == {("sighting", True)}
        counts = {one["sighting_of_ref"].removeprefix("indicator--"): one["count"] for one in told}
        return {name: counts.get(name, 0) for name in self.attributes}

    def totals_in_misp(self) -> dict[str, int]:
        found = dict.fromkeys(self.attributes, 0)
        for sighting in self.misp.misp.sightings.values():
            found[sighting.attribute.uuid] += 1
        return found

    def everything_but_the_subscribers(self) -> list[bytes]:
        """What an aggregator and any other reader of the mailbox have."""
        found = [p.read_bytes() for p in self.aggregator.folder.rglob("*") if p.is_file()]
        if not self.mailbox.startswith("redis"):
            found += [p.read_bytes() for p in Path(self.mailbox).rglob("*.msg")]
            return found
        import redis

        client: Any = redis.Redis.from_url(self.mailbox)
        for key in client.scan_iter(_type="stream"):
            found += [fields[b"message"] for _, fields in client.xrange(key)]
        return found


@pytest.mark.parametrize("transport", ["files", "redis"])
@pytest.mark.parametrize("protocol", PROTOCOL_NAMES)
def test_totals_in_misp_are_the_sum(
    tmp_path: Path, protocol: str, transport: str, request: pytest.FixtureRequest
) -> None:
    mailbox = str(tmp_path / "box")
    if transport == "redis":
        mailbox = request.getfixturevalue("redis_url")
    federation = Federation(tmp_path, mailbox, protocol)
    try:
        federation.run()
        assert "3 of 3" in federation.publish()
        expected = [sum(column) for column in zip(*COUNTS.values(), strict=True)]
        assert list(federation.totals_in_misp().values()) == expected
        federation.publish()
        assert list(federation.totals_in_misp().values()) == expected
        sources = {s.source for s in federation.misp.misp.sightings.values()}
        assert f"inkgate isac {PERIOD}: 7 in total" in sources
        told = federation.totals_in_stix(tmp_path / "totals.json")
        assert list(told.values()) == expected
        assert_nothing_tells_one_count(federation)
        assert_encrypted_once(federation)
    finally:
        federation.close()


def assert_nothing_tells_one_count(federation: Federation) -> None:
    """No secret of a subscriber lies outside of its own folder, nor does its vector.

    The vector is looked for in every form that inkgate knows, at every offset; that masked
    and encrypted ones tell nothing is for the attacks in test_*_attacks.py.
    """
    labels = federation.list.read_text().split("\n")[1:-1]
    outside = b"\0".join(federation.everything_but_the_subscribers())
    from inkgate.sightings.aggregation.labels import label_of

    position = [labels.index(label_of(a).hex()) for a in federation.attributes]
    for name, counts in COUNTS.items():
        vector = [0] * len(labels)
        for at, count in zip(position, counts, strict=True):
            vector[at] = count
        for order in ("little", "big"):
            form = b"".join(n.to_bytes(8, order) for n in vector)  # type: ignore[arg-type]
            assert form not in outside
        assert json.dumps(vector).encode() not in outside
        assert json.dumps(vector, separators=(",", ":")).encode() not in outside
        identity = (federation.members[name].folder / "state/identity/signing.key").read_bytes()
        assert identity.split(b"\n")[1] not in outside
        shi_key = federation.members[name].folder / "state/groups/isac/subscriber.key"
        if shi_key.exists():
            assert shi_key.read_bytes().strip() not in outside
        # Nor is it left in the subscriber's own record: secrets and counts are erased.
        record = (federation.members[name].folder / "state/record.db").read_bytes()
        assert b"".join(n.to_bytes(8) for n in vector) not in record


def assert_encrypted_once(federation: Federation) -> None:
    """More sightings in a period that was submitted change nothing."""
    member = federation.members["alpha"]
    see(member.journal, federation.attributes, (1, 1, 1, 1))
    assert "rounds answered" in member.run(*federation.about("encrypt"))
    federation.aggregator.run(*federation.about("aggregate"))
    federation.publish()
    expected = [sum(column) for column in zip(*COUNTS.values(), strict=True)]
    assert list(federation.totals_in_misp().values()) == expected


def test_quotas_hold_totals_back(tmp_path: Path) -> None:
    federation = Federation(tmp_path, str(tmp_path / "box"), "masked", "--quota-total", "6")
    try:
        federation.run()
        federation.publish()
        assert list(federation.totals_in_misp().values()) == [7, 0, 6, 0]
    finally:
        federation.close()


def test_aggregator_that_is_killed_goes_on(tmp_path: Path) -> None:
    federation = Federation(tmp_path, str(tmp_path / "box"), "masked")
    try:
        members = [m.start(*federation.about("encrypt")) for m in federation.members.values()]
        for rounds in range(1, 5):
            aggregator = federation.aggregator.start(*federation.about("aggregate"))
            wait_until(
                lambda rounds=rounds: federation.closed_rounds() >= rounds, f"{rounds} rounds"
            )
            aggregator.kill()
            aggregator.communicate()
        federation.aggregator.run(*federation.about("aggregate"))
        for process in members:
            assert process.wait(timeout=60) == 0
            process.communicate()
        federation.publish()
        assert list(federation.totals_in_misp().values()) == [7, 0, 6, 1]
    finally:
        federation.close()


def test_setup_with_noise_publishes_nothing_that_is_noise(tmp_path: Path) -> None:
    noise = ("--epsilon", "1", "--max-count", "10")
    federation = Federation(tmp_path, str(tmp_path / "box"), "masked", *noise)
    try:
        quota = json.loads((federation.place / "group.json").read_text())["quota_total"]
        assert quota > 20
        keys = [federation.members[n].run("join").strip() for n in NAMES]
        arguments = ("--uuids", federation.uuids, "--serial", 7, *noise)
        words = [word for key in keys for word in ("--subscriber", key)]
        out = federation.aggregator.run(
            "setup", "other", *arguments, *words, "--quota-total", quota - 1, status=2
        )
        assert f"give {quota} or more" in out
    finally:
        federation.close()


def test_aggregator_of_shi_has_no_key_but_its_own(tmp_path: Path) -> None:
    """Setting up gives it none; the dealer's files are one a party, and are made once."""
    federation = Federation(tmp_path, str(tmp_path / "box"), "shi")
    try:
        federation.run()
        held = b"".join(federation.everything_but_the_subscribers())
        keys = [
            (m.folder / "state/groups/isac/subscriber.key").read_bytes().strip()
            for m in federation.members.values()
        ]
        assert len(set(keys)) == 3
        assert not any(key in held or bytes.fromhex(key.decode()) in held for key in keys)
        files = sorted(p.name for p in federation.place.rglob("*.key"))
        assert files == ["aggregator.key"]
        own = (federation.place / "aggregator.key").read_bytes()
        order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
        assert sum(int(key, 16) for key in (*keys, own.strip())) % order == 0
        # A second deal into the same folder, or another key, is refused.
        again, group = tmp_path / "again", ("--group", federation.place / "group.json")
        federation.aggregator.run("deal", *group, "--folder", again)
        federation.aggregator.run("deal", *group, "--folder", again, status=2)
        setup = ("setup", "isac", "--uuids", federation.uuids, "--serial", 7)
        out = federation.aggregator.run(*setup, "--key", again / "aggregator.key", status=2)
        assert "holds another key" in out
        assert (federation.place / "aggregator.key").read_bytes() == own
    finally:
        federation.close()


def vector_is_committed(member: Member) -> bool:
    record = member.folder / "state" / "record.db"
    if not record.exists():
        return False
    with contextlib.closing(sqlite3.connect(record)) as connection:
        found: int = connection.execute("SELECT count(*) FROM periods").fetchone()[0]
    return found > 0


def test_missing_journal_commits_to_nothing(tmp_path: Path) -> None:
    federation = Federation(tmp_path, str(tmp_path / "box"), "masked")
    try:
        alpha = federation.members["alpha"]
        alpha.journal.unlink()
        out = alpha.run(*federation.about("encrypt"), status=2)
        assert f"{alpha.journal} is not there" in out
        # A proxy whose journal is a Redis has no file to count from.
        text = alpha.config.read_text()
        shared = 'journal = "redis://127.0.0.1:1/0"\ncollected = "collected.db"'
        alpha.config.write_text(text.replace('journal = "journal.db"', shared))
        out = alpha.run(*federation.about("encrypt"), status=2)
        assert "collected.db is not there" in out
        assert out.count("\n") == 1
        assert not vector_is_committed(alpha)
        see(alpha.folder / "collected.db", federation.attributes, COUNTS["alpha"])
        alpha.run(*federation.about("encrypt", wait=0), status=1)
        assert vector_is_committed(alpha)
    finally:
        federation.close()


def test_period_that_the_journal_has_forgotten_is_refused(tmp_path: Path) -> None:
    federation = Federation(tmp_path, str(tmp_path / "box"), "masked")
    try:
        alpha = federation.members["alpha"]
        age = (datetime.now(UTC).date() - date.fromisoformat(PERIOD)).days
        text = alpha.config.read_text()
        alpha.config.write_text(text.replace("36500", str(age - 1)))
        out = alpha.run(*federation.about("encrypt"), status=2)
        assert "wrong-period" in out
        assert f"keeps {age - 1} days" in out
        assert not vector_is_committed(alpha)
        alpha.config.write_text(text.replace("36500", str(age + 1)))
        alpha.run(*federation.about("encrypt", wait=0), status=1)
    finally:
        federation.close()


def test_errors_are_one_line(tmp_path: Path) -> None:
    federation = Federation(tmp_path, str(tmp_path / "box"), "masked")
    try:
        alpha = federation.members["alpha"]
        group = federation.place / "group.json"
        wrong = alpha.run("join", "--group", group, "--fingerprint", "00" * 32, status=2)
        assert "another fingerprint" in wrong
        out = alpha.run("encrypt", "isac", "--period", "2026-01-06", "--list", federation.list,
                        status=2)  # fmt: skip
        assert "begins on 2026-01-05" in out
        out = alpha.run("encrypt", "isac", "--period", "2099-01-05", "--list", federation.list,
                        status=2)  # fmt: skip
        assert "is not over" in out
        out = alpha.run("encrypt", "other", "--period", PERIOD, "--list", federation.list,
                        status=2)  # fmt: skip
        assert "no group 'other'" in out
        out = federation.aggregator.run(*federation.about("aggregate", wait=0), status=2)
        assert "too-few" in out
        for line in (wrong, out):
            assert line.count("\n") == 1
    finally:
        federation.close()
