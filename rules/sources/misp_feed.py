"""MISP feeds: a folder or a web server with a manifest.json and one event a file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

import msgspec

from inkgate.config.errors import Unreadable
from inkgate.config.modes import make_folder
from inkgate.config.system_errors import remedy_of
from inkgate.config.whole_file import remove_unfinished, write_whole, writing_whole
from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.last_good import LastGood
from inkgate.rules.sources.readers.misp_event import read_event_file
from inkgate.rules.sources.readers.source_file import SourceFile
from inkgate.rules.sources.source import Origin, SourceContext, SourceType

if TYPE_CHECKING:
    from requests import Session

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
MAX_BYTES: Final = 256 << 20
_MANIFEST: Final = "manifest.json"
_MODE: Final = 0o600
_REMEDY: Final = "check the feed's address"


class FeedSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="feed"):
    """A MISP feed: a folder or https URL with a manifest.json. `timeout` in seconds."""

    location: str
    ca_file: str = ""
    timeout: Annotated[int, msgspec.Meta(ge=1)] = 60


class _Entry(msgspec.Struct):
    timestamp: str | int | None = 0


class Feed:
    """A MISP feed.

    Args:
        settings: where it is.
        folder: where relative paths of the settings begin.
        mirror: where events of a web server are kept.
        copies: keeps the last good copies of a folder's events.
    """

    origin: Origin = "file"

    def __init__(
        self, settings: FeedSettings, folder: Path, mirror: Path, copies: LastGood
    ) -> None:
        self._settings = settings
        self._base = folder
        self._mirror = mirror
        self._copies = copies

    def read(self, faults: list[Unreadable]) -> Iterator[Attribute]:
        """See `Source`."""
        if self._is_fetched:
            try:
                self._fetch(faults)
            except Unreadable as fault:
                faults.append(fault)
        yield from self._events(faults)

    def remembered(self, faults: list[Unreadable]) -> Iterator[Attribute]:
        """See `Source`."""
        if not self._is_fetched or (self._mirror / _MANIFEST).exists():
            yield from self._events(faults)

    @property
    def _is_fetched(self) -> bool:
        return self._settings.location.startswith(("https://", "http://"))

    def _events(self, faults: list[Unreadable]) -> Iterator[Attribute]:
        folder = self._mirror if self._is_fetched else self._base / self._settings.location
        try:
            manifest = _read_manifest(folder / _MANIFEST, faults)
        except Unreadable as fault:
            # A copy that was never made is a fault already: of the download.
            if not self._is_fetched or (folder / _MANIFEST).exists():
                faults.append(fault)
            manifest = None
        if manifest is None:
            # Without it nobody knows which events still count: all that are there do.
            names = sorted(p.stem for p in folder.glob("*.json") if _UUID.fullmatch(p.stem))
        else:
            names = sorted(manifest)
        for name in names:
            path = folder / f"{name}.json"
            # What could not be downloaded is a fault already.
            if path.exists() or not self._is_fetched:
                yield from self._copies.read(path, read_event_file, faults)

    def _fetch(self, faults: list[Unreadable]) -> None:
        """Bring the mirror up to date; an event that fails stays as it was."""
        make_folder(self._mirror, 0o700, parents=0o700)
        remove_unfinished(self._mirror)
        manifest = self._mirror / _MANIFEST
        with self._session() as session:
            data = b"".join(self._download(session, _MANIFEST))
            new = _entries(data, self._place(_MANIFEST), faults)
            old = _read_manifest(manifest, []) if manifest.exists() else {}
            for name, entry in new.items():
                path = self._mirror / f"{name}.json"
                if old.get(name) != entry or not path.exists():
                    try:
                        self._download_event(session, path)
                    except Unreadable as fault:
                        faults.append(fault)
                        # Another entry than the feed's: it is downloaded again next time.
                        new[name] = _Entry(None)
        # Last: an interrupted reading downloads again what it cannot be sure of.
        write_whole(manifest, msgspec.json.encode(new), _MODE)
        for path in self._mirror.glob("*.json"):
            if path.stem not in new and path != manifest:
                path.unlink()

    def _session(self) -> Session:
        # Imported here: only who has a feed on the web needs it.
        import requests  # noqa: PLC0415
        from requests.adapters import HTTPAdapter  # noqa: PLC0415
        from urllib3.util import Retry  # noqa: PLC0415

        retry = Retry(
            total=4,
            # A certificate does not get better by waiting.
            other=0,
            backoff_factor=0.5,
            status_forcelist=(429, 500, 502, 503, 504),
            # A feed could make us wait for a year.
            respect_retry_after_header=False,
        )
        session = requests.Session()
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retry))
        return session

    def _download_event(self, session: Session, target: Path) -> None:
        try:
            with writing_whole(target, _MODE) as file:
                file.writelines(self._download(session, target.name))
                file.flush()
                self._check(Path(file.name), target.name)
        except OSError as error:
            problem = f"cannot be kept ({error.strerror})"
            raise Unreadable(target, None, problem, remedy_of(error)) from None

    def _check(self, event: Path, name: str) -> None:
        try:
            for _ in read_event_file(SourceFile(event)):
                break
        except Unreadable as fault:
            raise self._unreadable(name, fault.problem) from None

    def _download(self, session: Session, name: str) -> Iterator[bytes]:
        """A file of the feed, in pieces."""
        from requests import RequestException  # noqa: PLC0415

        url = f"{self._settings.location.rstrip('/')}/{name}"
        ca_file = self._settings.ca_file
        # Given here, because a session's own is overruled by $REQUESTS_CA_BUNDLE.
        verify = str(self._base / ca_file) if ca_file else True
        try:
            with session.get(
                url, timeout=self._settings.timeout, stream=True, verify=verify
            ) as answer:
                answer.raise_for_status()
                yield from self._bounded(answer.iter_content(1 << 16), name)
        except (RequestException, OSError) as error:
            status = getattr(getattr(error, "response", None), "status_code", None)
            said = f"status {status}" if status else type(error).__name__
            raise self._unreadable(name, f"cannot be downloaded ({said})") from None

    def _bounded(self, chunks: Iterator[bytes], name: str) -> Iterator[bytes]:
        size = 0
        for chunk in chunks:
            size += len(chunk)
            if size > MAX_BYTES:
                raise self._unreadable(name, f"is larger than {MAX_BYTES >> 20} MiB")
            yield chunk

    def _unreadable(self, name: str, problem: str) -> Unreadable:
        return Unreadable(self._place(name), None, problem, _REMEDY)

    def _place(self, name: str) -> Path:
        # Without what the address may carry of a password.
        parts = urlsplit(self._settings.location)
        port = f":{parts.port}" if parts.port else ""
        return Path(f"{parts.hostname}{port}{parts.path}") / name


def _read_manifest(path: Path, faults: list[Unreadable]) -> dict[str, _Entry]:
    return _entries(SourceFile(path).read_all(), path, faults)


def _entries(data: bytes, path: Path, faults: list[Unreadable]) -> dict[str, _Entry]:
    try:
        manifest = msgspec.json.decode(data, type=dict[str, _Entry])
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise Unreadable(path, None, "is not a feed's manifest", _REMEDY) from None
    # A name becomes a path: nothing but UUIDs.
    events = {name: entry for name, entry in manifest.items() if _UUID.fullmatch(name)}
    if len(events) < len(manifest):
        problem = f"names {len(manifest) - len(events)} events by something that is no UUID"
        faults.append(Unreadable(path, None, problem, "tell the feed's owner"))
    return events


def _open(settings: FeedSettings, context: SourceContext) -> Feed:
    mirror = context.state_path(settings.location)
    return Feed(settings, context.folder, mirror, context.copies)


SOURCE: Final = SourceType(FeedSettings, _open)
