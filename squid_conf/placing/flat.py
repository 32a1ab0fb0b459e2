"""squid.conf with all its includes in one file, for Squid to parse before anything changes.

Squid understands `#line NUMBER FILE`, so its complaints name the real files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from inkgate.squid_conf.configuration import MAX_DEPTH, Instead, included_files, text_of
from inkgate.squid_conf.word import SquidConfError

_INCLUDE: Final = re.compile(r"\s*include\s+([^#]*)(?:#.*)?")


def flattened(file: Path, instead: Instead) -> bytes:
    """All lines in Squid's order.

    Args:
        file: squid.conf.
        instead: what files are to hold.

    Raises:
        SquidConfError: an include leads to nothing, or they go too deep.
    """
    return "".join(_lines(file, instead, 0)).encode("utf-8", "surrogateescape")


def _lines(file: Path, instead: Instead, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        raise SquidConfError(f"{file}: includes are more than {MAX_DEPTH} deep; take one out")
    yield f'#line 1 "{file}"\n'
    for number, line in enumerate(text_of(file, instead).split("\n"), start=1):
        found = _INCLUDE.fullmatch(line.rstrip("\r"))
        if found is None:
            yield f"{line}\n"
            continue
        patterns = [word.strip('"') for word in found[1].split()]
        for name in included_files(patterns, f"{file}:{number}", instead):
            yield from _lines(name, instead, depth + 1)
        yield f'#line {number + 1} "{file}"\n'
