"""Ids of what is exported: each follows from what it is about, and from this installation.

What is written or sent twice, after a crash for instance, has the same id both times, and no
other installation makes the same one.
"""

from __future__ import annotations

import uuid
from typing import Final

from inkgate.sightings.journal.sighting import Sighting

_NAMESPACE: Final = uuid.UUID("3f1c2f0a-94c6-5f6e-8a57-2b8d6c0e7f41")


def name_of(installation: str, kind: str, *about: str) -> str:
    """A UUID of version 5 (RFC 9562).

    Args:
        installation: the random id of the journal's installation.
        kind: what is named, so that two things about the same are not called the same.
        about: what it is about.
    """
    return str(uuid.uuid5(_NAMESPACE, "\0".join((installation, kind, *about))))


def finding(installation: str, sighting: Sighting) -> str:
    """The id of a matched rule."""
    return _of_match(installation, "finding", sighting)


def false_positive(installation: str, sighting: Sighting) -> str:
    """The id of the mark that a matched rule was a false positive."""
    return _of_match(installation, "false positive", sighting)


def request(installation: str, sighting: Sighting) -> str:
    """The id of a request, whatever number of rules it matched."""
    return name_of(installation, "request", sighting.incident, sighting.node)


def _of_match(installation: str, kind: str, sighting: Sighting) -> str:
    attributes = " ".join(sighting.attributes)
    about = (sighting.incident, sighting.node, sighting.indicator_class, attributes)
    return name_of(installation, kind, *about)
