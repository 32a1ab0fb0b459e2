"""What becomes a rule, with which course of action, and until when."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from inkgate.rules.lookup.matcher import Match
from inkgate.rules.select.selection import Selection
from inkgate.rules.settings import SelectSettings
from inkgate.rules.sources.attribute import Attribute
from support.installation import Installation, attribute

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def made(**fields: object) -> Attribute:
    return Attribute(
        **{"type": "domain", "value": "x.example", "uuid": "u", "to_ids": True, **fields}
    )  # type: ignore[arg-type]


def selection(select: SelectSettings | None = None, **more: object) -> Selection:
    options: dict[str, object] = {"max_age_days": {}, "actions": {}, "action": "block", "now": NOW}
    return Selection(select or SelectSettings(), **{**options, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("select", "attribute", "reason"),
    [
        ({}, made(deleted=True), "deleted"),
        ({}, made(to_ids=False), "to_ids not set"),
        ({}, made(published=False), None),
        ({"published_only": True}, made(published=False), "not published"),
        ({"types": ("url",)}, made(), "type not selected"),
        ({"types": ("dom*",)}, made(), None),
        ({"not_types": ("domain",)}, made(), "type not selected"),
        ({"orgs": ("CERT*",)}, made(org="Other"), "organisation not selected"),
        ({"orgs": ("CERT*",)}, made(org="CERT-XX"), None),
        ({"not_orgs": ("other",)}, made(org="Other"), "organisation not selected"),
        ({"tags": ("tlp:*",)}, made(tags=("x", "tlp:green")), None),
        ({"tags": ("tlp:*",)}, made(tags=("x",)), "tag not selected"),
        ({"not_tags": ("test*",)}, made(tags=("Testing",)), "tag not selected"),
        ({"max_tlp": "green"}, made(tags=("tlp:amber",)), "TLP too high"),
        ({"max_tlp": "green"}, made(tags=("tlp:white", "TLP:GREEN")), None),
        ({"max_tlp": "amber"}, made(tags=("tlp:amber+strict",)), "TLP too high"),
        ({"max_tlp": "clear"}, made(), None),
    ],
)
def test_selects(select: dict[str, object], attribute: Attribute, reason: str | None) -> None:
    assert selection(SelectSettings(**select)).skip_reason(attribute) == reason  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "expires"),
    [
        ({"timestamp": "1700000000"}, 1700000000 + 30 * 86400),
        ({"timestamp": "1700000000", "last_seen": "2026-01-01T00:00:00.000000+00:00"}, 1769817600),
        ({"date": "2026-01-01"}, 1769817600),
        ({"type": "url", "date": "2026-01-01"}, 1767225600 + 86400),
        ({}, 0),
        ({"timestamp": "rubbish"}, 0),
    ],
)
def test_age_counts_from_last_seen_then_timestamp_then_date(
    fields: dict[str, object], expires: int
) -> None:
    aged = selection(max_age_days={"*": 30, "url": 1})
    assert aged.expires(made(**fields)) == expires


def test_a_tag_weighs_more_than_a_type() -> None:
    chosen = selection(actions={"type:domain": "log", "tag:block*": "block"}, action="block")
    assert chosen.action(made()) == "log"
    assert chosen.action(made(tags=("blocklist",))) == "block"
    assert chosen.action(made(type="url")) == "block"


def look_up(installation: Installation, kind: str, value: str, ahead: float = 0) -> list[Match]:
    assert kind in ("domain", "url")
    matcher = installation.matcher(now=lambda: time.time() + ahead)
    try:
        hit = matcher.look_up(kind, "name" if kind == "domain" else "url", value.encode())
    finally:
        matcher.generation.close()
    return [hit] if hit else []


def test_action_by_type_and_tag_reaches_the_matcher(installation: Installation) -> None:
    installation.configure('actions = { "type:url" = "log", "tag:watch" = "log" }')
    installation.add(
        "three",
        attribute("domain", "one.example"),
        attribute("domain", "two.example", Tag=[{"name": "watch"}]),
        attribute("url", "http://three.example/x"),
    )
    installation.refresh()
    (one,), (two,) = (
        look_up(installation, "domain", "one.example"),
        look_up(installation, "domain", "two.example"),
    )
    (three,) = look_up(installation, "url", "three.example/x")
    actions = [match.message.action for match in (one, two, three)]
    assert actions == ["block", "log", "log"]


def test_changed_action_is_sealed_again_without_a_derivation(installation: Installation) -> None:
    installation.add("one", attribute("domain", "one.example"))
    installation.refresh()
    installation.configure('action = "log"')
    again = installation.refresh()
    assert (again.done.derived, again.done.new, again.done.resealed) == (0, 0, 1)
    (match,) = look_up(installation, "domain", "one.example")
    assert match.message.action == "log"


def test_old_indicators_leave_by_themselves(installation: Installation) -> None:
    now = int(datetime.now(UTC).timestamp())
    installation.configure("max_age_days = { domain = 10 }")
    installation.add(
        "ages",
        attribute("domain", "old.example", timestamp=str(now - 11 * 86400)),
        attribute("domain", "young.example", timestamp=str(now - 9 * 86400)),
    )
    summary = installation.refresh()
    assert summary.report.skipped == {"too old": 1}
    assert not look_up(installation, "domain", "old.example")
    assert look_up(installation, "domain", "young.example")
    assert not look_up(installation, "domain", "young.example", ahead=2 * 86400)


def test_one_lasting_attribute_keeps_the_whole_rule(installation: Installation) -> None:
    now = int(datetime.now(UTC).timestamp())
    installation.configure("max_age_days = { domain = 10 }")
    installation.add(
        "both",
        attribute("domain", "one.example", timestamp=str(now - 9 * 86400)),
        attribute("domain", "one.example", timestamp=str(now)),
    )
    installation.refresh()
    (match,) = look_up(installation, "domain", "one.example", ahead=5 * 86400)
    assert len(match.message.attributes) == 2
