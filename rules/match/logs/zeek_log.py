"""Zeek's tab-separated logs: http, dns, ssl, conn, files (Zeek manual, ASCII writer)."""

from __future__ import annotations

import re
from typing import Final

from inkgate.rules.match.logs.clean_log_parts import CleanLogParts
from inkgate.rules.match.logs.entry import MAX_LINE, Entry
from inkgate.rules.match.logs.fields import MAX_FIELDS, entry_of
from inkgate.rules.match.logs.log_format import LogFormat
from inkgate.rules.match.logs.reader import NumberedEntries

FIELDS: Final = "#fields\t"
_ABSENT: Final = frozenset(("-", "(empty)"))
_ESCAPE: Final = re.compile(rb"\\x([0-9a-fA-F]{2})")
# Columns of Zeek's types `set` and `vector`. Their separator is a comma by default.
_SETS: Final = frozenset(
    ("answers", "tx_hosts", "rx_hosts", "analyzers", "cert_chain_fps", "resp_fuids")
)
_MAX_SET: Final = 64


class ZeekLog:
    """Reads lines of a log whose columns a `#fields` line names.

    A further `#fields` line in the text renames them: logs are concatenated.

    Args:
        header: the `#fields` line before the text; empty if there was none yet.
    """

    def __init__(self, header: str) -> None:
        self._columns = columns(header)

    def entry(self, line: str) -> Entry | None:
        """What one line shows; nothing for a comment."""
        line = line[:MAX_LINE].rstrip("\r\n")
        if line.startswith("#"):
            if line.startswith(FIELDS):
                self._columns = columns(line)
            return Entry()
        return self._entry(line)

    def entries_to_look_up(self, text: str, clean: CleanLogParts) -> NumberedEntries:  # noqa: ARG002 (see `Reader`)
        """Entries of all lines."""
        for number, line in enumerate(text.split("\n")):
            if line:
                entry = self.entry(line)
                if entry is None or any(entry):
                    yield number, entry

    def _entry(self, line: str) -> Entry | None:
        cells = line.split("\t", len(self._columns))
        if not self._columns or len(cells) != len(self._columns):
            return None
        shown: dict[str, str | list[str]] = {
            name: _value(name, cell)
            for name, cell in zip(self._columns, cells, strict=True)
            if cell not in _ABSENT
        }
        return entry_of(shown)


def columns(header: str) -> tuple[str, ...]:
    """The names in a `#fields` line."""
    names = header.rstrip("\r\n").split("\t", MAX_FIELDS + 1)
    return tuple(names[1 : MAX_FIELDS + 1]) if header.startswith(FIELDS) else ()


def last_header(text: bytes, before: bytes) -> bytes:
    """The `#fields` line that counts after a text; `before` is the one that counts before it."""
    mark = FIELDS.encode()
    start = text.rfind(b"\n" + mark) + 1
    if start == 0 and not text.startswith(mark):
        return before
    return text[start:].partition(b"\n")[0]


def _value(name: str, cell: str) -> str | list[str]:
    if name in _SETS:
        return [_plain(part) for part in cell.split(",", _MAX_SET)[:_MAX_SET]]
    return _plain(cell)


def _plain(cell: str) -> str:
    if "\\x" not in cell:
        return cell
    # Bytes, which are UTF-8 in most logs.
    data = cell.encode("utf-8", "surrogateescape")
    data = _ESCAPE.sub(lambda found: bytes.fromhex(found[1].decode()), data)
    return data.decode("utf-8", "surrogateescape")


def _is_line(line: str) -> bool:
    return line.startswith(("#separator", FIELDS))


ZEEK: Final = LogFormat("zeek", _is_line, lambda _name, header: ZeekLog(header), last_header)
