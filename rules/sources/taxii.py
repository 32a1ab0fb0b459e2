"""A collection of a TAXII 2.1 server, mirrored object by object.

A server tells what was added after a moment, never what it removed, so everything is read
again every `full_refresh_hours`. The mirror keeps objects and not what they list: what has
expired since is seen without asking the server.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from inkgate.config.errors import Unreadable
from inkgate.config.extras import remedy
from inkgate.config.whole_file import naming
from inkgate.misp.address import place_of
from inkgate.remote.deadline import Deadline
from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.losses import check_loss
from inkgate.rules.sources.readers.stix_objects import attributes_of, context_of, items_of
from inkgate.rules.sources.source import Origin, SourceContext, SourceType
from inkgate.rules.sources.taxii_api import TaxiiClient, TaxiiSettings
from inkgate.rules.sources.taxii_mirror import TaxiiMirror

_LONGER: Final = "its last good reading counts; raise [rules] source_seconds if it needs longer"


class Taxii:
    """A collection of a TAXII 2.1 server.

    Args:
        settings: which one.
        context: what it is opened with.
    """

    origin: Origin = "file"

    def __init__(self, settings: TaxiiSettings, context: SourceContext) -> None:
        self._settings = settings
        self._context = context
        # Two collections of one server are two mirrors.
        self._path = context.state_path(f"{settings.url} {settings.collection}", ".taxii.db")

    def read(self, faults: list[Unreadable]) -> Iterator[Attribute]:
        """See `Source`."""
        with naming(self._path), closing(self._opened()) as mirror:
            try:
                found = self._updated(mirror, faults)
                mirror.commit()
            except Unreadable as fault:
                mirror.undo()
                faults.append(fault)
                # It was read in time once, so it is now, without a deadline.
                found = self._listed(mirror, faults)
        yield from found

    def remembered(self, faults: list[Unreadable]) -> Iterator[Attribute]:
        """See `Source`."""
        with naming(self._path), closing(self._opened()) as mirror:
            found = self._listed(mirror, faults)
        yield from found

    def _opened(self) -> TaxiiMirror:
        return TaxiiMirror(self._path, _fingerprint(self._settings))

    def _updated(self, mirror: TaxiiMirror, faults: list[Unreadable]) -> list[Attribute]:
        """Ask the server, and list what it holds now: both before anything is kept."""
        with (
            Deadline(self._context.seconds) as deadline,
            closing(TaxiiClient(self._settings, self._context.folder, deadline)) as client,
        ):
            now = int(time.time())
            url = client.objects_url()
            had = mirror.count()
            # Without the server's moment nobody knows what is new.
            is_full = self._is_full_due(mirror, now) or not mirror.added_last
            if is_full:
                mirror.clear()
            for page in client.pages(url, mirror.added_last):
                mirror.put(page.objects)
                mirror.added_last = max(mirror.added_last, page.added_last)
            if is_full:
                check_loss(
                    client.place, had, mirror.count(), may_be_empty=self._context.may_be_empty
                )
                mirror.full_at = now
            return self._listed(mirror, faults, deadline)

    def _is_full_due(self, mirror: TaxiiMirror, now: int) -> bool:
        age = now - mirror.full_at
        return self._context.full or not 0 <= age < self._settings.full_refresh_hours * 3600

    def _listed(
        self, mirror: TaxiiMirror, faults: list[Unreadable], deadline: Deadline | None = None
    ) -> list[Attribute]:
        name = place_of(self._settings.url)
        items = items_of(mirror.objects(), name)
        found = []
        try:
            for attribute in attributes_of(items, context_of(items), datetime.now(UTC)):
                if deadline and deadline.is_over:
                    problem = f"cannot be read in full within {deadline.seconds:g} s"
                    raise Unreadable(Path(name), None, problem, _LONGER)
                found.append(attribute)
        except ImportError:
            faults.append(Unreadable(Path(name), None, "needs stix2-patterns", remedy("stix")))
        return found


def _fingerprint(settings: TaxiiSettings) -> str:
    """What decides on a mirror's content: with other settings it begins anew."""
    return msgspec.json.encode([1, settings.url, settings.collection, settings.user]).decode()


SOURCE: Final = SourceType(TaxiiSettings, Taxii)
