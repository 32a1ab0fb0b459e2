"""Logs of one JSON object a line: Zeek's, Suricata's, Logstash's, or with MISP's types as names."""

from __future__ import annotations

import functools
import re
from collections import deque
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
_MAX_VALUES: Final = 4096
# Fields that may hold a whole line of another log: Logstash and Filebeat send lines like this
# if no filter has split them, and queues have them beside other fields.
_WRAPPED: Final = ("message", "event.original", "line", "event")
# A request in a line that begins or ends as no log known here, for instance as syslog does.
_REQUEST: Final = re.compile(
    r"\b[A-Z]{3,16} (?:[a-z][a-z0-9+.-]{1,16}://|/|[^\s/:]{1,255}:[0-9]{1,5}\b)"
)


class JsonLog:
    """Reads JSON lines, and lines of other logs in them: those of Squid, and JSON again."""

    def __init__(self) -> None:
        self._decoder = msgspec.json.Decoder()
        self._inner = tuple(map(SquidLog, ("squid", "combined", "common")))

    def entry(self, line: str) -> Entry | None:
        """What one line shows."""
        fields = self._fields(line)
        if fields is None:
            return None
        texts = dict.fromkeys(text for name in _WRAPPED for text in fields.get(name, ())[:1])
        inside = [entry for text in texts if (entry := self._inside(text)) is not None]
        if not inside:
            shown = entry_of(fields)
            # A request that cannot be read is not the same as a line that shows nothing.
            return None if shown.is_empty and any(map(_REQUEST.search, texts)) else shown
        # The field `host` beside a line names the machine that sent the line, not the host of a
        # request.
        fields.pop("host", None)
        first, *others = dict.fromkeys((*inside, entry_of(fields)))
        return first._replace(others=tuple(entry for entry in others if not entry.is_empty))

    def entries_to_look_up(self, text: str, clean: CleanLogParts) -> NumberedEntries:  # noqa: ARG002 (see `Reader`)
        """Entries of all lines."""
        for number, line in enumerate(text.split("\n")):
            if line and not line.isspace():
                yield number, self.entry(line)

    def _fields(self, line: str) -> dict[str, list[str]] | None:
        try:
            record: Any = self._decoder.decode(line[:MAX_LINE].encode("utf-8", "replace"))
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None
        return _flat(record) if isinstance(record, dict) else None

    def _inside(self, text: str) -> Entry | None:
        """What a line shows that a field holds; not lines that this one holds in its turn."""
        if text.lstrip().startswith("{"):
            fields = self._fields(text)
            return None if fields is None else entry_of(fields)
        found = (log.entry(text) for log in self._inner)
        return next((entry for entry in found if entry is not None), None)


def _flat(record: dict[str, Any]) -> dict[str, list[str]]:
    """Fields of nested objects by their path, joined with dots; never too many.

    Objects in a list have one path, so that a field has the values of all of them, in their
    order.
    """
    fields: dict[str, list[str]] = {}
    waiting = deque([("", record, 1)])
    count = 0
    while waiting:
        prefix, inner, depth = waiting.popleft()
        for name, value in inner.items():
            for one in value[:_MAX_LIST] if isinstance(value, list) else (value,):
                count += 1
                if count > _MAX_VALUES:
                    return fields
                if isinstance(one, dict):
                    if depth < _MAX_DEPTH:
                        waiting.append((f"{prefix}{name}.", one, depth + 1))
                elif text := _text(one):
                    _put(fields, prefix + name, text)
    return fields


def _put(fields: dict[str, list[str]], path: str, text: str) -> None:
    known = fields.get(path)
    if known is None:
        if len(fields) < MAX_FIELDS:
            fields[path] = [text]
    elif len(known) < _MAX_LIST:
        known.append(text)


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
