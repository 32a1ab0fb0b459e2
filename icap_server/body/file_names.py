"""What a file may be called: its Content-Disposition, and the end of its URL's path."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

# RFC 6266 with RFC 8187: filename*=charset'language'percent-encoded.
_EXTENDED: Final = re.compile(rb"filename\*\s*=\s*([A-Za-z0-9-]+)'[^']*'([!-:<-~]+)", re.IGNORECASE)
_PLAIN: Final = re.compile(
    rb"filename\s*=\s*(?:\"((?:[^\"\\]|\\.){0,1000})\"|([^\s;\"]{1,1000}))", re.IGNORECASE
)
_ESCAPED: Final = re.compile(r"\\(.)")
_MAX_NAME: Final = 1000


def file_names(uri: str, disposition: bytes) -> tuple[str, ...]:
    """Possible names, without folders, the likeliest first; none twice."""
    found = [*_from_disposition(disposition), _from_uri(uri)]
    names = (re.split(r"[/\\]", name)[-1].strip()[:_MAX_NAME] for name in found)
    return tuple(dict.fromkeys(name for name in names if name))


def _from_disposition(value: bytes) -> list[str]:
    names = []
    if found := _EXTENDED.search(value):
        charset = "latin-1" if found[1].lower() == b"iso-8859-1" else "utf-8"
        names.append(unquote_to_bytes(found[2]).decode(charset, "surrogateescape"))
    if found := _PLAIN.search(value):
        text = (found[1] or found[2] or b"").decode("utf-8", "surrogateescape")
        names.append(_ESCAPED.sub(r"\1", text))
    return names


def _from_uri(uri: str) -> str:
    path = re.sub(r"^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*", "", uri)
    last = re.split(r"[?#]", path, maxsplit=1)[0].rsplit("/", 1)[-1]
    return unquote_to_bytes(last).decode("utf-8", "surrogateescape")
