"""Section `[sightings]` of inkgate.toml."""

from __future__ import annotations

import msgspec


class SightingsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where matches are recorded.

    Attributes:
        journal: path of the SQLite journal.
        node: this proxy's name in the records; empty means the host's name.
    """

    journal: str = "/var/lib/inkgate/run/sightings.db"
    node: str = ""
