"""A back-end of the journal as the table in registry.py has it.

Whatever `journal` names, a proxy appends to a SQLite file of its own: whoever answers a
request waits for no server. A back-end says which file that is, which file is reported,
and what moves records from the one to the other.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, NamedTuple

from inkgate.sightings.journal.journal import Journal
from inkgate.sightings.settings import SightingsSettings

DRAINED: Final = "drained"
"""The name of the position up to which a proxy's own file was handed over."""

Step = Callable[[], int]
"""Does some of the work there is; returns how much, 0 if there was none.

Raises `StoreAwayError`, `StoreRefusedError` or `JournalError`; what is not done is left.
"""


class StoreAwayError(Exception):
    """What proxies share does not answer, or not yet. The text holds no secret."""


class StoreRefusedError(Exception):
    """What proxies share does not accept the user, or does not let it do this."""


class Relay(NamedTuple):
    """What moves records through something that several proxies share.

    Attributes:
        drain: from a proxy's own file; takes the settings file, its section and that
            file, and gives the step in a `with`.
        collect: into the reporter's file; takes the settings file, its section and the
            journal there.
    """

    drain: Callable[[Path, SightingsSettings, Path], AbstractContextManager[Step]]
    collect: Callable[[Path, SightingsSettings, Journal], Step]


class JournalBackend(NamedTuple):
    """What the setting `journal` can name.

    Attributes:
        name: for people, with its article.
        schemes: those of its URLs; none if it is named by a path.
        own_file: the setting with the file that this proxy appends to, which `list` and
            `show` read; empty if nothing is recorded.
        reported_file: the setting with the file that is reported from here, which
            `status` and `list` read first.
        relay: what moves records from own files to the one that is reported; None if
            they are the same file.
    """

    name: str
    schemes: tuple[str, ...]
    own_file: Callable[[SightingsSettings], str]
    reported_file: Callable[[SightingsSettings], str]
    relay: Relay | None
