"""A back-end of the journal as the table in registry.py has it.

With every back-end a proxy appends to a SQLite file of its own, so that no answer waits
for a server. A back-end defines which file that is, which file is reported, and how
records get from the one to the other.
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
    """The store that proxies share does not answer. The text contains no secret."""


class StoreRefusedError(Exception):
    """The store that proxies share refuses the user or the command."""


class Relay(NamedTuple):
    """How records get through a store that several proxies share.

    Attributes:
        drain: from a proxy's own file; takes the settings file, its section, that file,
            what is to be called before it is opened, and whether all that is still in it goes
            once more, and gives the step in a `with`.
        collect: into the reporter's file; takes the settings file, its section and the
            journal there.
    """

    drain: Callable[
        [Path, SightingsSettings, Path, Callable[[], None], bool], AbstractContextManager[Step]
    ]
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
