"""STIX 2.1: Sighting objects of MISP's attributes, and Opinions where one was a false positive.

A sighting refers to the Indicator that MISP's own export (misp-stix) makes of an attribute:
`indicator--` and the attribute's UUID. The Indicator itself is not told: its pattern would be
the value that is not known here.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

from inkgate.sightings.export import names
from inkgate.sightings.export.format import FalsePositive, ObjectFormat

Json = dict[str, object]

_SPEC: Final = "2.1"
_MOST: Final = 999_999_999
# Identities do not change: what their names are made of is in their ids.
_IDENTITIES_MADE: Final = "2026-01-01T00:00:00.000Z"


class Seen(msgspec.Struct, frozen=True):
    """What one node saw of an attribute in a window, as it is to be told now.

    Attributes:
        uuid: the sighting's own.
        attribute: UUID of the MISP attribute.
        node: where it was seen.
        first: when it was seen first, in seconds since 1970.
        last: when it was seen last.
        count: how often.
        created: when its first version was made, in milliseconds since 1970.
        modified: when this version was made.
    """

    uuid: str
    attribute: str
    node: str
    first: float
    last: float
    count: int
    created: int
    modified: int


class Teller(NamedTuple):
    """Who tells.

    Attributes:
        installation: random id of the journal.
        organisation: in whose name; empty means the node's.
    """

    installation: str
    organisation: str


def sighting(teller: Teller, seen: Seen) -> Json:
    """What was seen as a Sighting; `summary` is false, as it is no sum of other sightings."""
    return {
        "type": "sighting",
        "spec_version": _SPEC,
        "id": f"sighting--{seen.uuid}",
        "created_by_ref": _author(teller, seen.node),
        "created": _moment(seen.created / 1000),
        "modified": _moment(seen.modified / 1000),
        "first_seen": _moment(seen.first),
        "last_seen": _moment(seen.last),
        "count": min(seen.count, _MOST),
        "sighting_of_ref": f"indicator--{seen.attribute.lower()}",
        "where_sighted_refs": [_node(teller, seen.node)],
        "summary": False,
    }


def totals(teller: Teller, first: float, end: float, counts: Mapping[str, int]) -> Iterator[Json]:
    """Sums of many organisations over a period, each as a Sighting that is a summary.

    Args:
        teller: in whose name; the same ids for the same one.
        first: the first second of the period, since 1970.
        end: the first second after it.
        counts: by attribute UUID.
    """
    when = _moment(end)
    yield _identity(_organisation(teller), teller.organisation, "group")
    for attribute, count in sorted(counts.items()):
        name = names.name_of(teller.installation, "total", attribute)
        yield {
            "type": "sighting",
            "spec_version": _SPEC,
            "id": f"sighting--{name}",
            "created_by_ref": _organisation(teller),
            "created": when,
            "modified": when,
            "first_seen": _moment(first),
            "last_seen": _moment(end - 1),
            "count": min(count, _MOST),
            "sighting_of_ref": f"indicator--{attribute.lower()}",
            "summary": True,
        }


def opinions(teller: Teller, mark: FalsePositive) -> Iterator[Json]:
    """An Opinion on each attribute behind a false positive, as MISP's own export has it."""
    seen = mark.sighting
    when = _moment(mark.time)
    for attribute in dict.fromkeys(seen.attributes):
        if not is_uuid(attribute):
            continue
        about = (seen.incident, seen.node, attribute)
        name = names.name_of(teller.installation, "opinion", *about)
        yield {
            "type": "opinion",
            "spec_version": _SPEC,
            "id": f"opinion--{name}",
            "created_by_ref": _author(teller, seen.node),
            "created": when,
            "modified": when,
            "explanation": f"False positive, said of incident {seen.incident}",
            "opinion": "strongly-disagree",
            "object_refs": [f"indicator--{attribute.lower()}"],
        }


def identities(teller: Teller, nodes: Iterable[str]) -> Iterator[Json]:
    """The identities that sightings and opinions of nodes refer to."""
    if teller.organisation:
        yield _identity(_organisation(teller), teller.organisation, "organization")
    for node in sorted(set(nodes)):
        yield _identity(_node(teller, node), node, "system")


def bundle(objects: Iterable[Json]) -> Json:
    """Objects as they are put into a file."""
    return {"type": "bundle", "id": f"bundle--{uuid.uuid4()}", "objects": list(objects)}


def is_uuid(text: str) -> bool:
    """Whether a text can be an attribute's UUID."""
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def _identity(name: str, called: str, kind: str) -> Json:
    return {
        "type": "identity",
        "spec_version": _SPEC,
        "id": name,
        "created": _IDENTITIES_MADE,
        "modified": _IDENTITIES_MADE,
        "name": called,
        "identity_class": kind,
    }


def _author(teller: Teller, node: str) -> str:
    return _organisation(teller) if teller.organisation else _node(teller, node)


def _organisation(teller: Teller) -> str:
    name = names.name_of(teller.installation, "organisation", teller.organisation)
    return f"identity--{name}"


def _node(teller: Teller, node: str) -> str:
    return f"identity--{names.name_of(teller.installation, 'node', node)}"


def _moment(seconds: float) -> str:
    when = datetime.fromtimestamp(seconds, UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


FORMAT: Final = ObjectFormat("stix")
