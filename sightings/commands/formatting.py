"""Records as text: one line, one JSON object, or all details for the help desk."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from inkgate.config.printable import printable
from inkgate.rules.crypto.message import CANARY
from inkgate.sightings.journal.sighting import Sighting
from inkgate.sightings.report.outbox import FALSE_POSITIVE, Item

_EARLIEST: Final = datetime(1, 1, 1, tzinfo=UTC).timestamp()
_LATEST: Final = datetime(9999, 12, 31, tzinfo=UTC).timestamp()
COLUMNS = ("time", "incident", "class", "action", "client", "method", "node", "attributes")


def as_record(sighting: Sighting) -> dict[str, object]:
    """A sighting with the names that `list --json` gives its fields."""
    return {
        "time": moment(sighting.time),
        "incident": sighting.incident,
        "class": sighting.indicator_class,
        "action": sighting.action,
        "client": sighting.client,
        "method": sighting.method,
        "node": sighting.node,
        "attributes": sighting.attributes,
    }


def as_match(sighting: Sighting, items: Iterable[Item], misp_url: str) -> dict[str, object]:
    """A sighting with its events in MISP and what MISP was told."""
    events = [event for event in dict.fromkeys(sighting.events) if event]
    return {
        **as_record(sighting),
        "events": [event_link(misp_url, event) for event in events],
        "told": [as_reported(item) for item in items],
    }


def as_reported(item: Item) -> dict[str, object]:
    """A sighting of the outbox."""
    return {
        "uuid": item.uuid,
        "what": "false positive" if item.kind == FALSE_POSITIVE else "sighting",
        "attribute": item.attribute,
        "node": item.node,
        "since": moment(item.first),
        "last": moment(item.last),
        "count": item.count,
        "state": item.state.name.lower(),
        "reason": item.reason,
    }


def event_link(misp_url: str, event: str) -> str:
    """Where to read more; the bare id if no MISP is named or the id is not a number."""
    if not misp_url or not (event.isascii() and event.isdigit()):
        return event
    return f"{misp_url.rstrip('/')}/events/view/{event}"


def match_lines(match: dict[str, object]) -> list[str]:
    """`as_match` as lines for people."""
    events, told = match["events"], match["told"]
    assert isinstance(events, list)  # noqa: S101
    assert isinstance(told, list)  # noqa: S101
    plain = [(name, cell(match[name])) for name in COLUMNS]
    if match["action"] == CANARY:
        plain.append(("note", "a request of the check through the proxy; MISP is not told"))
    plain += [("MISP event", cell(event)) for event in events]
    for item in told:
        reason = f": {item['reason']}" if item["reason"] else ""
        text = f"{item['what']} {item['state']}{reason}, {item['count']} in its window"
        plain.append(("told MISP", cell(text)))
    return [f"{name:>12}  {text}" for name, text in plain]


def moment(seconds: float) -> str:
    """RFC 3339, in UTC. What lies beyond the years 1 to 9999 becomes the nearest of them."""
    when = datetime.fromtimestamp(min(max(seconds, _EARLIEST), _LATEST), UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def cell(value: object) -> str:
    """Text for a terminal: clients, methods and MISP's words come from the network."""
    return printable(" ".join(value) if isinstance(value, tuple) else str(value))
