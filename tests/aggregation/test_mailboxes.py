"""Transports under hostile content, journals as counts, and what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inkgate.misp.connector import Connector
from inkgate.sightings.aggregation.counts import counts_for_period
from inkgate.sightings.aggregation.errors import AggregationError
from inkgate.sightings.aggregation.exchange.answer_record import AnswerRecord
from inkgate.sightings.aggregation.exchange.mailbox import (
    FileMailbox,
    Mailbox,
    RedisMailbox,
    up_box,
)
from inkgate.sightings.aggregation.exchange.participant import Participant
from inkgate.sightings.aggregation.exchange.running import Aggregation, take_part
from inkgate.sightings.aggregation.labels import Labels, label_of, parse_labels
from inkgate.sightings.aggregation.publish.misp import MispPublisher
from inkgate.sightings.journal.journal import Journal
from inkgate.sightings.journal.sighting import Sighting
from support.aggregation import Party, labels
from support.misp import Misp, MispServer
from support.misp.answers import Answer
from support.redis_server import RedisServer


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(params=["files", "redis"])
def another(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Mailbox]:
    """Makes one more reader of the same mailbox."""
    if request.param == "files":
        return lambda: FileMailbox(tmp_path / "box")
    url = request.getfixturevalue("redis_server").url
    return lambda: RedisMailbox(url)


@pytest.fixture
def mailbox(another: Callable[[], Mailbox]) -> Mailbox:
    return another()


def test_put_and_get(mailbox: Mailbox, another: Callable[[], Mailbox]) -> None:
    assert list(mailbox.get("a/0/up", most=10)) == []
    for name in ("x", "y", "z"):
        mailbox.put("a/0/up", name, name.encode() * 10)
    mailbox.put("b/0/up", "x", b"other")
    assert dict(mailbox.get("a/0/up", most=10)) == {n: n.encode() * 10 for n in "xyz"}
    assert dict(another().get("a/0/up", most=10, skip={"y"})).keys() == {"x", "z"}
    assert list(another().get("a/0/up", most=9)) == []
    mailbox.put("a/0/up", "later", b"4")
    assert ("later", b"4") in list(mailbox.get("a/0/up", most=10))


def test_same_message_is_there_once(redis_server: RedisServer) -> None:
    for _ in range(3):
        mailbox = RedisMailbox(redis_server.url)
        mailbox.put("once/0/up", "x", b"1")
        mailbox.put("once/0/up", "x", b"2")
        mailbox.put("once/0/up", "y", b"1")
    found = list(RedisMailbox(redis_server.url).get("once/0/up", most=9))
    assert found == [("x", b"1"), ("x", b"2"), ("y", b"1")]
    # A Redis that lost the stream gets it again.
    redis_server.client().delete("inkgate:aggregation:once/0/up")
    RedisMailbox(redis_server.url).put("once/0/up", "x", b"1")
    assert list(RedisMailbox(redis_server.url).get("once/0/up", most=9)) == [("x", b"1")]


def login_page(*_anything: object) -> Answer:
    return Answer("<html>log in</html>")


@pytest.mark.parametrize("path", ["bulkSaveSightings", "attributes/restSearch"])
def test_login_page_does_not_count_as_published(path: str) -> None:
    party, misp = Party("masked", 3, 1), Misp()
    misp.add_event("made up", [("domain", "a.example")])
    attribute = next(iter(misp.attributes.values()))
    with MispServer(misp) as server:
        publisher = MispPublisher(Connector(server.url, server.key))
        routes = server._api._routes
        for n, (pattern, _) in enumerate(routes):
            if path in pattern.pattern:
                routes[n] = (pattern, login_page)
        with pytest.raises(AggregationError, match=r"^no-misp: "):
            publisher.publish(party.session, {attribute.uuid: 7}, 100)
    assert not misp.sightings


def take(party: Party, mailbox: Mailbox, folder: Path, log: list[str]) -> Aggregation:
    return Aggregation(
        party.session, party.aggregator(), folder, mailbox, party.signing, log.append
    )


def test_rubbish_in_a_box_is_told_and_stops_nothing(mailbox: Mailbox, tmp_path: Path) -> None:
    party = Party("shi", 3, 2)
    box = up_box(party.session, 0)
    mailbox.put(box, "org-000", b"rubbish under the name of a member")
    mailbox.put(box, "nobody", os.urandom(100))
    mailbox.put(box, "huge", bytes(1 << 20))
    for n, name in enumerate(party.names):
        record = AnswerRecord(tmp_path / f"{name}.db")
        record.open_period(party.session, [n, 1])
        subscriber = Participant(name, party.identities[name], record, party.dealt.get(name))
        assert take_part(subscriber, party.session, name, mailbox, 0)
    log: list[str] = []
    totals = take(party, mailbox, tmp_path / "state", log).run(0)
    assert totals.values == [3, 3]
    assert any("bad-message" in line for line in log)
    # Taken up again without the mailbox, from what was accepted.
    empty = FileMailbox(tmp_path / "empty")
    assert take(party, empty, tmp_path / "state", log).run(0).values == [3, 3]


def test_links_in_a_folder_are_not_followed(tmp_path: Path) -> None:
    mailbox = FileMailbox(tmp_path / "box")
    mailbox.put("a", "x", b"1")
    secret = tmp_path / "secret"
    secret.write_bytes(b"2")
    (tmp_path / "box" / "a" / "y.msg").symlink_to(secret)
    assert dict(mailbox.get("a", most=10)) == {"x": b"1"}


def test_redis_that_is_not_there_is_one_line() -> None:
    mailbox = RedisMailbox("redis://127.0.0.1:1/0")
    with pytest.raises(AggregationError, match="no-mailbox"):
        mailbox.put("a", "x", b"1")
    with pytest.raises(AggregationError, match="no-mailbox"):
        list(mailbox.get("a", most=1))


def sighting(moment: float, incident: str, *attributes: str, action: str = "block") -> Sighting:
    return Sighting(
        time=moment, incident=incident, indicator_class="domain", attributes=attributes,
        client="192.0.2.1", method="GET", action=action, node="n",
    )  # fmt: skip


def test_counts_come_from_the_journal_of_the_period(tmp_path: Path) -> None:
    a, b, c = (f"00000000-0000-4000-8000-{n:012d}" for n in range(3))
    party = Party("masked", 3, 1, max_count=3)
    party.session.labels = Labels(7, map(label_of, (a, b)))
    start = 1767571200.0  # 2026-01-05T00:00:00Z
    journal = Journal(tmp_path / "j.db")
    journal.append([
        sighting(start - 0.001, "before", a),
        sighting(start, "first", a),
        sighting(start + 10, "twice", a, a),
        sighting(start + 10, "twice", a),  # two rules of one incident
        sighting(start + 10, "others", c, "no uuid"),
        sighting(start + 7 * 86400 - 0.001, "last", a),
        sighting(start + 7 * 86400, "after", a, b),
        *(sighting(start + n, f"many {n}", b.upper()) for n in range(9)),
    ])  # fmt: skip
    counts = counts_for_period(journal, party.session)
    assert sorted(counts) == [3, 3]
    journal.append([sighting(start + 20, "one more", a)])
    assert counts_for_period(journal, party.session) == counts  # at most max_count
    assert counts_for_period(Journal(tmp_path / "none.db"), party.session) == [0, 0]


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-1],
        lambda data: data + data.splitlines(keepends=True)[-1],
        lambda data: data.replace(b"serial 7", b"serial 07"),
        lambda data: data.replace(b"serial 7", b"serial -7"),
        lambda data: data.replace(b"serial 7", b"serial %d" % 2**64),
        lambda data: data.upper(),
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: data.splitlines(keepends=True)[0],
        lambda data: b"",
    ],
)
def test_lists_have_one_form(change: object) -> None:
    data = labels(5).encode()
    assert parse_labels(data).encode() == data
    with pytest.raises(AggregationError, match="bad-message"):
        parse_labels(change(data))  # type: ignore[operator]


@pytest.mark.parametrize("module", ["coincurve", "numpy", "Crypto.Protocol.SecretSharing"])
def test_missing_library_is_one_line(module: str) -> None:
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from inkgate.sightings.commands import aggregation\n"
        "from inkgate.sightings.aggregation import masked, noise, shi\n"
        "from inkgate.sightings.aggregation.masked import aggregator\n"
        "from inkgate.sightings.aggregation.shi import scheme\n"
        "from inkgate.sightings.aggregation.optional import need\n"
        f"need({module!r})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert "which is not installed" in last
    assert "pip install 'inkgate[aggregation]'" in last


def test_helper_and_list_load_nothing_of_it() -> None:
    code = (
        "import sys, inkgate.helper.loop, inkgate.sightings.journal.recorder\n"
        "import inkgate.sightings.commands.cli\n"
        "names = ('numpy', 'coincurve', 'Crypto', 'pymisp', 'redis')\n"
        "print([name for name in names if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_requests_of_the_check_through_the_proxy_do_not_count(tmp_path: Path) -> None:
    uuid = "00000000-0000-4000-8000-000000000000"
    party = Party("masked", 3, 1, max_count=3)
    party.session.labels = Labels(7, [label_of(uuid)])
    start = 1767571200.0  # 2026-01-05T00:00:00Z
    journal = Journal(tmp_path / "j.db")
    journal.append([sighting(start + n, f"check {n}", uuid, action="canary") for n in range(2)])
    assert counts_for_period(journal, party.session) == [0]
    journal.append([sighting(start, "one", uuid)])
    assert counts_for_period(journal, party.session) == [1]
