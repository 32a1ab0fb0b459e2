"""A mirror of a MISP feed on a web server, several events at a time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

import msgspec

from inkgate.config.errors import Unreadable
from inkgate.config.modes import make_folder, sync_folder
from inkgate.config.system_errors import remedy_of
from inkgate.config.whole_file import remove_unfinished, writing_whole
from inkgate.misp.address import redirect_target
from inkgate.remote.deadline import Deadline
from inkgate.remote.errors import OutOfTimeError, RedirectRefusedError, RemoteError
from inkgate.rules.sources import feed_manifest
from inkgate.rules.sources.feed_manifest import (
    MANIFEST,
    MODE,
    REMEDY,
    Entry,
    is_event_name,
    parse_manifest,
    read_event,
    read_manifest,
    write_manifest,
)
from inkgate.rules.sources.losses import check_loss
from inkgate.rules.sources.proxies import Proxy

if TYPE_CHECKING:
    from inkgate.remote.web import WebClient

MAX_BYTES: Final = 256 << 20
_SCHEMES: Final = ("https://", "http://")
# So many are asked for before the first of them is there, for each connection.
_AHEAD: Final = 4
_MARK: Final = b"\xef\xbb\xbf"
_TOLD: Final = 10
_NO_TIME: Final = "its last good reading counts; the next refresh goes on where this one ended"


class FeedSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="feed"):
    """A MISP feed: a folder or https URL with a manifest.json. `timeout` in seconds."""

    location: str
    ca_file: str = ""
    timeout: Annotated[int, msgspec.Meta(ge=1)] = 60
    connections: Annotated[int, msgspec.Meta(ge=1, le=64)] = 8
    proxy: Proxy = ""

    @property
    def is_fetched(self) -> bool:
        """Whether it lies on a web server."""
        return self.location.startswith(_SCHEMES)

    def place(self, name: str) -> Path:
        """A file of the feed, without what the address may carry of a password."""
        parts = urlsplit(self.location)
        port = f":{parts.port}" if parts.port else ""
        return Path(f"{parts.hostname}{port}{parts.path}") / name


class FeedMirror:
    """A feed's manifest and events, as they were last downloaded whole and sound.

    Args:
        folder: where they are kept.
        settings: where the feed is.
        base: where relative paths of the settings begin.
        seconds: how long it may take in all.
        may_be_empty: whether the feed may lose most of its events at once.
    """

    def __init__(
        self,
        folder: Path,
        settings: FeedSettings,
        base: Path,
        *,
        seconds: float,
        may_be_empty: bool,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._base = base
        self._seconds = seconds
        self._may_be_empty = may_be_empty
        # One event at a time: a large one takes much memory while it is looked at.
        self._checking = threading.Lock()

    def update(self, faults: list[Unreadable]) -> None:
        """Bring the mirror up to date; an event that fails stays as it was.

        Raises:
            Unreadable: there is no manifest, or none that can be believed; nothing is
                changed.
        """
        make_folder(self._folder, 0o700, parents=0o700)
        remove_unfinished(self._folder)
        with Deadline(self._seconds) as deadline, self._client(deadline) as client:
            place = self._settings.place(MANIFEST)
            data = b"".join(self._download(client, MANIFEST, feed_manifest.MAX_BYTES))
            new = parse_manifest(data, place, faults)
            had = self._names()
            check_loss(place, len(had), len(new), may_be_empty=self._may_be_empty)
            old = read_manifest(self._folder, []) if (self._folder / MANIFEST).exists() else {}
            changed = [n for n, entry in new.items() if n not in had or old.get(n) != entry]
            # Until it is there, another entry than the feed's: it is downloaded next time.
            sure = new | dict.fromkeys(changed, Entry(None))
            try:
                self._events(client, deadline, {n: new[n] for n in changed}, sure, faults)
            finally:
                self._finish(place, had, old, sure, faults)

    def _events(
        self,
        client: WebClient,
        deadline: Deadline,
        changed: dict[str, Entry],
        sure: dict[str, Entry],
        faults: list[Unreadable],
    ) -> None:
        """Download events, and note those that are there as sure."""
        failed: list[Unreadable] = []
        with ThreadPoolExecutor(self._settings.connections) as threads:
            try:
                for name, fault in self._in_order(threads, client, deadline, changed):
                    if fault is None:
                        sure[name] = changed[name]
                    else:
                        failed.append(fault)
            except BaseException:
                # Ctrl-C, for one: who waits for a server must not go on waiting.
                deadline.break_off()
                threads.shutdown(wait=False, cancel_futures=True)
                raise
            finally:
                faults += shortened(self._settings.place(""), failed)

    def _in_order(
        self,
        threads: ThreadPoolExecutor,
        client: WebClient,
        deadline: Deadline,
        changed: dict[str, Entry],
    ) -> Iterator[tuple[str, Unreadable | None]]:
        """Each event with what was wrong with it, in the order of the manifest."""
        names = iter(changed)
        under_way: deque[tuple[str, Future[Unreadable | None]]] = deque()
        for done in range(len(changed)):
            if deadline.is_over:
                problem = f"{len(changed) - done} events were not there within {self._seconds:g} s"
                for _, future in under_way:
                    future.cancel()
                yield "", Unreadable(self._settings.place(""), None, problem, _NO_TIME)
                return
            for name in islice(names, self._settings.connections * _AHEAD - len(under_way)):
                under_way.append((name, threads.submit(self._fault_of, client, name)))
            name, future = under_way.popleft()
            yield name, future.result()

    def _fault_of(self, client: WebClient, name: str) -> Unreadable | None:
        """Download an event; what was wrong with it."""
        target = self._folder / f"{name}.json"
        try:
            with writing_whole(target, MODE, flush_folder=False) as file:
                file.writelines(self._download(client, target.name, MAX_BYTES))
                file.flush()
                self._check(Path(file.name), target)
        except Unreadable as fault:
            return fault
        except OSError as error:
            problem = f"cannot be kept ({error.strerror})"
            return Unreadable(target, None, problem, remedy_of(error))
        return None

    def _check(self, event: Path, target: Path) -> None:
        """See that an event can be read, before it takes the place of an older one.

        Raises:
            Unreadable: it cannot, or has no attributes any more.
        """
        try:
            with self._checking:
                data = event.read_bytes()
                if not data.removeprefix(_MARK).lstrip().startswith(b"{"):
                    raise self._unreadable(target.name, "is not a MISP event")
                if _has_attributes(event) or self._may_be_empty or not target.exists():
                    return
                lost = _has_attributes(target)
        except Unreadable as fault:
            raise self._unreadable(target.name, fault.problem) from None
        if lost:
            raise self._unreadable(target.name, "has no attributes and had some before")

    def _finish(
        self,
        place: Path,
        had: set[str],
        old: dict[str, Entry],
        sure: dict[str, Entry],
        faults: list[Unreadable],
    ) -> None:
        """Forget the events that the feed no longer has, and note what is sure."""
        sync_folder(self._folder)
        has = self._names() & sure.keys()
        try:
            check_loss(place, len(had), len(has), may_be_empty=self._may_be_empty)
        except Unreadable as fault:
            faults.append(fault)
            # It names others now, and most of those cannot be had.
            sure = {**dict.fromkeys(had, Entry(None)), **old, **sure}
        # Last: an interrupted reading downloads again what it cannot be sure of.
        write_manifest(self._folder, sure)
        for name in self._names() - sure.keys():
            (self._folder / f"{name}.json").unlink()

    def _names(self) -> set[str]:
        """The events that are there."""
        return {p.stem for p in self._folder.glob("*.json") if is_event_name(p.stem)}

    def _client(self, deadline: Deadline) -> WebClient:
        # Imported here: only who has a feed on the web needs it.
        from inkgate.remote.web import WebClient  # noqa: PLC0415

        ca_file = self._settings.ca_file
        return WebClient(
            deadline,
            timeout=self._settings.timeout,
            verify=str(self._base / ca_file) if ca_file else True,
            proxy=self._settings.proxy,
            connections=self._settings.connections,
        )

    def _download(self, client: WebClient, name: str, limit: int) -> Iterator[bytes]:
        """A file of the feed, in pieces."""
        url = f"{self._settings.location.rstrip('/')}/{name}"
        try:
            yield from client.download(url, limit)
        except OutOfTimeError as error:
            raise Unreadable(self._settings.place(name), None, error.problem, _NO_TIME) from None
        except RedirectRefusedError as error:
            target = redirect_target(error.url, error.location)
            problem = f"redirects to {target}, where inkgate does not follow"
            raise self._unreadable(name, problem) from None
        except RemoteError as error:
            raise self._unreadable(name, error.problem) from None

    def _unreadable(self, name: str, problem: str) -> Unreadable:
        return Unreadable(self._settings.place(name), None, problem, REMEDY)


def _has_attributes(event: Path) -> bool:
    return any(not (a.refused or a.skipped) for a in read_event(event))


def shortened(place: Path, faults: list[Unreadable]) -> list[Unreadable]:
    """The first faults, and how many more there are: a feed of others could have a million."""
    if len(faults) <= _TOLD:
        return faults
    more = Unreadable(place, None, f"{len(faults) - _TOLD} more events failed", REMEDY)
    return [*faults[:_TOLD], more]
