"""Entries to matches: hostile entries, and what is remembered as clean."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from inkgate.rules.lookup.matcher import Matcher
from inkgate.rules.match.engine import Engine
from inkgate.rules.match.logs.clean_log_parts import CleanLogParts, host_key
from inkgate.rules.match.logs.entry import Entry
from inkgate.rules.match.logs.squid_format import cells_of
from inkgate.rules.match.logs.squid_log import SquidLog
from support.installation import Installation, attribute
from support.logs import access_line

CLASSES = (
    ("domain", "listed.example"),
    ("hostname", "host.bank.example"),
    ("hostname|port", "host.bank.example|8443"),
    ("url", "http://files.example/bad"),
    ("ip-dst", "198.51.100.66"),
    ("ip-dst", "2001:db8::/64"),
    ("ip-dst|port", "198.51.100.67|8443"),
    ("domain|ip", "pair.example|198.51.100.68"),
    ("ip-src", "203.0.113.0/24"),
    ("user-agent", "EvilAgent/1.0"),
    ("md5", "ab" * 16),
    ("filename|md5", "x|" + "ab" * 16),
)


@pytest.fixture(scope="module")
def matcher() -> Iterator[Matcher]:
    made = Installation()
    # Gates that no name passes by chance: such a one is not remembered as clean.
    made.configure("epsilon = 0.0001")
    made.add("listed", *(attribute(*pair) for pair in CLASSES))
    made.refresh()
    yield made.matcher()
    made.close()


TEXTS = st.one_of(
    st.text(st.characters(), max_size=40),
    st.sampled_from(
        [
            "listed.example",
            "http://listed.example/",
            "198.51.100.66",
            "198.51.100.66:80",
            "[2001:db8::1]",
            "2001:db8::1%eth0",
            "//",
            "http:///",
            "a" * 9000,
            "\udcff\udc80.listed.example",
            "0x7f.1",
            "|",
            "x|y|z",
        ]
    ),
)
VALUES = st.tuples(st.sampled_from(["md5", "filename|md5", "domain|ip", "ip-dst|port"]), TEXTS)
ENTRIES = st.builds(
    Entry,
    *[TEXTS] * 7,
    st.lists(TEXTS, max_size=3).map(tuple),
    st.lists(TEXTS, max_size=3).map(tuple),
    st.lists(VALUES, max_size=3).map(tuple),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(ENTRIES)
@example(Entry(names=("\ud800",)))
@pytest.mark.slow
def test_hostile_entries_neither_raise_nor_change_with_what_is_known(
    matcher: Matcher, entry: Entry
) -> None:
    engine = Engine(matcher, 100)
    first = engine.matches(entry)
    assert engine.matches(entry) == first
    assert Engine(matcher, 100).matches(entry) == first


def test_every_host_under_a_key_that_was_clean_is_clean(matcher: Matcher) -> None:
    engine = Engine(matcher, 100)
    assert engine.matches(Entry(uri="http:///listed.invalid/", method="GET")) == ()
    found = engine.matches(Entry(uri="http:///listed.example/", method="GET"))
    assert [match.indicator_class for match in found] == ["domain"]


def test_a_port_is_not_forgotten_when_the_host_was_clean(matcher: Matcher) -> None:
    engine = Engine(matcher, 100)
    for uri, method, count in (
        ("host.bank.example:443", "CONNECT", 1),
        ("host.bank.example:8443", "CONNECT", 2),
        ("http://host.bank.example/", "GET", 1),
    ):
        assert len(engine.matches(Entry(uri=uri, method=method))) == count


def test_what_a_clean_line_needs_no_reading_of(matcher: Matcher) -> None:
    engine = Engine(matcher, 100)
    log = SquidLog("squid")
    clean = access_line("http://clean.test/x")
    text = "\n".join([clean] * 3)
    seen = [entry for _, entry in log.entries_to_look_up(text, engine.clean) if entry]
    assert len(seen) == 3
    assert all(engine.matches(entry) == () for entry in seen)
    assert list(log.entries_to_look_up(text, engine.clean)) == []
    assert matcher.has_pairs
    other = text + "\n" + access_line("http://clean.test/x", server="198.51.100.66")
    assert [number for number, _ in log.entries_to_look_up(other, engine.clean)] == [3]
    pair = text.replace("clean.test", "pair.example")
    # The same server, clean with one name, says nothing of another.
    pair = pair.replace("192.0.2.80", "198.51.100.68")
    engine.matches(Entry(uri="http://clean.test/", server="198.51.100.68", method="GET"))
    seen = [entry for _, entry in log.entries_to_look_up(pair, engine.clean) if entry]
    found = [match.indicator_class for entry in seen for match in engine.matches(entry)]
    assert found.count("domain|ip") == 3


def test_a_pair_is_looked_at_only_where_its_host_may_be_listed_with_an_address(
    matcher: Matcher,
) -> None:
    """One `domain|ip` rule made each pair of a host and a server a look-up."""
    engine, log = Engine(matcher, 1000), SquidLog("squid")

    def looked_at(lines: list[str]) -> int:
        seen = 0
        for line in lines:
            for _, entry in log.entries_to_look_up(line, engine.clean):
                assert entry is not None
                seen += 1
                assert engine.matches(entry) == ()
        return seen

    lines = [
        access_line(f"http://h{n // 20}.test/", server=f"192.0.2.{n % 20}") for n in range(400)
    ]
    assert looked_at(lines) <= 40
    assert looked_at(lines) == 0


def test_an_answer_is_looked_at_with_its_name_only_where_that_may_be_listed(
    matcher: Matcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, asked = Engine(matcher, 10_000), []
    steps = matcher.server_steps
    monkeypatch.setattr(
        matcher, "server_steps", lambda *parts: asked.append(parts) or steps(*parts)
    )
    for number in range(400):
        address = f"192.0.2.{number % 20}"
        entry = Entry(names=(f"h{number // 20}.test",), addresses=(address,))
        assert engine.matches(entry) == ()
    assert len(asked) <= 40
    entry = Entry(names=("pair.example",), addresses=("192.0.2.1", "198.51.100.68"))
    assert "domain|ip" in [match.indicator_class for match in engine.matches(entry)]


def test_a_host_that_may_be_listed_with_an_address_is_remembered_with_each(
    installation: Installation,
) -> None:
    installation.configure("domain_ip_by_domain = false\nepsilon = 0.0001")
    installation.add("listed", attribute("domain|ip", "pair.example|198.51.100.68"))
    installation.refresh()
    engine = Engine(installation.matcher(), 1000)

    def classes(server: str) -> list[str]:
        entry = Entry(uri="http://pair.example/", server=server, method="GET")
        return [match.indicator_class for match in engine.matches(entry)]

    for server in ("192.0.2.1", "", "198.51.100.68"):
        listed = server == "198.51.100.68"
        # The address is clean with other hosts, and that of the pair passes the gate, so that
        # it is looked up with each port.
        engine.matches(Entry(uri="http://clean.test/", server=server, method="GET"))
        assert bool(engine.clean.servers.get(server)) == (not listed)
        for _ in range(2):
            assert classes(server) == (["domain|ip"] if listed else [])
        assert engine.clean.covers("http://pair.example", server, "", "") == (not listed)


def test_splitting_and_matching_find_the_same_lines(matcher: Matcher) -> None:
    lines = [access_line(f"http://h{n % 7}.test/{n}", server=f"192.0.2.{n % 5}") for n in range(60)]
    lines[13:13] = ["garbage", "", "a b c d e f http://h1.test/ h i/192.0.2.1 j"]
    text = "\n".join(lines)
    split, matched = SquidLog("squid"), SquidLog("squid")
    matched._cells = None
    for log in (split, matched):
        assert (log._cells is None) == (log is matched)
    clean_parts = CleanLogParts(1000)
    for cache, key in (
        (clean_parts.hosts, "http://h1.test"),
        (clean_parts.servers, "192.0.2.1"),
        (clean_parts.clients, "192.0.2.9"),
        (clean_parts.agents, ""),
    ):
        cache.put(key, True)
    by_split = dict(split.entries_to_look_up(text, clean_parts))
    assert by_split == dict(matched.entries_to_look_up(text, clean_parts)) | {
        number: by_split[number] for number in by_split if lines[number] == "garbage"
    }
    assert len(by_split) < len(lines) - 1


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("%ts.%03tu %6tr %>a %Ss/%03>Hs %<st %rm %ru %[un %Sh/%<a %mt", True),
        ("%ts %>a %ru %<a", True),
        ('%ts %>a %ru %<a "%{User-Agent}>h"', False),
        ("[%tl] %>a %ru %<a", False),
        ("%ts %>a %ru", False),
        ("%>a:%>p %ru %<a", False),
    ],
)
def test_formats_that_white_space_takes_apart(text: str, split: bool) -> None:
    assert (cells_of(text) is not None) == split


@given(st.text(max_size=60))
def test_host_key_is_a_beginning_that_ends_before_the_path(uri: str) -> None:
    key = host_key(uri)
    assert uri.startswith(key)
    assert "/" not in key[8:]


# What makes a line readable in many ways. The host is one whose URLs must be looked at.
_PIECES = (
    *("%5C", "%22", "%20", "%7B", "%E6", "%01", "%2541", '"', '" "', '" - "', " ", "\\", '\\"'),
    *("a", "/", "..", ";x", "?", "|", "[", "] [", '" A:B', " TCP_MISS:HIER_DIRECT "),
)
_LINES = {
    "squid": "1700000000.1 1 192.0.2.9 A/200 1 GET {url} - HIER_DIRECT/198.51.100.7 -",
    "combined": '192.0.2.9 - - [x] "GET {url} HTTP/1.1" 200 1 "{agent}" "{agent}" A:B{agent}',
    "common": '192.0.2.9 - - [x] "GET {url} HTTP/1.1" 200 1 A:B{agent}',
    "%>a|%>ru|%{User-Agent}>h": "192.0.2.9|{url}|{agent}",
    "%>a %ru [%{User-Agent}>h] [%>ru]": "192.0.2.9 {url} [{agent}] [{url}]",
    '%>a %ru "%\'{User-Agent}>h" %<a': '192.0.2.9 {url} "{agent}" 198.51.100.7',
}


@pytest.mark.parametrize("text", _LINES)
def test_a_line_is_looked_up_in_few_ways_whatever_a_client_writes_into_it(
    matcher: Matcher, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[tuple[str, bytes]] = set()
    derive = matcher.stretch

    def count(kind: str, data: bytes) -> bytes:
        asked.add((kind, data))
        return derive(kind, data)

    monkeypatch.setattr(matcher, "_stretch", count)
    log, choose = SquidLog(text), random.Random(22)
    most = 0
    for _ in range(300):
        odd = ["".join(choose.choices(_PIECES, k=choose.randint(1, 30))) for _ in range(2)]
        url = f"http://files.example/{odd[0]}"
        entry = log.entry(_LINES[text].format(url=url, agent=odd[1]))
        if entry is None:
            continue
        assert len({entry.uri, *(uri for uri, _ in entry.readings)} - {""}) <= 8
        assert len({entry.user_agent, *(agent for _, agent in entry.readings)} - {""}) <= 16
        asked.clear()
        Engine(matcher, 100).matches(entry)
        most = max(most, len(asked))
    # Each URL in up to nine readings of its path, with its query and without.
    assert 5 < most <= 50


@pytest.mark.parametrize("gates", ["", "epsilon = 0.5", "epsilon = 0.0001"])
def test_what_is_remembered_changes_no_match_of_pairs(
    installation: Installation, gates: str
) -> None:
    installation.configure(f"domain_ip_by_domain = false\n{gates}")
    installation.add(
        "listed",
        *(attribute("domain|ip", f"h{n}.example|192.0.2.{n}") for n in range(4)),
        attribute("ip-dst", "192.0.2.9"),
        attribute("ip-dst|port", "192.0.2.8|80"),
    )
    installation.refresh()
    matcher = installation.matcher()
    hosts = [f"h{n}.example" for n in range(8)] + ["192.0.2.3", "[64:ff9b::c000:202]"]
    servers = ["", *(f"192.0.2.{n}" for n in range(10)), "64:ff9b::c000:201", "::ffff:192.0.2.2"]
    entries = [
        Entry(uri=f"http://{host}/", server=server, method="GET")
        for host in hosts
        for server in servers
    ]
    alone = {entry: len(Engine(matcher, 1000).matches(entry)) for entry in entries}
    assert len(set(alone.values())) > 1
    draw = random.Random(22)
    for limit in (8, 1000):
        engine = Engine(matcher, limit)
        for entry in draw.choices(entries, k=600):
            assert len(engine.matches(entry)) == alone[entry], entry
