"""What MISP's API has for sightings: the requests, and what the answers say.

As MISP 2.5 does it: `bulkSaveSightings` saves all that it is given or nothing, and passes
over, without an error, what it has already and what belongs to attributes that it does not
know or does not show. `restSearch` looks back 30 days only, unless it is given both `from`
and `to`, which are part of the time; it takes numbers as JSON numbers and nothing else, and
UUIDs under a name of their own. A MISP that does not load sightings finds none, ever.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from pymisp import PyMISP

Question = Callable[["PyMISP"], Any]

_SAVED: Final = re.compile(r"(?<!\d)(\d{1,9}) sightings? added")
_SEARCH: Final = "sightings/restSearch/attribute"


class Saved(NamedTuple):
    """What an answer to `save` says.

    Attributes:
        added: how many sightings were added; -1 if it is not said.
        is_done: MISP has now, or had before, all of the request that it knows an attribute
            of. False is no success: something of the request kept all of it from being
            saved, or there was nothing to save. None: it is not said.
    """

    added: int
    is_done: bool | None


def save(event: str, sightings: Sequence[Mapping[str, str]]) -> Question:
    """Add sightings, each with a UUID of its own.

    Args:
        event: id or UUID of an event that MISP shows. The attributes may be of others.
        sightings: `uuid`, `attribute_uuid`, `date_sighting`, `type` and `source` of each.
    """
    body = {"Sighting": list(sightings)}
    return lambda misp: misp.direct_call(f"sightings/bulkSaveSightings/{event}", body)


def saved(answer: Any) -> Saved:
    """What MISP says of what it was given."""
    said = answer if isinstance(answer, dict) else {}
    is_done = said.get("saved") if isinstance(said.get("saved"), bool) else None
    found = _SAVED.search(str(said.get("success", "")))
    if is_done is False:
        return Saved(0, False)
    return Saved(int(found[1]) if found else -1, is_done)


def by_uuid(attributes: Sequence[str], kind: int, since: int, until: int) -> Question:
    """The sightings of attributes that were seen in a time.

    Args:
        attributes: their UUIDs.
        kind: MISP's type of sighting.
        since, until: seconds since 1970; both are part of the time.
    """
    body = {"uuid": list(attributes), **_when(kind, since, until)}
    return lambda misp: misp.direct_call(_SEARCH, body)


def by_number(attribute: int, kind: int, since: int, until: int) -> Question:
    """As `by_uuid`, of one attribute by its number: older MISPs know no search by UUID."""
    body = {"id": attribute, **_when(kind, since, until)}
    return lambda misp: misp.direct_call(_SEARCH, body)


def attributes_by_uuid(uuids: Sequence[str]) -> Question:
    """Attributes by UUID, deleted ones, too, as far as MISP shows them."""
    # MISP accepts a list here, although PyMISP's annotation does not.
    wanted: Any = list(uuids)
    return lambda misp: misp.search(controller="attributes", uuid=wanted, deleted=[0, 1])


def rows(answer: Any, name: str) -> list[dict[str, Any]] | None:
    """The rows of an answer, each with or without its name around it; None if it has none.

    Args:
        answer: MISP's.
        name: `Attribute` or `Sighting`.
    """
    if isinstance(answer, dict):
        answer = answer.get(name)
    if not isinstance(answer, list):
        return None
    return [_inner(row, name) for row in answer if isinstance(row, dict)]


def _when(kind: int, since: int, until: int) -> dict[str, object]:
    return {"returnFormat": "json", "type": str(kind), "from": since, "to": until}


def _inner(row: dict[str, Any], name: str) -> dict[str, Any]:
    inner = row.get(name)
    return inner if isinstance(inner, dict) else row
