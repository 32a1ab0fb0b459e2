"""Look-ups in steps: what is asked for together, and the same answers as at once."""

from __future__ import annotations

import pytest

from inkgate.rules.canonical import Host
from inkgate.rules.crypto.derive import Unstretched
from inkgate.rules.lookup.matcher import Match, Matcher
from inkgate.rules.lookup.observed import Observed
from inkgate.rules.lookup.replies import server_match_steps
from inkgate.rules.lookup.steps import Steps, finish
from inkgate.rules.lookup.verdicts import examination, examine
from support.installation import Installation, attribute


@pytest.fixture
def matcher(installation: Installation) -> Matcher:
    installation.add(
        "listed",
        attribute("domain", "listed.example"),
        attribute("url", "http://files.example/bad?x=1"),
        attribute("ip-dst", "198.51.100.66"),
        attribute("ip-dst", "203.0.113.0/24"),
        attribute("ip-dst|port", "192.0.2.80|8443"),
        attribute("hostname|port", "odd.example|8443"),
        attribute("domain|ip", "pair.example|192.0.2.9"),
        attribute("user-agent", "EvilBot/1.0"),
    )
    # Gates that hardly a name passes by chance.
    installation.configure("epsilon = 0.0001")
    installation.refresh()
    return installation.matcher()


def asked(steps: Steps[object], matcher: Matcher) -> list[tuple[Unstretched, ...]]:
    """Everything that a look-up asks for, step by step."""
    groups = []
    try:
        wanted = next(steps)
        while True:
            groups.append(wanted)
            wanted = steps.send([matcher.stretch(*value) for value in wanted])
    except StopIteration:
        return groups


def test_url_and_url_without_query_are_asked_for_together(matcher: Matcher) -> None:
    assert asked(matcher.url_steps("http://files.example/bad?x=1"), matcher) == [
        (("url", b"files.example/bad?x=1"), ("url", b"files.example/bad"))
    ]
    assert asked(matcher.url_steps("http://files.example/bad"), matcher) == [
        (("url", b"files.example/bad"),)
    ]


def test_networks_of_an_address_are_asked_for_shortest_first(matcher: Matcher) -> None:
    assert asked(matcher.server_steps("203.0.113.66"), matcher)[:2] == [
        (("ip", b"203.0.113.0/24"),),
        (("ip", b"203.0.113.66"),),
    ]
    assert asked(matcher.server_steps("198.51.100.66"), matcher) == [
        (("ip", b"198.51.100.0/24"),),
        (("ip", b"198.51.100.66"),),
    ]


def test_walk_stops_at_the_first_suffix_that_no_gate_lets_through(matcher: Matcher) -> None:
    stopped = [
        name
        for name in (f"a.b.c{n}.example" for n in range(40))
        if len(asked(matcher.host_steps(Host("name", name)), matcher)) == 1
    ]
    # At most a sixteenth of 40 passes, give or take.
    assert len(stopped) > 25


@pytest.mark.parametrize(
    ("request_", "classes"),
    [
        (Observed("GET", "http://a.listed.example/"), ["domain"]),
        (Observed("GET", "http://www.files.example//bad?x=1"), ["url"]),
        (Observed("GET", "http://files.example/bad"), []),
        (Observed("GET", "http://203.0.113.9/"), ["ip-dst"]),
        (Observed("CONNECT", "192.0.2.80:8443"), ["ip-dst|port"]),
        (Observed("GET", "http://pair.example/", "192.0.2.9"), ["domain", "domain|ip"]),
        (Observed("GET", "http://fine.example/", "198.51.100.66"), ["ip-dst"]),
        (Observed("GET", "http://fine.example/", "", "EvilBot/1.0"), ["user-agent"]),
        (Observed("GET", "http://fine.example/", "192.0.2.1", "curl/8"), []),
        (Observed("GET", "http://fine.example/", "192.0.2.80", port=8443), ["ip-dst|port"]),
        (Observed("GET", "http://fine.example:8443/", "192.0.2.80"), ["ip-dst|port"]),
        (Observed("GET", "http://fine.example:8443/", "192.0.2.80", port=80), []),
        (Observed("GET", "http://odd.example/", "192.0.2.1", port=8443), ["hostname|port"]),
        (Observed("GET", "http://odd.example/", "", port=8443), ["hostname|port"]),
        (Observed("GET", "http://sub.odd.example/", "", port=8443), []),
        (Observed("GET", "http://odd.example:8443/", "192.0.2.1", port=80), ["hostname|port"]),
        (Observed("GET", "http://a.listed.example/", "", port=8443), ["domain"]),
        (Observed("GET", "http://192.0.2.80/", "", port=8443), ["ip-dst|port"]),
        (Observed("GET", "http://203.0.113.9/", "", port=8443), ["ip-dst"]),
        (Observed("GET", "http://192.0.2.81/", "", port=8443), []),
    ],
)
@pytest.mark.slow
def test_steps_find_what_is_listed(
    matcher: Matcher, request_: Observed, classes: list[str]
) -> None:
    found = examine(request_, matcher).matches
    assert [match.indicator_class for match in found] == classes
    assert asked(examination(request_, matcher), matcher)


@pytest.mark.parametrize("uri", ["http://odd.example/", "http://192.0.2.80/"])
@pytest.mark.slow
def test_host_that_is_listed_at_another_port_is_not_clean(matcher: Matcher, uri: str) -> None:
    assert examine(Observed("GET", uri), matcher)[:2] == ((), False)


@pytest.mark.slow
def test_reply_is_judged_by_the_port_of_its_connection(matcher: Matcher) -> None:
    found: list[Match] = []
    steps = server_match_steps("192.0.2.1", "GET", "http://odd.example/", matcher, found, 8443)
    finish(steps, matcher.stretch)
    assert [match.indicator_class for match in found] == ["hostname|port"]


def test_pair_is_asked_for_only_where_the_name_may_be_listed(matcher: Matcher) -> None:
    """One rule for a pair made each pair of a name and an address cost a derivation."""

    def pairs(name: str) -> int:
        groups = asked(matcher.server_steps("192.0.2.9", Host("name", name)), matcher)
        return sum(
            b"192.0.2.9" in data and kind == "name" for group in groups for kind, data in group
        )

    assert pairs("pair.example") == 1
    assert sum(pairs(f"other{n}.example") for n in range(40)) < 2


def test_listed_name_is_asked_for_only_with_addresses_that_may_be_listed_with_it(
    matcher: Matcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that the gate lets through cost a derivation with each of its servers."""
    name = Host("name", "pair.example")
    others = [f"203.0.113.{number}" for number in range(64)]

    def pairs(address: str) -> int:
        groups = asked(matcher.server_steps(address, name), matcher)
        return sum(
            address.encode() in data and kind == "name" for group in groups for kind, data in group
        )

    assert matcher.generation.manifest.pairs_gated
    assert [m.indicator_class for m in matcher.server_address("192.0.2.9", name)] == ["domain|ip"]
    # One in sixteen passes by chance.
    assert sum(map(pairs, others)) < 20
    # In a set of before, whose gate knows no such address, all are asked for.
    monkeypatch.setattr(matcher, "_are_pairs_gated", False)
    assert sum(map(pairs, others)) == len(others)
