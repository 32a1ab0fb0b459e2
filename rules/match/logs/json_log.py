"""Logs of one JSON object a line: Zeek's, Suricata's, Logstash's, or with MISP's types as names."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from inkgate.rules.match.logs.clean_log_parts import CleanLogParts
from inkgate.rules.match.logs.entry import MAX_LINE, Entry
from inkgate.rules.match.logs.fields import MAX_FIELDS, entry_of
from inkgate.rules.match.logs.log_format import LogFormat, no_header
from inkgate.rules.match.logs.reader import NumberedEntries
from inkgate.rules.match.logs.squid_log import SquidLog

_MAX_DEPTH: Final = 4
_MAX_LIST: Final = 64
# Fields that hold a whole line of another log: Logstash sends lines like this if no
# filter has split them.
_WRAPPED: Final = ("message", "event.original")


class JsonLog:
    """Reads JSON lines. A `message` that is a line of Squid's log is read as one."""

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder()
        self._inner = (SquidLog("squid"), SquidLog("combined"))

    def entry(self, line: str) -> Entry | None:
        """What one line shows."""
        try:
            record: Any = self._decoder.decode(line[:MAX_LINE].encode("utf-8", "replace"))
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None
        if not isinstance(record, dict):
            return None
        fields = dict(_flat(record))
        # The line inside comes first: the field `host` beside a `message` names the machine that
        # sent the message, not the host of a request.
        return self._inside(fields) or entry_of(fields)

    def entries_to_look_up(self, text: str, clean: CleanLogParts) -> NumberedEntries:  # noqa: ARG002 (see `Reader`)
        """Entries of all lines."""
        for number, line in enumerate(text.split("\n")):
            if line and not line.isspace():
                yield number, self.entry(line)

    def _inside(self, fields: dict[str, str | list[str]]) -> Entry | None:
        for name in _WRAPPED:
            text = fields.get(name)
            if not isinstance(text, str):
                continue
            for log in self._inner:
                if (entry := log.entry(text)) is not None:
                    return entry
        return None


def _flat(record: dict[str, Any]) -> Iterator[tuple[str, str | list[str]]]:
    """Fields of nested objects by their path, joined with dots; never too many."""
    waiting = [("", record, 1)]
    count = 0
    while waiting:
        prefix, inner, depth = waiting.pop()
        for name, value in inner.items():
            count += 1
            if count > MAX_FIELDS:
                return
            if isinstance(value, dict):
                if depth < _MAX_DEPTH:
                    waiting.append((f"{prefix}{name}.", value, depth + 1))
            elif isinstance(value, list):
                yield prefix + name, [text for v in value[:_MAX_LIST] if (text := _text(v))]
            elif text := _text(value):
                yield prefix + name, text


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    # Written without an exponent: the number may be a time.
    return str(value) if isinstance(value, int) else f"{value:.6f}"


@functools.cache
def _shared() -> JsonLog:
    return JsonLog()


def _is_line(line: str) -> bool:
    return line.lstrip().startswith("{") and _shared().entry(line) is not None


JSON: Final = LogFormat("json", _is_line, lambda _name, _header: _shared(), no_header)
