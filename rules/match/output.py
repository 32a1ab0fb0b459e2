"""The output of a run: lines for people or JSON for machines, then a summary."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from inkgate.config.printable import printable, printable_json, to_stderr
from inkgate.config.table import print_table
from inkgate.rules.match.input.chunks import Chunk
from inkgate.rules.match.logs.times import parse_time
from inkgate.rules.match.seen import Seen
from inkgate.rules.match.worker import ChunkResult, LogHit

# The table at the end has at most so many rules. The lines above it show all matches.
_MAX_ROWS: Final = 1000
_MAX_SHOWN: Final = 2000


class RunTotals:
    """What was read and found.

    Attributes:
        bad: lines that no reader could read, by input, with the first one's number.
    """

    def __init__(self) -> None:
        self.lines = 0
        self.hits = 0
        self.matched_lines = 0
        self.derived = 0
        self.canaries = 0
        self.bad: dict[str, tuple[int, int]] = {}
        self.read: dict[str, int] = {}
        self.seen: dict[str, Seen] = {}
        self.rules: dict[tuple[str, str], _Row] = {}

    def add(self, chunk: Chunk, result: ChunkResult) -> None:
        """Count a chunk."""
        self.lines += result.lines
        self.derived += result.derived
        self.canaries += result.canaries
        self.read[chunk.source] = self.read.get(chunk.source, 0) + result.lines
        self.seen[chunk.source] = self.seen.get(chunk.source, Seen()).and_of(result.seen)
        if result.bad:
            count, first = self.bad.get(chunk.source, (0, chunk.first + result.first_bad))
            self.bad[chunk.source] = count + result.bad, first
        self.matched_lines += len({hit.line for hit in result.hits})
        for hit in result.hits:
            self.hits += 1
            key = hit.match.indicator_class, attributes(hit)
            if key in self.rules or len(self.rules) < _MAX_ROWS:
                self.rules.setdefault(key, _Row()).add(hit)

    def unread(self) -> Iterator[str]:
        """Inputs of which not one line could be read."""
        return (name for name, (count, _) in self.bad.items() if count >= self.read[name])

    def empty(self) -> Iterator[str]:
        """Inputs whose lines show nothing that could be listed."""
        return (name for name, seen in self.seen.items() if seen.nothing and not seen.something)

    def without_queries(self) -> Iterator[str]:
        """Inputs whose URLs all end where their query would begin."""
        return (name for name, seen in self.seen.items() if seen.cut_queries and not seen.queries)


class _Row:
    """A rule's matches."""

    def __init__(self) -> None:
        self.lines = 0
        self.clients: set[str] = set()
        self.first = self.last = ""

    def add(self, hit: LogHit) -> None:
        self.lines += 1
        self.first = self.first or hit.time
        self.last = hit.time or self.last
        if len(self.clients) < _MAX_ROWS:
            self.clients.add(hit.client)


def json_line(chunk: Chunk, hit: LogHit) -> str:
    """A hit as one JSON object."""
    record: dict[str, Any] = {
        "source": chunk.source,
        "line": chunk.first + hit.line,
        "time": _iso(hit.time),
        "client": hit.client,
        "method": hit.method,
        "observed": hit.shown,
        "class": hit.match.indicator_class,
        "message": hit.match.message,
    }
    return printable_json(msgspec.json.encode({k: _encodable(v) for k, v in record.items()}))


def text_line(chunk: Chunk, hit: LogHit) -> str:
    """A hit as one line of text, with tabs between its parts."""
    return "\t".join(
        map(
            printable,
            (
                f"{chunk.source}:{chunk.first + hit.line}",
                _iso(hit.time) or "-",
                hit.client or "-",
                hit.shown[:_MAX_SHOWN],
                hit.match.indicator_class,
                hit.match.message.action,
                attributes(hit),
            ),
        )
    )


def attributes(hit: LogHit) -> str:
    """The MISP attributes in the message of the rule, as text."""
    message = hit.match.message
    text = "; ".join(" ".join(f"{k}={v}" for k, v in a.items()) for a in message.attributes)
    return f"{text}; and {message.more} more" if message.more else text


def print_rules(totals: RunTotals) -> None:
    """The matched rules, for a terminal."""
    rows = [
        (name, str(row.lines), str(len(row.clients)), _iso(row.first), _iso(row.last), text)
        for (name, text), row in sorted(totals.rules.items(), key=lambda item: -item[1].lines)
    ]
    columns = ("class", "lines", "clients", "first", "last", "attributes")
    print_table(columns, rows, soft_wrap=True)


def say_totals(totals: RunTotals, seconds: float) -> None:
    """What was read, on standard error."""
    for name, (count, first) in totals.bad.items():
        say(f"{name}: {count:,} lines could not be read, the first is line {first:,}")
    for name in totals.without_queries():
        say(
            f"{name}: the URLs have no queries, so those that are listed with one are not found: "
            "write strip_query_terms off into squid.conf, or log %>ru"
        )
    if totals.canaries:
        say(f"{totals.canaries:,} lines are of the check through the proxy, and are left out")
    rate = totals.lines / seconds if seconds else 0
    say(
        f"{totals.lines:,} lines in {seconds:,.1f} s ({rate:,.0f}/s), {totals.derived:,} keys "
        f"derived; {totals.hits:,} matches in {totals.matched_lines:,} lines"
    )


def say(text: str) -> None:
    """One line on standard error."""
    to_stderr("inkgate-rules", text)


def _iso(logged: str) -> str:
    seconds = parse_time(logged)
    if seconds is None:
        return ""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _encodable(value: object) -> object:
    # Bytes that are not UTF-8 are written as escapes.
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
