"""A MISP over HTTP: what is sealed is what the MISP holds, whatever goes wrong on the way."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from inkgate.rules.sources.misp_api import MispApi
from support.installation import Installation
from support.linked import link, refreshed, sealed, values_of
from support.misp import Changes, Faults, MispServer
from support.misp.answers import Query
from support.misp.search import Search
from support.misp.store import Attribute

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seed", range(20))
def test_sealed_set_is_the_truth_after_random_changes(
    installation: Installation, seed: int
) -> None:
    with MispServer(skipped_header=seed % 3 != 0) as server:
        misp = server.misp
        misp.skew = (0, -7200, 7200, 90_000)[seed % 4]
        link(installation, server, timeout=0.6, page_size=7 if seed % 4 == 0 else 25)
        changes = Changes(misp, seed)
        for _ in range(12):
            changes.add_event()
        misp.warn(*(a.value for a in itertools.islice(misp.attributes.values(), 0, None, 5)))
        misp.skew += 5
        refreshed(installation)
        assert sealed(installation, changes.values) == misp.truth()

        for _ in range(8):
            changes.one()
        misp.skew += 5
        changes.touched.clear()
        quiet = misp.truth()
        countdown = itertools.count()
        server.before = lambda path, body: changes.one() if next(countdown) % 3 == 0 else None
        server.faults = Faults(seed, 0.2, limit=5, hang_seconds=0.7, retry_after=0)
        refreshed(installation, full=seed % 2 == 0)
        server.before = None
        untouched = {
            a.uuid for a in misp.attributes.values() if a.event.id not in changes.touched
        } & quiet
        assert untouched <= sealed(installation, changes.values)

        misp.skew += 5
        server.faults = Faults(seed + 100, 0.3, limit=5, hang_seconds=0.7, retry_after=0)
        refreshed(installation, full=seed % 5 == 4)
        assert sealed(installation, changes.values) == misp.truth()
        assert server.faults.made


def test_pages_shorter_than_asked_for_and_empty_ones_do_not_end_the_reading(
    installation: Installation,
) -> None:
    for header in (True, False):
        with MispServer(skipped_header=header) as server:
            event = server.misp.add_event(
                "made up", [("domain", f"n{n}.listed.example") for n in range(50)]
            )
            # Two whole pages of 7 are warned of, and half of another one.
            server.misp.warn(*(f"n{n}.listed.example" for n in range(7, 24)))
            link(installation, server)
            refreshed(installation, full=True)
            found = sealed(installation, values_of(server.misp))
            assert found == server.misp.truth()
            assert len(found) == 33
            server.misp.delete_event(event)


def test_attributes_deleted_between_pages_move_no_other_past_us(
    linked: Installation, server: MispServer
) -> None:
    misp = server.misp
    events = [
        misp.add_event("made up", [("domain", f"n{e}-{n}.listed.example") for n in range(20)])
        for e in range(3)
    ]
    first = list(misp.attributes_of(events[0]))

    def delete(path: str, body: dict[str, object]) -> None:
        if path == "/attributes/restSearch" and body["page"] == 3 and first:
            for attribute in first[:5]:
                misp.delete(attribute, hard=True)
            first.clear()
            misp.publish(events[0])

    values = values_of(misp)
    misp.skew += 5
    server.before = delete
    refreshed(linked)
    assert not first
    assert sealed(linked, values) == misp.truth()
    assert len(misp.truth()) == 55


def test_event_that_never_stands_still_disturbs_itself_only(
    linked: Installation, server: MispServer
) -> None:
    misp = server.misp
    busy = misp.add_event("busy", [("domain", f"busy{n}.listed.example") for n in range(15)])
    misp.add_event("calm", [("domain", f"calm{n}.listed.example") for n in range(15)])
    misp.skew += 5

    def edit(path: str, body: dict[str, object]) -> None:
        asked = map(str, body.get("eventid", ()))  # type: ignore[call-overload]
        if path == "/attributes/restSearch" and str(busy.id) in asked:
            misp.skew += 1
            misp.edit(misp.attributes_of(busy)[0], comment="again")
            misp.publish(busy)

    server.before = edit
    refreshed(linked)
    calm = {a.uuid for a in misp.attributes.values() if a.event is not busy}
    assert sealed(linked, values_of(misp)) == calm
    server.before = None
    misp.skew += 5
    refreshed(linked)
    assert sealed(linked, values_of(misp)) == misp.truth()


def test_only_what_changed_is_read_again(linked: Installation, server: MispServer) -> None:
    misp = server.misp
    misp.skew = -10_000
    events = [misp.add_event("made up", [("domain", f"n{n}.listed.example")]) for n in range(30)]
    refreshed(linked)
    misp.skew = 0
    refreshed(linked)
    misp.edit(misp.attributes_of(events[3])[0], to_ids=False)
    misp.publish(events[3])
    server.requests.clear()
    refreshed(linked)
    asked = [body["eventid"] for path, body in server.requests if path == "/attributes/restSearch"]
    assert asked == [[str(events[3].id)]]
    assert sealed(linked, values_of(misp)) == misp.truth()


def test_two_edits_within_one_second_are_both_seen(
    linked: Installation, server: MispServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.misp, "now", lambda: 1_800_000_000)
    event = server.misp.add_event("made up", [("domain", "n1.listed.example")])
    refreshed(linked)
    server.misp.add_attribute(event, "domain", "n2.listed.example")
    server.misp.publish(event)
    refreshed(linked)
    assert len(sealed(linked, values_of(server.misp))) == 2


def test_warninglist_changes_are_seen_by_a_full_reading(
    linked: Installation, server: MispServer
) -> None:
    misp = server.misp
    misp.skew = -10_000
    misp.add_event("made up", [("domain", f"n{n}.listed.example") for n in range(3)])
    refreshed(linked)
    misp.skew = 0
    refreshed(linked)
    misp.warn("n1.listed.example")
    refreshed(linked)
    assert len(sealed(linked, values_of(misp))) == 3
    done = linked.run("inkgate-rules", "refresh", "--misp", "web", "--full")
    assert done.returncode == 0, done.stderr
    assert sealed(linked, values_of(misp)) == misp.truth()


@pytest.mark.parametrize(
    ("more", "truth"),
    [
        ('types = ["domain", "sha256"]', {"types": ["domain", "sha256"]}),
        ('tags = ["made-up"]', {"tags": ["made-up"]}),
        ('orgs = ["Other Org"]', {"orgs": ["Other Org"]}),
        ("published = false", {"published": False}),
        ("enforce_warninglist = false", {"enforce_warninglist": False}),
        ("exclude_decayed = true", {"exclude_decayed": True}),
    ],
)  # fmt: skip
def test_filters(
    installation: Installation, server: MispServer, more: str, truth: dict[str, object]
) -> None:
    changes = Changes(server.misp, 7)
    for _ in range(8):
        changes.add_event()
    truth_now = server.misp.truth()
    some = [a for a in server.misp.attributes.values() if a.uuid in truth_now]
    server.misp.warn(some[1].value)
    some[2].decayed = True
    server.misp.skew += 5
    server.misp.add_event("other", [("domain", "other.example")], org="Other Org")
    server.misp.add_event("draft", [("domain", "draft.example")], publish=False)
    link(installation, server, more)
    refreshed(installation)
    found = sealed(installation, values_of(server.misp))
    assert found == server.misp.truth(**truth)  # type: ignore[arg-type]
    assert found != server.misp.truth()


def test_publisher_selects_by_tlp_and_organisation_of_the_event(
    linked: Installation, server: MispServer
) -> None:
    add = server.misp.add_event
    add("green", [("domain", "green.example")], tags=["tlp:green"])
    add("red", [("domain", "red.example")], tags=["tlp:red"])
    add("other", [("domain", "other.example")], org="Other Org")
    linked.config.write_text(
        linked.config.read_text()
        + '\n[rules.select]\nmax_tlp = "amber"\nnot_orgs = ["Other Org"]\n'
    )
    summary = refreshed(linked)
    assert summary.rules - summary.canaries == 1
    assert sealed(linked, {("domain", "green.example")})


def test_message_tells_the_events_date_and_organisation(
    linked: Installation, server: MispServer
) -> None:
    server.misp.add_event("of an object", date="2025-12-24", publish=False)
    (event,) = server.misp.events.values()
    server.misp.add_attribute(event, "domain", "listed.example", object_id=3)
    server.misp.publish(event)
    text = linked.config.read_text()
    linked.config.write_text(
        text.replace("[rules]\n", '[rules]\nmessage = ["uuid", "event_uuid", "date", "org"]\n', 1)
    )
    refreshed(linked)
    (hit,) = linked.matcher().url("http://listed.example/") or (
        linked.matcher().look_up("domain", "name", b"listed.example"),
    )
    assert hit is not None
    (told,) = hit.message.attributes
    assert (told["event_uuid"], told["date"], told["org"]) == (event.uuid, "2025-12-24", "ORG")


def test_fifty_thousand_attributes(installation: Installation, server: MispServer) -> None:
    for e in range(50):
        server.misp.add_event("many", [("sha256", f"{e * 1000 + n:064x}") for n in range(1000)])
    server.misp.skew += 5
    link(installation, server, page_size=2000)
    done = refreshed(installation)
    assert done.rules - done.canaries == 50_000


ODD: dict[str, tuple[Callable[[dict[str, Any]], object], bool]] = {
    "tags as a map": (lambda item: item | {"Tag": {"1": {"name": "tlp:red"}}}, True),
    "tags as a text": (lambda item: item | {"Tag": "tlp:red"}, True),
    "event as a list": (lambda item: item | {"Event": []}, True),
    "event as a list, no id": (lambda item: item | {"Event": [], "event_id": None}, True),
    "organisation as a text": (lambda item: item | {"Event": {"Orgc": "x"}}, True),
    "comment as a list": (lambda item: item | {"comment": ["x"]}, True),
    "uuid as a list": (lambda item: item | {"uuid": []}, True),
    "surrogate in a comment": (lambda item: item | {"comment": "\ud800"}, True),
    "surrogate in a tag": (lambda item: item | {"Tag": [{"name": "\ud800"}]}, True),
    "surrogate in the value": (lambda item: item | {"value": "\ud800.example"}, False),
    "value as a list": (lambda item: item | {"value": ["x"]}, False),
    "type as a flag": (lambda item: item | {"type": True}, False),
    "number": (lambda _: 7, False),
    "list": (lambda _: [], False),
    "nothing": (lambda _: None, False),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_attribute_costs_itself_alone(
    linked: Installation, server: MispServer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """One whose tags were a map kept that event, and all later ones, from arriving."""
    change, is_read = ODD[name]
    link(linked, server, page_size=100)
    server.misp.add_event("first", [("domain", "first.example")])
    refreshed(linked)
    server.misp.add_event("odd", [("domain", "odd.example"), ("domain", "sound.example")])
    server.misp.add_event("later", [("domain", "later.example")])
    real = Search._attribute

    def odd(self: Search, attribute: Attribute, query: Query) -> Any:
        item = real(self, attribute, query)
        return change(item) if attribute.value == "odd.example" else item

    monkeypatch.setattr(Search, "_attribute", odd)
    for full in (False, False, True):
        summary = refreshed(linked, full=full)
        assert summary.sealed == (4 if is_read else 3)
        # Counted each time, not only when it came.
        assert summary.report.fates["refused"] == (0 if is_read else 1)


def test_attributes_as_a_map_are_read(
    linked: Installation, server: MispServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PHP writes a list with a gap so."""
    server.misp.add_event("made up", [("domain", "a.example"), ("domain", "b.example")])
    real = MispApi._request

    def as_map(self: MispApi, question: Any, **more: Any) -> Any:
        found = real(self, question, **more)
        if isinstance(found, dict) and "Attribute" in found:
            found["Attribute"] = {str(n): item for n, item in enumerate(found["Attribute"])}
        return found

    monkeypatch.setattr(MispApi, "_request", as_map)
    assert refreshed(linked).sealed == 2
