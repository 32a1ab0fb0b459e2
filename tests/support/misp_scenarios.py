"""What reporter and reader have to do with a MISP that behaves as a real one, one by one.

Each takes a server, sets it up, and asserts the end that docs/sightings.md promises.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from inkgate.rules.sources.misp_api import MispApi, MispWebSettings
from support.misp import Event, MispServer, Role
from support.misp.answers import Answer
from support.reporting import DAY, MORNING, Reporting, sighting

FEW = "first_wait = 0.001\nlongest_wait = 0.002\ntimeout = 30.0\nattempts = 4\n"
OTHER = "OTHER"
UNKNOWN = "MISP does not know the attribute, or does not show it to this key"
NOT_SAVED = "MISP answers that it has saved nothing, and does not show it"
ALL_TOLD = "reported {0}, refused 0, waiting 0\n"


def event_of(server: MispServer, count: int = 3, org: str = "ORG") -> Event:
    """An event with so many attributes."""
    values = [("domain", f"d{n}.{org.lower()}.example") for n in range(count)]
    return server.misp.add_event("made up", values, org=org)


def seen(reporting: Reporting, event: Event, moment: float = MORNING, **more: Any) -> None:
    """One match of each attribute of an event."""
    reporting.journal.append(
        [
            sighting([a.uuid], moment + n, f"IG-{n:010}", events=(str(event.id),), **more)
            for n, a in enumerate(reporting.server.misp.attributes_of(event))
        ]
    )


def lose_answers(server: MispServer, path: str, count: int = 1) -> None:
    """MISP does what the first requests to a path ask for, and a server in front of it fails."""
    left = [count]

    def losing(real: Callable[..., Answer]) -> Callable[..., Answer]:
        def handler(role: Role, body: Any, *given: str) -> Answer:
            answer = real(role, body, *given)
            if left[0] <= 0:
                return answer
            left[0] -= 1
            return Answer({}, 502)

        return handler

    _wrap(server, path, losing)


def answer_with(server: MispServer, path: str, answer: Answer) -> None:
    """Let all requests to a path be answered so."""
    _wrap(server, path, lambda _: lambda *_: answer)


def _wrap(
    server: MispServer, path: str, wrapped: Callable[[Callable[..., Answer]], Callable[..., Answer]]
) -> None:
    server._api._routes = [
        (pattern, wrapped(old) if path in pattern.pattern else old)
        for pattern, old in server._api._routes
    ]


def told_once(server: MispServer, attributes: Iterable[str]) -> None:
    """Each of some attributes has one sighting, and there is no other."""
    told = sorted(s.attribute.uuid for s in server.misp.sightings.values())
    assert told == sorted(attributes)


def uuids(server: MispServer, event: Event) -> list[str]:
    return [a.uuid for a in server.misp.attributes_of(event)]


def reasons(reporting: Reporting) -> dict[str, str]:
    """Why what was refused was, by attribute."""
    return {item["attribute"]: item["reason"] for item in reporting.json("refused")}


def lost_answer_of_add(server: MispServer) -> None:
    """The sighting of which MISP's answer was lost is looked up by the attribute's number."""
    server.bulk_sightings = False
    event = event_of(server, 1, OTHER)
    lose_answers(server, "/sightings/add")
    with Reporting(server, misp=FEW) as reporting:
        seen(reporting, event)
        assert ALL_TOLD.format(1) in reporting.run("report")
    told_once(server, uuids(server, event))


def lost_answer_of_bulk(server: MispServer, moment: float = MORNING) -> None:
    """Those that one lost answer is about are looked up by the attributes' UUIDs."""
    event = event_of(server)
    lose_answers(server, "bulkSave")
    with Reporting(server, misp=FEW) as reporting:
        seen(reporting, event, moment)
        assert ALL_TOLD.format(3) in reporting.run("report")
    told_once(server, uuids(server, event))


def lost_answer_about_long_ago(server: MispServer) -> None:
    """So they are when what was seen is older than what MISP looks back by itself."""
    lost_answer_of_bulk(server, MORNING - 40 * DAY)


def invalid_one_among_good_ones(server: MispServer) -> None:
    """One that MISP finds invalid is refused, and those beside it are told."""
    event = event_of(server)
    server.instance.invalid_sources.add("proxy9")
    with Reporting(server, misp=FEW) as reporting:
        seen(reporting, event)
        first = uuids(server, event)[0]
        reporting.journal.append([sighting([first], events=(str(event.id),), node="proxy9")])
        for _ in range(8):
            reporting.run("report", status=1)
            if reasons(reporting):
                break
        assert reasons(reporting) == {first: NOT_SAVED}
        assert reporting.json("status")[0]["waiting"] == 0
    told_once(server, uuids(server, event))


