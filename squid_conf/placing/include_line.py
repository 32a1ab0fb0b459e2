"""Inkgate's one line in squid.conf: where it has to stand, and the file with it or without."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from inkgate.squid_conf.configuration import Line
from inkgate.squid_conf.word import SquidConfError, squid_word

MARK: Final = b"# inkgate squid install put this here: before every line that allows something."
_ACCESS: Final = ("http_access", "http_reply_access", "adaptation_access")


def with_include(data: bytes, lines: Sequence[Line], file: Path, fragment: Path) -> bytes:
    """squid.conf with inkgate's include where it has to stand, and nowhere else.

    Args:
        data: squid.conf without the include.
        lines: what Squid reads of it.
        file: squid.conf.
        fragment: the file with inkgate's lines.

    Raises:
        SquidConfError: there is no place where inkgate's lines would be safe.
    """
    number = first_access(lines, file)
    physical = data.split(b"\n")
    physical[number - 1 : number - 1] = [MARK, _include(fragment)]
    return b"\n".join(physical)


def without_include(data: bytes, fragment: Path) -> bytes:
    """squid.conf without the lines that `with_include` put there.

    A plain `include` of the fragment, which somebody wrote by hand, is taken out, too.
    """
    ours = re.compile(rb"\s*include\s+" + re.escape(str(fragment).encode()) + rb"\s*(?:#.*)?\r?")
    return b"\n".join(
        line for line in data.split(b"\n") if line != MARK and not ours.fullmatch(line)
    )


def first_access(lines: Sequence[Line], file: Path) -> int:
    """The line of squid.conf before which inkgate's lines have to stand.

    Lines that refuse may stay before it: what they refuse reaches no server.

    Raises:
        SquidConfError: without `http_access` Squid lets nobody in, and inkgate's line alone
            would let everybody in, since Squid's default is the opposite of the last line.
    """
    if not any(line.name == "http_access" for line in lines):
        raise SquidConfError(
            f"{file}: has no http_access line, so Squid lets nobody in; with inkgate's line alone "
            "it would let everybody in. Say first who may use the proxy, and end with "
            "`http_access deny all`"
        )
    return min(_anchor(_first_that_decides(lines, name), file) for name in _present(lines))


def _present(lines: Iterable[Line]) -> list[str]:
    names = {line.name for line in lines}
    return [name for name in _ACCESS if name in names]


def _first_that_decides(lines: Sequence[Line], directive: str) -> Line:
    """The first line by which a request may pass unasked.

    Where none allows, Squid's default does, which is the opposite of the last line: ours must
    not become the last.
    """
    found = [line for line in lines if line.name == directive]
    return next((line for line in found if "allow" in line.words[:2]), found[0])


def _anchor(line: Line, file: Path) -> int:
    number = line.anchor(file)
    assert number is not None  # noqa: S101 (every line is reached from squid.conf)
    return number


def _include(fragment: Path) -> bytes:
    return b"include " + squid_word(str(fragment)).encode()
