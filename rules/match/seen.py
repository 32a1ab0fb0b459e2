"""What the lines of a log show at all, also those that are known to be clean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple

from inkgate.rules.match.logs.entry import Entry
from inkgate.rules.match.logs.reader import Reader

# So many of a chunk's lines are read again to learn what those show that were passed over.
_MOST_SAMPLES: Final = 16
_WITH_QUERY: Final = re.compile(r'\?[^\s"]')
_CUT_QUERY: Final = re.compile(r'\?(?=[\s"]|\Z)')


class Seen(NamedTuple):
    """How many entries showed what.

    Attributes:
        nothing: no part that could be listed.
        something: one at least.
        cut_queries: a URL that ends with `?`.
        queries: a URL with a query.
    """

    nothing: int = 0
    something: int = 0
    cut_queries: int = 0
    queries: int = 0

    def and_of(self, other: Seen) -> Seen:
        """The sums."""
        return Seen(*map(sum, zip(self, other, strict=True)))


def count_seen(entry: Entry, counts: list[int]) -> None:
    """Add what one entry shows to four counts, which are those of `Seen`."""
    counts[not entry.is_empty] += 1
    for part in entry.parts:
        if "?" in part.uri:
            counts[2 if part.uri.endswith("?") else 3] += 1


def seen_in_passed_over(text: str, reader: Reader, looked_at: set[int], seen: Seen) -> Seen:
    """What lines show that are known to be clean, as far as the others do not show it.

    Args:
        text: the chunk's.
        reader: of its format.
        looked_at: numbers of the lines that were read, from 0.
        seen: what those show.

    Returns:
        at most one of each kind: it is only told whether a log has such lines.
    """
    entries: list[Entry | None] = []
    if not seen.something:
        lines = (line for n, line in enumerate(_lines(text)) if n not in looked_at and line.strip())
        entries += map(reader.entry, islice(lines, _MOST_SAMPLES))
    for is_known, pattern in ((seen.queries, _WITH_QUERY), (seen.cut_queries, _CUT_QUERY)):
        if not is_known:
            entries += map(reader.entry, islice(_lines_with(pattern, text), _MOST_SAMPLES))
    counts = [0, 0, 0, 0]
    for entry in entries:
        if entry is not None:
            count_seen(entry, counts)
    return Seen(0, *(min(count, 1) for count in counts[1:]))


def _lines(text: str) -> Iterator[str]:
    start = 0
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        yield text[start:end]
        start = end + 1


def _lines_with(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    """The lines in which a pattern is found, each once."""
    at = 0
    while found := pattern.search(text, at):
        end = text.find("\n", found.start())
        end = len(text) if end < 0 else end
        yield text[text.rfind("\n", 0, found.start()) + 1 : end]
        at = end
