"""Which request targets a web server answers with a listed file, and how they are looked up."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from inkgate.rules.canonical import Refused, canonical_url, observed_url
from support.file_servers import delivered, serving
from support.request_targets import write_files


def given_files(server: str, asked: Sequence[bytes]) -> list[tuple[bytes, str]]:
    """Targets for which a server gave a listed file, with the canonical URL of that file.

    Args:
        server: a key of `SERVERS`.
        asked: targets, sent as they are.
    """
    with tempfile.TemporaryDirectory(prefix="inkgate-targets-") as folder:
        files, work = Path(folder) / "files", Path(folder) / "work"
        files.mkdir()
        work.mkdir()
        listed = {content: canonical_url(url).value for content, url in write_files(files).items()}
        with serving(server, files, work) as port:
            return [
                (target, listed[body])
                for target, body in zip(asked, delivered(port, asked), strict=True)
                if body in listed
            ]


def url_of(target: bytes) -> str:
    """The URL of a request to the server of the listed files."""
    return "http://files.example" + target.decode("utf-8", "surrogateescape")


def values(target: bytes) -> tuple[str, ...]:
    """The canonical values under which a request is looked up."""
    try:
        return observed_url(url_of(target))
    except Refused:
        return ()