def deleted_ones_among_good_ones(server: MispServer) -> None:
    """What was hard-deleted is refused, what was soft-deleted is told."""
    event = event_of(server, 4)
    gone, soft, *_ = server.misp.attributes_of(event)
    with Reporting(server, misp=FEW) as reporting:
        seen(reporting, event)
        server.misp.delete(gone, hard=True)
        server.misp.delete(soft)
        reporting.run("report", status=1)
        assert reasons(reporting) == {gone.uuid: UNKNOWN}
        assert reporting.json("status")[0]["waiting"] == 0
    told_once(server, uuids(server, event))


def event_that_is_gone(server: MispServer) -> None:
    """Its attributes are looked up: what MISP does not have is refused, saying so."""
    event, gone = event_of(server), event_of(server, 2, OTHER)
    lost = uuids(server, gone)
    with Reporting(server, misp=FEW) as reporting:
        seen(reporting, event)
        seen(reporting, gone)
        server.misp.delete_event(gone)
        reporting.run("report", status=1)
        assert reasons(reporting) == dict.fromkeys(lost, UNKNOWN)
    told_once(server, uuids(server, event))


def attribute_of_nobody(server: MispServer) -> None:
    """A MISP without bulkSaveSightings refuses what it does not have, and nothing else."""
    server.bulk_sightings = False
    event = event_of(server)
    stranger = str(uuid.uuid4())
    with Reporting(server, misp=FEW) as reporting:
        seen(reporting, event)
        reporting.journal.append([sighting([stranger], events=(str(event.id),))])
        reporting.run("report", status=1)
        said = reasons(reporting)
        assert list(said) == [stranger]
        assert "No valid attributes found" in said[stranger]
    told_once(server, uuids(server, event))


def hidden_attributes(server: MispServer) -> None:
    """What this key is not shown is refused; a member of the sharing group tells."""
    misp = server.misp
    misp.sharing_groups.update({"with us": {"ORG"}, "without us": {"THIRD"}})
    event = event_of(server, 5, OTHER)
    own, group, strangers, whole, community = misp.attributes_of(event)
    misp.edit(own, distribution=0)
    misp.edit(group, distribution=4, sharing_group="with us")
    misp.edit(strangers, distribution=4, sharing_group="without us")
    misp.edit(community, distribution=1)
    with Reporting(server, misp=FEW) as reporting:
        seen(reporting, event)
        reporting.run("report", status=1)
        assert reasons(reporting) == dict.fromkeys((own.uuid, strangers.uuid), UNKNOWN)
    told_once(server, [group.uuid, whole.uuid, community.uuid])


def maintenance(server: MispServer) -> None:
    """It is waited out, and nothing is refused by it."""
    event = event_of(server)
    with Reporting(server, misp=FEW) as reporting:
        seen(reporting, event)
        server.instance.is_live = False
        assert "waits for the next run" in reporting.run("report", status=1)
        assert reporting.json("status")[0]["waiting"] == 3
        server.instance.is_live = True
        assert ALL_TOLD.format(3) in reporting.run("report")
    told_once(server, uuids(server, event))


def limit_of_searches(server: MispServer) -> None:
    """What is new is told without a search, so a limit of searches holds it up nowhere."""
    server.instance.searches_a_minute = 1
    events = [event_of(server) for _ in range(4)]
    with Reporting(server, misp=FEW) as reporting:
        for event in events:
            seen(reporting, event)
        assert reporting.run("report") == ALL_TOLD.format(12)


def too_large_request(server: MispServer) -> None:
    """It is parted at once, and the next ones are as small from the beginning."""
    server.instance.most_bytes = 3000
    event = event_of(server, 60)
    with Reporting(server, misp=FEW + "batch = 40\n") as reporting:
        seen(reporting, event)
        assert reporting.run("report") == ALL_TOLD.format(60)
    sizes = [len(body["Sighting"]) for path, body in server.requests if "bulkSave" in path]
    assert max(sizes) == 10
    assert len(sizes) == 6
    told_once(server, uuids(server, event))


def tags_that_are_not_exported(server: MispServer) -> None:
    """They are no indicator's, so that no rule of the partner's depends on them."""
    server.misp.unexportable.add("internal")
    event = server.misp.add_event(
        "made up", [("domain", "a.example")], tags=["internal", "tlp:red"]
    )
    found = [a for page in _reader(server).attributes([event.id]) for a in page]
    assert [a.tags for a in found] == [("tlp:red",)]


def readings_of_what_is_shown(server: MispServer) -> None:
    """The reader has what its organisation may see of another one's event."""
    event = event_of(server, 2, OTHER)
    own, shown = server.misp.attributes_of(event)
    server.misp.edit(own, distribution=0)
    server.misp.publish(event)
    found = [a for page in _reader(server).attributes([event.id]) for a in page]
    assert [a.uuid for a in found] == [shown.uuid]


def _reader(server: MispServer) -> MispApi:
    variable = "INKGATE_TEST_KEY"
    settings = MispWebSettings(url=server.url, key_file="", key_variable=variable, retries=0)
    return MispApi(settings, Path())
