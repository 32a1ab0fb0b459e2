"""The back-end of several proxies: a Redis stream between their files and the reporter's."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from inkgate.sightings.journal.backends.backend import JournalBackend, Relay, Step
from inkgate.sightings.journal.journal import Journal
from inkgate.sightings.settings import SightingsSettings

if TYPE_CHECKING:
    from inkgate.sightings.journal.backends.redis_stream import Stream


@contextlib.contextmanager
def _drain(
    config: Path,
    settings: SightingsSettings,
    own: Path,
    before: Callable[[], None],
    again: bool,
) -> Iterator[Step]:
    # Imported here, as below: the helper and the ICAP server import this table, and need
    # neither Redis nor, before the first match, SQLite.
    from inkgate.sightings.journal.backends.relay import Drain  # noqa: PLC0415

    store = _stream(config, settings)
    before()
    with Drain(own, store, again=again) as drain:
        yield drain.step


def _collect(config: Path, settings: SightingsSettings, journal: Journal) -> Step:
    from inkgate.sightings.journal.backends.relay import Collect  # noqa: PLC0415

    return Collect(_stream(config, settings), journal).step


def _stream(config: Path, settings: SightingsSettings) -> Stream:
    from inkgate.sightings.journal.backends.redis_stream import Stream  # noqa: PLC0415

    folder, consumer = config.absolute().parent, settings.node_name()
    return Stream(settings.journal, settings.redis, folder, consumer)


REDIS_STREAM: Final = JournalBackend(
    name="a Redis stream",
    schemes=("redis", "rediss"),
    own_file=lambda settings: settings.spool,
    reported_file=lambda settings: settings.collected,
    relay=Relay(_drain, _collect),
)
