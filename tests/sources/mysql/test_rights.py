"""What counts for a user of MISP: what MISP shows that user, and nothing else."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from inkgate.rules.sources.last_good import LastGood
from inkgate.rules.sources.misp_mysql import MispMysql
from support.mariadb import DATABASE, MariaDb
from support.misp_mysql import add, fault, only, read, settings_for

pytestmark = pytest.mark.slow

READER = "reader@misp.example"
READERS, OTHERS = 1, 2
# Levels with the number of a sharing group, and whether the reader is reached by them.
EVENTS = {
    (0, 0): False,
    (1, 0): True,
    (2, 0): True,
    (3, 0): True,
    (4, 1): True,  # a group with the reader's organisation
    (4, 2): False,  # one without
    (4, 3): True,  # one with all organisations of this MISP
    (4, 4): False,  # one with all organisations of another MISP
    (0, 1): False,  # the group is left from another level
}
PARTS = EVENTS | {(5, 0): True}


@pytest.fixture
def groups(misp: MariaDb) -> MariaDb:
    misp.add("organisations", name="Other Org", uuid="other")
    misp.add("sharing_group_orgs", sharing_group_id=1, org_id=READERS)
    misp.add("sharing_group_orgs", sharing_group_id=2, org_id=OTHERS)
    misp.add("sharing_group_servers", sharing_group_id=3, server_id=0, all_orgs=1)
    misp.add("sharing_group_servers", sharing_group_id=4, server_id=5, all_orgs=1)
    misp.add("sharing_group_servers", sharing_group_id=2, server_id=0, all_orgs=0)
    return misp


def event_of(misp: MariaDb, owner: int, level: tuple[int, int], creator: int = 0) -> int:
    return misp.add(
        "events",
        uuid=f"{owner} {level} {creator}",
        org_id=owner,
        orgc_id=creator or owner,
        distribution=level[0],
        sharing_group_id=level[1],
    )


def part(level: tuple[int, int]) -> dict[str, object]:
    return {"distribution": level[0], "sharing_group_id": level[1]}


def seen(misp: MariaDb, folder: Path, user: str = READER) -> set[str]:
    attributes, faults = read(misp, folder, misp_user=user)
    assert not faults
    return {a.value for a in attributes}


def fill(misp: MariaDb) -> set[str]:
    """One attribute for each case of another organisation's events; what the reader may see."""
    shown = set()
    for number, (event, attribute) in enumerate(product(EVENTS, PARTS)):
        place = event_of(misp, OTHERS, event) if attribute == next(iter(PARTS)) else place  # noqa: F821
        alone, inside = f"alone-{number}.example", f"inside-{number}"
        add(misp, "domain", alone, event_id=place, **part(attribute))
        if EVENTS[event] and PARTS[attribute]:
            shown.add(alone)
        for of, level in enumerate(PARTS):
            name = f"{inside}-{of}.example"
            made = misp.add("objects", event_id=place, uuid=name, **part(level))
            add(misp, "domain", name, event_id=place, object_id=made, **part(attribute))
            if EVENTS[event] and PARTS[attribute] and PARTS[level]:
                shown.add(name)
    return shown


def test_each_distribution_and_sharing_group_of_events_objects_and_attributes(
    groups: MariaDb, tmp_path: Path
) -> None:
    shown = fill(groups)
    assert len(shown) == 5 * 6 * 7  # levels of events, attributes, and no object or six
    assert seen(groups, tmp_path) == shown
    everything = {a.value for a in read(groups, tmp_path / "all")[0]}
    assert len(everything) == len(EVENTS) * len(PARTS) * (1 + len(PARTS))


def test_all_of_an_event_of_ones_own_organisation_counts(groups: MariaDb, tmp_path: Path) -> None:
    place = event_of(groups, READERS, (0, 0), creator=OTHERS)
    made = groups.add("objects", event_id=place, uuid="o", **part((0, 0)))
    add(groups, "domain", "own.example", event_id=place, object_id=made, **part((4, 2)))
    # Who made it first does not matter, only who has it here.
    other = event_of(groups, OTHERS, (0, 0), creator=READERS)
    add(groups, "domain", "other.example", event_id=other)
    assert seen(groups, tmp_path) == {"own.example"}


def test_a_site_administrator_sees_everything(groups: MariaDb, tmp_path: Path) -> None:
    role = groups.add("roles", name="admin", perm_site_admin=1)
    groups.add("users", email="admin@misp.example", role_id=role)
    place = event_of(groups, OTHERS, (0, 0))
    add(groups, "domain", "hidden.example", event_id=place)
    assert seen(groups, tmp_path) == set()
    assert seen(groups, tmp_path / "admin", "admin@misp.example") == {"hidden.example"}


def test_membership_counts_as_it_is_now(groups: MariaDb, tmp_path: Path) -> None:
    place = event_of(groups, OTHERS, (4, 2))
    add(groups, "domain", "shared.example", event_id=place, distribution=5)
    add(groups, "domain", "own.example")
    assert seen(groups, tmp_path) == {"own.example"}
    groups.add("sharing_group_orgs", sharing_group_id=2, org_id=READERS)
    assert seen(groups, tmp_path) == {"own.example", "shared.example"}
    groups.execute(f"UPDATE {DATABASE}.users SET org_id = 3 WHERE email = %s", READER)
    assert "is empty and was not before" in fault(read(groups, tmp_path, misp_user=READER))


def test_tags_that_are_not_exportable_do_not_count(misp: MariaDb, tmp_path: Path) -> None:
    name = add(misp, "domain", "a.example")
    number = misp.execute(f"SELECT id FROM {DATABASE}.attributes WHERE uuid = %s", name)[0][0]
    for tag, exportable in (("tlp:red", 0), ("tlp:green", 1)):
        made = misp.add("tags", name=tag, exportable=exportable)
        misp.add("event_tags", event_id=1, tag_id=made)
        misp.add("attribute_tags", event_id=1, attribute_id=number, tag_id=made)
    assert only(read(misp, tmp_path)).tags == ("tlp:green", "tlp:green")


def test_without_a_user_it_is_said_that_everything_counts(misp: MariaDb, tmp_path: Path) -> None:
    add(misp, "domain", "a.example")
    said: list[str] = []
    for user in ("", READER):
        source = MispMysql(
            settings_for(misp, misp_user=user),
            tmp_path,
            LastGood(tmp_path / "c"),
            remark=said.append,
        )
        assert len(list(source.read([]))) == 1
    (one,) = said
    assert "everything in it counts" in one
    assert "misp_user" in one
