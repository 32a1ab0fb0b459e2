"""Lists of lines, as Squid operators and feeds without MISP keep them, in any dialect."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from inkgate.rules.canonical import MAX_VALUE_BYTES
from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.readers.file_format import FileFormat
from inkgate.rules.sources.readers.lists.dialect import REMARK, Line, refused
from inkgate.rules.sources.readers.lists.plain import begins_with_text, remark, typed_line
from inkgate.rules.sources.readers.lists.registry import (
    DIALECTS,
    TOO_LONG,
    dialect_of,
    parse_line,
)
from inkgate.rules.sources.readers.source_file import HEAD_BYTES, SourceFile

_SUFFIXES: Final = (".txt", ".list", ".lst", ".hosts", ".dstdomain", ".netset", ".ipset", ".rpz",
                    ".zone", ".conf", ".urls", ".domains")  # fmt: skip
# Files of squidGuard's lists, which are folders (https://dsi.ut-capitole.fr/blacklists).
_NAMES: Final = ("domains", "urls")
_BY_NAME: Final = {dialect.name: dialect for dialect in DIALECTS}
_REMARKS: Final = ("#", ";", "//", "!")


def read_list(file: SourceFile, misp_type: str = "", dialect: str = "") -> Iterator[Attribute]:
    """What the lines of a list say, each at least once.

    Args:
        misp_type: the type of every line. Without it each is understood as its dialect has
            it, and what cannot be understood is an attribute that is refused.
        dialect: its name; found out by the first lines if it is empty.

    Raises:
        Unreadable: it is damaged; then not one line was given.
    """
    if file.is_packed or file.encoding:
        file.check_whole()
    chosen = (_BY_NAME[dialect] if dialect else dialect_of(_first_lines(file))).for_file()
    for number, text in enumerate(file.lines(), 1):
        line = _typed(text, misp_type) if misp_type else parse_line(chosen, text)
        yield from _attributes(line, file.name, f"{file.name}:{number}")


def _typed(line: str, misp_type: str) -> Line:
    text = line.strip("\ufeff \t\r\n\v\f")
    if _is_remark(text, misp_type):
        return remark(text)
    if len(line) > MAX_VALUE_BYTES:
        return refused(TOO_LONG)
    return typed_line(misp_type, text) if text else REMARK


def _is_remark(text: str, misp_type: str) -> bool:
    # A file's name may begin with such a sign: ransom notes are called `#README#.txt`.
    if begins_with_text(misp_type):
        return text.startswith("#") and not text.split(maxsplit=1)[0].strip("#")
    return text.startswith(_REMARKS)


def _attributes(line: Line, name: str, place: str) -> Iterator[Attribute]:
    if not line.values:
        yield Attribute(
            type="", value="", uuid="", to_ids=True, source=name, place=place,
            refused=line.refused, skipped=line.skipped,
        )  # fmt: skip
        return
    for number, (misp_type, value) in enumerate(line.values):
        yield Attribute(
            type=misp_type, value=value, uuid="", to_ids=True, source=name, place=place,
            is_more=number > 0,
        )  # fmt: skip


def _first_lines(file: SourceFile) -> list[str]:
    lines = file.beginning.splitlines()
    # The last one may be cut off.
    return lines[:-1] if len(lines) > 1 and len(file.head) == HEAD_BYTES else lines


def _is_anything(_: SourceFile) -> bool:
    return True


FORMAT: Final = FileFormat("list", _SUFFIXES, _is_anything, read_list, _NAMES)
