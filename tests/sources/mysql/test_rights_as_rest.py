"""With `misp_user` the database gives what MISP's API gives the same user."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from inkgate.rules.sources.last_good import LastGood
from inkgate.rules.sources.misp_api import MispWebSettings
from inkgate.rules.sources.misp_web import MispWeb
from inkgate.rules.sources.source import SourceContext
from support.mariadb import MariaDb
from support.misp import MispServer, Role
from support.misp.store import Event
from support.misp_mysql import add, read

pytestmark = pytest.mark.slow

ORGS = ("ORG", "THEM", "OTHERS")
# Of each sharing group its members, and whether all organisations of this MISP are.
GROUPS: dict[str, set[str]] = {
    "1": {"ORG", "THEM"},
    "2": {"THEM"},
    "3": set(ORGS),
    "4": {"OTHERS"},
}
LEVELS = [(0, ""), (1, ""), (2, ""), (3, ""), *((4, group) for group in GROUPS)]
PARTS = [*LEVELS, (5, "")]


def number(group: str) -> int:
    return int(group or 0)


class Both:
    """The same events in a MISP that is asked by REST, and in a database."""

    def __init__(self, server: MispServer, base: MariaDb) -> None:
        self.misp, self.base = server.misp, base
        for org in ORGS:
            self.misp.org_id(org)
            base.add("organisations", name=org, uuid=org)
            role = base.add("roles", name=org, perm_site_admin=0)
            base.add("users", email=f"{org}@misp.example", org_id=self.org(org), role_id=role)
        self.misp.sharing_groups |= GROUPS
        for group, members in GROUPS.items():
            if group == "3":
                base.add("sharing_group_servers", sharing_group_id=3, server_id=0, all_orgs=1)
                continue
            for org in members:
                base.add("sharing_group_orgs", sharing_group_id=int(group), org_id=self.org(org))

    def org(self, name: str) -> int:
        rows = self.base.execute("SELECT id FROM misp.organisations WHERE name = %s", name)
        return int(rows[0][0])

    def event(self, owner: str, level: tuple[int, str]) -> tuple[Event, int]:
        made = self.misp.add_event(f"{owner} {level}", org=owner)
        made.distribution, made.sharing_group = level
        row = self.base.add(
            "events", uuid=made.uuid, org_id=self.org(owner), orgc_id=self.org(owner),
            distribution=level[0], sharing_group_id=number(level[1]),
        )  # fmt: skip
        return made, row

    def attribute(
        self, event: tuple[Event, int], value: str, level: tuple[int, str],
        of_object: tuple[int, str] | None,
    ) -> None:  # fmt: skip
        made, row = event
        object_id = 0
        if of_object is not None:
            object_id = self.base.add(
                "objects", event_id=row, uuid=value,
                distribution=of_object[0], sharing_group_id=number(of_object[1]),
            )  # fmt: skip
            self.misp.objects[object_id] = of_object
        self.misp.add_attribute(
            made, "domain", value, object_id=object_id,
            distribution=level[0], sharing_group=level[1],
        )  # fmt: skip
        add(
            self.base, "domain", value, event_id=row, object_id=object_id,
            distribution=level[0], sharing_group_id=number(level[1]),
        )  # fmt: skip
        self.misp.publish(made)


def by_rest(server: MispServer, org: str, folder: Path) -> set[str]:
    server.keys[server.key] = Role(org=org)
    settings = MispWebSettings(url=server.url, page_size=500)
    source = MispWeb(settings, SourceContext(folder, folder / "state", LastGood(folder / "copies")))
    faults: list[object] = []
    found = {a.value for a in source.read(faults)}  # type: ignore[arg-type]
    assert not faults
    return found


@pytest.fixture
def filled(misp: MariaDb, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Both, MispServer]]:
    with MispServer() as server:
        monkeypatch.setenv("INKGATE_MISP_KEY", server.key)
        misp.empty()
        both = Both(server, misp)
        count = 0
        for owner, level in product(ORGS[:2], LEVELS):
            event = both.event(owner, level)
            for part, of_object in product(PARTS, (None, (0, ""), (4, "1"), (4, "2"), (5, ""))):
                count += 1
                both.attribute(event, f"n{count}.example", part, of_object)
        yield both, server


def test_each_reader_gets_the_same_of_both(filled: tuple[Both, MispServer], tmp_path: Path) -> None:
    both, server = filled
    seen = set()
    for org in ORGS:
        rest = by_rest(server, org, tmp_path / org)
        found, faults = read(both.base, tmp_path / f"{org}-db", misp_user=f"{org}@misp.example")
        assert not faults
        assert {a.value for a in found} == rest
        seen.add(len(rest))
    # Each of them is shown another part, and nobody all.
    assert len(seen) == len(ORGS)
    assert 0 < min(seen) < max(seen) < len(both.misp.attributes)
