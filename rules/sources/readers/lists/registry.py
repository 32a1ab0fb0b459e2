"""The dialects of lists. A new one is a module beside this one and a line in `DIALECTS`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from inkgate.rules.canonical import MAX_VALUE_BYTES
from inkgate.rules.sources.readers.lists import adblock, dnsmasq, hosts, plain, rpz, unbound
from inkgate.rules.sources.readers.lists.dialect import EXCEPTION, REMARK, Dialect, Line, refused

# Plain comes last: it takes what no other dialect does.
DIALECTS: Final[tuple[Dialect, ...]] = (
    hosts.DIALECT,
    adblock.DIALECT,
    dnsmasq.DIALECT,
    unbound.DIALECT,
    rpz.DIALECT,
    plain.DIALECT,
)

# Lines of which dialects stand among those of another one.
_ALSO: Final = {
    "plain": (plain.DIALECT,),
    "hosts": (plain.DIALECT,),
    "adblock": (hosts.DIALECT, plain.DIALECT),
}
_ENOUGH: Final = 0.5
TOO_LONG: Final = f"longer than {MAX_VALUE_BYTES} bytes"


def dialect_of(lines: Iterable[str]) -> Dialect:
    """The dialect of a list, by its first lines: marked, or that of most of them."""
    seen = [text for line in lines if (text := line.strip())]
    for dialect in DIALECTS:
        if any(map(dialect.marks, seen)):
            return dialect
    for dialect in DIALECTS[:-1]:
        own = [_is_own(dialect, text) for text in seen if not text.startswith(dialect.remarks)]
        found = own.count(True)
        if found > (found + own.count(False)) * _ENOUGH:
            return dialect
    return plain.DIALECT


def parse_line(dialect: Dialect, line: str) -> Line:
    """What a line says in this dialect, or, if it is not of it, in that of plain lists."""
    text = line.strip("\ufeff \t\r\n\v\f")
    if text.startswith(dialect.remarks):
        return plain.remark(text) if "//" in dialect.remarks else REMARK
    # Of a longer one the end may be cut off, behind white space, too.
    if len(line) > MAX_VALUE_BYTES:
        return refused(TOO_LONG)
    return _value(dialect, text) if text else REMARK


def _value(dialect: Dialect, text: str) -> Line:
    if dialect is plain.DIALECT and " " not in text and "\t" not in text:
        return plain.parse(text)
    first = hosts.DIALECT if dialect is plain.DIALECT else dialect
    for own in (first, *_ALSO.get(dialect.name, ())):
        # The address of a hosts file is no indicator: it may be that of this very machine.
        if own is plain.DIALECT and dialect is hosts.DIALECT and hosts.begins_with_address(text):
            return refused(hosts.ANSWERED)
        if (found := own.parse(text)) is not None:
            return found
    return refused(f"no line of a list of format {dialect.name}")


def _is_own(dialect: Dialect, text: str) -> bool | None:
    """Whether a line is of a dialect; None if that cannot be told by it.

    What a dialect skips lists nothing in it, and may be a value in another one.
    """
    line = dialect.parse(text)
    if line is not None and line.skipped and line is not EXCEPTION:
        return None
    return line is not None and not line.refused
