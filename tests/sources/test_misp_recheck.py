"""What changes in a MISP without any version saying so is found by a look at names."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from support.installation import Installation
from support.linked import link, refreshed, sealed, values_of
from support.misp import Misp, MispServer, Role
from support.misp.store import Event

pytestmark = pytest.mark.slow


def filled(misp: Misp) -> tuple[Event, Event]:
    """An event with an object and tags, and another organisation's that is shared with us."""
    one = misp.add_event("one", [("domain", f"one{n}.listed.example") for n in range(9)])
    for n in range(3):
        misp.add_attribute(one, "domain", f"object{n}.listed.example", object_id=7)
    misp.tag(one, "tlp:red", "made:up")
    misp.publish(one)
    other = misp.add_event("other", [("domain", f"other{n}.listed.example") for n in range(9)],
                           org="THEM")  # fmt: skip
    other.distribution, other.sharing_group = 4, "friends"
    misp.sharing_groups["friends"] = {"ORG", "THEM"}
    misp.revision += 1
    return one, other


def object_goes(misp: Misp, one: Event, other: Event) -> None:
    misp.delete_object(one, 7)


def events_are_merged(misp: Misp, one: Event, other: Event) -> None:
    misp.merge(one, other)


def attribute_leaves_a_sharing_group(misp: Misp, one: Event, other: Event) -> None:
    (attribute, *_) = misp.attributes_of(other)
    attribute.distribution, attribute.sharing_group = 4, "others"
    misp.sharing_groups["others"] = {"THEM"}
    misp.revision += 1


def read_twice(installation: Installation, server: MispServer, more: str = "") -> None:
    """So that what was published is out of the overlap of the next reading."""
    link(installation, server, more)
    refreshed(installation)
    server.misp.skew += 2 * 3600
    refreshed(installation)


NAMES = (object_goes, events_are_merged, attribute_leaves_a_sharing_group)


def seen_by(misp: Misp) -> set[str]:
    """UUIDs of what ORG is shown and wants."""
    groups = misp.sharing_groups
    return {
        uuid
        for uuid in misp.truth()
        if (a := misp.attribute_uuids[uuid])
        and (a.distribution != 4 or "ORG" in groups[a.sharing_group])
    }


@pytest.mark.parametrize("change", NAMES)
def test_attributes_that_come_or_go_without_a_version(
    installation: Installation, server: MispServer, change: Callable[[Misp, Event, Event], None]
) -> None:
    misp = server.misp
    events = filled(misp)
    read_twice(installation, server)
    values = values_of(misp)
    before = seen_by(misp)
    assert sealed(installation, values) == before
    change(misp, *events)
    misp.skew += 1800
    refreshed(installation)
    assert sealed(installation, values) == before
    misp.skew += 1800
    refreshed(installation)
    assert sealed(installation, values) == seen_by(misp) != before


def tags_and_orgs(installation: Installation) -> set[tuple[str, ...]]:
    from inkgate.rules.sources.mirror import Mirror

    (path,) = (installation.places.publisher / "sources").glob("*.db")
    import sqlite3

    (fingerprint,) = sqlite3.connect(path).execute(
        "SELECT value FROM state WHERE name = 'fingerprint'"
    ).fetchone()  # fmt: skip
    mirror = Mirror(path, fingerprint)
    try:
        return {(a.org, *a.tags) for a in mirror.attributes()}
    finally:
        mirror.close()


def test_tag_that_is_not_exportable_any_more(
    installation: Installation, server: MispServer
) -> None:
    misp = server.misp
    filled(misp)
    link(installation, server)
    refreshed(installation)
    assert tags_and_orgs(installation) == {("ORG", "tlp:red", "made:up"), ("THEM",)}
    misp.unexportable.add("tlp:red")
    misp.skew += 2 * 3600
    refreshed(installation)
    assert tags_and_orgs(installation) == {("ORG", "made:up"), ("THEM",)}


def test_organisation_that_has_another_name(installation: Installation, server: MispServer) -> None:
    misp = server.misp
    one, _ = filled(misp)
    link(installation, server)
    refreshed(installation)
    misp.org_id("ORG renamed")
    one.org = "ORG renamed"
    one.distribution = 3
    misp.revision += 1
    misp.skew += 2 * 3600
    refreshed(installation)
    assert tags_and_orgs(installation) == {("ORG renamed", "tlp:red", "made:up"), ("THEM",)}


def test_reader_that_moves_to_another_organisation(
    installation: Installation, server: MispServer
) -> None:
    misp = server.misp
    _, other = filled(misp)
    hidden = misp.attributes_of(other)[0]
    hidden.distribution = 0
    misp.revision += 1
    link(installation, server)
    refreshed(installation)
    values = values_of(misp)
    assert hidden.uuid not in sealed(installation, values)
    server.keys[server.key] = Role(org="THEM")
    misp.skew += 2 * 3600
    refreshed(installation)
    assert hidden.uuid in sealed(installation, values)


def test_what_has_not_changed_is_not_read_again(
    installation: Installation, server: MispServer
) -> None:
    misp = server.misp
    filled(misp)
    read_twice(installation, server, "recheck_minutes = 0")
    asked: list[dict[str, object]] = []

    def note(path: str, body: dict[str, object]) -> None:
        if path == "/attributes/restSearch":
            asked.append(body)

    server.before = note
    refreshed(installation)
    assert [body["returnFormat"] for body in asked] == ["csv"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("uuid,event_id\n", "something else than the CSV"),
        ('uuid,event_id,attribute_tag,event_source_org,event_tag\n"x"y\n', "CSV that is damaged"),
    ],
)
def test_answer_that_is_no_such_csv_is_a_fault_and_keeps_the_reading(
    installation: Installation, server: MispServer, monkeypatch: pytest.MonkeyPatch, answer: str,
    said: str,
) -> None:  # fmt: skip
    misp = server.misp
    filled(misp)
    link(installation, server)
    refreshed(installation)
    misp.skew += 2 * 3600
    monkeypatch.setattr("support.misp.server.csv_of", lambda *_: answer)
    (fault,) = installation.refresh().unreadable
    assert said in fault.problem
    assert sealed(installation, values_of(misp)) == seen_by(misp)


@pytest.mark.parametrize("tag", ["TLP:RED", "tlp:red", "Made:Up", "%ade:u%"])
def test_tags_of_the_settings_are_found_in_any_case(
    installation: Installation, server: MispServer, tag: str
) -> None:
    filled(server.misp)
    link(installation, server, f'tags = ["{tag}", "not:there"]')
    refreshed(installation)
    assert {org for org, *_ in tags_and_orgs(installation)} == {"ORG"}
