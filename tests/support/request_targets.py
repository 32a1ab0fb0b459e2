"""Request targets that may lead to files, half of them made of the targets of listed ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

FILES: Final = (
    "x.exe",
    "foo/evil.exe",
    "foo/bar/evil.exe",
    "a b/c d.bin",
    "deep/er/index.html",
    "üml/aut.exe",
    "semi;colon.exe",
    "par;am/x.exe",
    "per%cent.exe",
    "per%41cent/y.bin",
    "back\\slash.exe",
    "q?uestion.exe",
    "dots../..x/e.exe",
    "plus+and&so=on.exe",
)
"""Files that are there, below the folder."""

# Folders that are there, so that a server finds a way through them.
_FOLDERS: Final = ("foo", "foo/bar", "a b", "deep", "par;am")
_PIECES: Final = (
    "/", "//", "/./", "/../", "/..", "/.", "\\", "/..;/", ";", ";a=b", "?", "?a=b", "%2f", "%2F",
    "%5c", "%252f", "%2e", "%2e%2e", "/%2e%2e/", "/.%2e/", "%00", "%20", ".", "#x", "%", "%%32%66",
    "index.html", "%3b", "%3f", "%23", "&", "+", ":", "@", "%c0%af", "*", "~", "x", "foo", "bar",
    "evil.exe", "/foo//../", "/foo/bar//../../", "/a\\b/../", "/a%2fb/../", "/a%252fb/../",
    "/./..//", "/x/%2e%2e/", "/foo%2f..%2f", "/..%2f",
)  # fmt: skip


def write_files(folder: Path) -> dict[bytes, str]:
    """Make the files; each file's URL as a publisher would list it, by the file's content."""
    found = {}
    for number, name in enumerate(FILES):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = b"the file with number %03d\n" % number
        path.write_bytes(content)
        found[content] = f"http://files.example/{quote(name)}"
    return found


def targets(draw: random.Random) -> Iterator[bytes]:
    """Endless targets: those of files and of nothing in turns, each changed some times."""
    while True:
        yield _target(draw, "/" + quote(draw.choice(FILES)))
        yield _target(draw, "/" + "".join(draw.choices(_PIECES, k=draw.randint(0, 4))))


def _target(draw: random.Random, text: str) -> bytes:
    for _ in range(draw.choice((1, 1, 1, 2, 2, 3, 4, 6))):
        text = draw.choice(_CHANGES)(draw, text)
    # What would be another message, or none of HTTP, is no target.
    data = "".join(text.split()).encode("utf-8", "surrogateescape")
    return data if data.startswith(b"/") else b"/" + data


def _inserted(draw: random.Random, text: str) -> str:
    at = draw.randint(0, len(text))
    return text[:at] + draw.choice(_PIECES) + text[at:]


def _at_a_slash(draw: random.Random, text: str) -> str:
    places = [at for at, sign in enumerate(text) if sign == "/"] or [0]
    at = draw.choice(places)
    return text[:at] + draw.choice(_PIECES) + text[at:]


def _through_a_folder(draw: random.Random, text: str) -> str:
    folder = draw.choice(_FOLDERS)
    up = "/.." * (folder.count("/") + draw.choice((1, 1, 1, 2)))
    return f"/{quote(folder)}{draw.choice(('', '', '/', '//', chr(92)))}{up}{text}"


def _escaped(draw: random.Random, text: str) -> str:
    at = draw.randrange(len(text))
    sign = text[at].encode("utf-8", "surrogateescape")
    made = "".join(f"%{byte:02x}" for byte in sign)
    for _ in range(draw.choice((0, 0, 0, 1, 2))):
        made = made.replace("%", "%25", 1)
    return text[:at] + made + text[at + 1 :]


def _without(draw: random.Random, text: str) -> str:
    at = draw.randrange(len(text))
    return text[:at] + text[at + 1 :] or "/"


def _other_slash(draw: random.Random, text: str) -> str:
    return text.replace("/", draw.choice(("\\", "//", "%2f", "/./")), draw.choice((1, 9)))


def _appended(draw: random.Random, text: str) -> str:
    return text + draw.choice(_PIECES)


def _other_case(_: random.Random, text: str) -> str:
    return text.swapcase()


_CHANGES: Final[tuple[Callable[[random.Random, str], str], ...]] = (
    _inserted, _at_a_slash, _through_a_folder, _escaped, _escaped, _without, _other_slash,
    _appended, _other_case,
)  # fmt: skip
