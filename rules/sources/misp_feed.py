"""MISP feeds: a folder or a web server with a manifest.json and one event a file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from rules.sources.attribute import Attribute
from rules.sources.last_good import LastGood
from rules.sources.misp_event import read_event_file, read_limited
from rules.sources.settings import FeedSettings
from rules.sources.source import Origin
from rules.sources.unreadable import Unreadable

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_MAX_BYTES: Final = 256 << 20
_REMEDY: Final = "check the feed's address"


class _Entry(msgspec.Struct):
    timestamp: str | int = 0


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
        location = self._settings.location
        if location.startswith(("https://", "http://")):
            folder = self._mirror
            try:
                self._fetch()
            except Unreadable as fault:
                faults.append(fault)
        else:
            folder = self._base / location
        try:
            manifest = _manifest(folder / "manifest.json")
        except Unreadable as fault:
            faults.append(fault)
            manifest = None
        if manifest is None:
            # Without it nobody knows which events still count: all that are there do.
            names = sorted(p.stem for p in folder.glob("*.json") if _UUID.fullmatch(p.stem))
        else:
            names = sorted(manifest)
        for name in names:
            yield from self._copies.read(folder / f"{name}.json", read_event_file, faults)

    def _fetch(self) -> None:
        # Imported here: only who has a feed on the web needs it.
        import requests  # noqa: PLC0415
        from requests.adapters import HTTPAdapter  # noqa: PLC0415
        from urllib3.util import Retry  # noqa: PLC0415

        self._mirror.mkdir(mode=0o700, parents=True, exist_ok=True)
        retry = Retry(total=4, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503, 504))
        with requests.Session() as session:
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(max_retries=retry))
            session.verify = (
                str(self._base / self._settings.ca_file) if (self._settings.ca_file) else True
            )
            old_path, new_path = self._mirror / "manifest.json", self._mirror / ".manifest.new"
            self._download(session, "manifest.json", new_path)
            new = _manifest(new_path)
            old = _manifest(old_path) if old_path.exists() else {}
            for name, entry in new.items():
                path = self._mirror / f"{name}.json"
                if not path.exists() or name not in old or old[name] != entry:
                    self._download(session, f"{name}.json", path)
            # Last: an interrupted reading downloads again what it cannot be sure of.
            new_path.replace(old_path)
        for path in self._mirror.glob("*.json"):
            if path.stem not in new and path.name != old_path.name:
                path.unlink()

    def _download(self, session: object, name: str, target: Path) -> None:
        import requests  # noqa: PLC0415

        assert isinstance(session, requests.Session)  # noqa: S101 (narrows the type)
        url = f"{self._settings.location.rstrip('/')}/{name}"
        temporary = target.with_name(f".{target.name}.part")
        try:
            with session.get(url, timeout=self._settings.timeout, stream=True) as answer:
                answer.raise_for_status()
                size = 0
                with temporary.open("wb") as file:
                    for chunk in answer.iter_content(1 << 16):
                        size += len(chunk)
                        if size > _MAX_BYTES:
                            raise self._unreadable(name, "is larger than 256 MiB")
                        file.write(chunk)
        except requests.RequestException as error:
            status = getattr(error.response, "status_code", None)
            said = f"status {status}" if status else type(error).__name__
            raise self._unreadable(name, f"cannot be downloaded ({said})") from None
        temporary.chmod(0o600)
        temporary.replace(target)

    def _unreadable(self, name: str, problem: str) -> Unreadable:
        # Without what the address may carry of a password.
        parts = urlsplit(self._settings.location)
        place = Path(f"{parts.hostname}{parts.path}") / name
        return Unreadable(place, None, problem, _REMEDY)


def _manifest(path: Path) -> dict[str, _Entry]:
    data = read_limited(path)
    try:
        manifest = msgspec.json.decode(data, type=dict[str, _Entry])
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise Unreadable(path, None, "is not a feed's manifest", _REMEDY) from None
    # A name becomes a path: nothing but UUIDs.
    return {name: entry for name, entry in manifest.items() if _UUID.fullmatch(name)}
