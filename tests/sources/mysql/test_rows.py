"""What is read of a MISP's database."""

from __future__ import annotations

from pathlib import Path

import pytest

from inkgate.rules.select.selection import Selection
from inkgate.rules.settings import SelectSettings
from inkgate.rules.sources.attribute import Attribute
from support.mariadb import MariaDb
from support.misp_mysql import add, fill, only, read

pytestmark = pytest.mark.slow


def test_all_that_misp_knows_about_an_attribute(misp: MariaDb, tmp_path: Path) -> None:
    name = add(misp, "domain", "bücher.example", comment="seen", last_seen=1_767_225_600_123_456)
    assert only(read(misp, tmp_path)) == Attribute(
        type="domain",
        value="bücher.example",
        uuid=name,
        event_id="1",
        event_uuid="e1",
        event_info="made up event",
        org="Example Org",
        date="2026-01-01",
        category="Network activity",
        comment="seen",
        timestamp="1767225600",
        to_ids=True,
        last_seen="1767225600",
    )


@pytest.mark.parametrize("kind", ["ip-dst|port", "domain|ip", "filename|sha256"])
def test_composite_types_have_their_two_values_joined(
    misp: MariaDb, tmp_path: Path, kind: str
) -> None:
    add(misp, kind, "one|two")
    assert only(read(misp, tmp_path)).value == "one|two"


def test_object_and_relation_are_told(misp: MariaDb, tmp_path: Path) -> None:
    number = misp.add("objects", event_id=1, uuid="o1", name="url")
    add(misp, "url", "http://a.example/", object_id=number, object_relation="url")
    found = only(read(misp, tmp_path))
    assert (found.object_uuid, found.object_relation) == ("o1", "url")


@pytest.mark.parametrize("left_out", [{"to_ids": 0}, {"deleted": 1}, {"event_id": 99}])
def test_not_for_detection_deleted_and_without_event_are_left_out(
    misp: MariaDb, tmp_path: Path, left_out: dict[str, object]
) -> None:
    add(misp, "domain", "out.example", **left_out)
    add(misp, "domain", "in.example")
    assert only(read(misp, tmp_path)).value == "in.example"


def test_attributes_of_a_deleted_object_are_left_out(misp: MariaDb, tmp_path: Path) -> None:
    number = misp.add("objects", event_id=1, uuid="o1", deleted=1)
    add(misp, "domain", "out.example", object_id=number)
    add(misp, "domain", "in.example")
    assert only(read(misp, tmp_path)).value == "in.example"


def test_unpublished_events_only_if_asked_for(misp: MariaDb, tmp_path: Path) -> None:
    number = misp.add("events", uuid="e2", published=0)
    add(misp, "domain", "draft.example", event_id=number)
    assert read(misp, tmp_path) == ([], [])
    found = only(read(misp, tmp_path, published=False))
    assert (found.value, found.published) == ("draft.example", False)


def test_tags_of_event_and_attribute_local_ones_too(misp: MariaDb, tmp_path: Path) -> None:
    for number, name in enumerate(("tlp:green", "local-event", "phish", "local-own"), 1):
        misp.add("tags", id=number, name=name)
    add(misp, "domain", "a.example", id=10)
    add(misp, "domain", "b.example", id=11)
    misp.add("event_tags", event_id=1, tag_id=1)
    misp.add("event_tags", event_id=1, tag_id=2, local=1)
    misp.add("attribute_tags", attribute_id=10, event_id=1, tag_id=3)
    misp.add("attribute_tags", attribute_id=10, event_id=1, tag_id=4, local=1)
    one, other = read(misp, tmp_path)[0]
    assert one.tags == ("tlp:green", "local-event", "phish", "local-own")
    assert other.tags == ("tlp:green", "local-event")


def test_last_seen_in_microseconds_is_the_moment_that_age_counts_from(
    misp: MariaDb, tmp_path: Path
) -> None:
    from datetime import UTC, datetime

    seen = datetime(2026, 3, 1, tzinfo=UTC)
    add(misp, "domain", "a.example", last_seen=int(seen.timestamp()) * 1_000_000 + 999_999)
    add(misp, "domain", "b.example")
    selection = Selection(SelectSettings(), {"*": 10}, {}, "block", seen)
    one, other = (selection.expires(a) for a in read(misp, tmp_path)[0])
    assert one == int(seen.timestamp()) + 10 * 86_400
    assert other == 1_767_225_600 + 10 * 86_400


def test_more_rows_than_a_batch_come_once_each_in_order(misp: MariaDb, tmp_path: Path) -> None:
    fill(misp, 12_345)
    found, faults = read(misp, tmp_path)
    assert not faults
    assert [a.value for a in found] == [f"n{i}.example" for i in range(12_345)]
