"""The work of one process: from lines to matches. Rules and keys are opened once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

import lmdb

from inkgate.config.printable import to_stderr
from inkgate.config.settings_file import load_section, resolve
from inkgate.rules.canonical import ObservedAt
from inkgate.rules.crypto.key_cache import KeyCache
from inkgate.rules.crypto.keys import KeyFileError, read_token
from inkgate.rules.errors import PackError
from inkgate.rules.install.install import open_current
from inkgate.rules.install.serials import current_folder
from inkgate.rules.lookup.matcher import Match, Matcher
from inkgate.rules.lookup.steps import Stretch
from inkgate.rules.match.engine import Engine, rule_of
from inkgate.rules.match.errors import MatchError
from inkgate.rules.match.input.chunks import Chunk
from inkgate.rules.match.logs.entry import Entry
from inkgate.rules.match.logs.registry import open_reader
from inkgate.rules.match.seen import Seen, count_seen, seen_in_passed_over
from inkgate.rules.match.shared_stretch import SharedStretch
from inkgate.rules.settings import RulesSettings

_CHECK_SECONDS: Final = 1.0
_AT_SERVER: Final = (
    ObservedAt.ADDRESS,
    ObservedAt.ADDRESS_WITH_PORT,
    ObservedAt.HOST_WITH_ADDRESS,
)


class Setup(NamedTuple):
    """The parameters of a worker process.

    Attributes:
        config: the settings file.
        keys: folder of the key cache.
        limit: hosts, and as many stretched values, kept in memory: some 200 MiB at most.
        only_server: of each line, look up the server's address alone.
    """

    config: Path
    keys: Path
    limit: int = 400_000
    only_server: bool = False


class LogHit(NamedTuple):
    """A line that matches.

    Attributes:
        line: its number in the chunk, from 0.
        time: as it was logged.
        shown: URL, name or address: what of the line tells most.
    """

    line: int
    time: str
    client: str
    method: str
    shown: str
    match: Match


class ChunkResult(NamedTuple):
    """The matches of a chunk, and its counts.

    Attributes:
        bad: lines that could not be read; `first_bad` is the first one's number, from 0.
        derived: keys that had to be derived.
        canaries: lines that matched canaries alone, as the check through the proxy makes
            them; they are no hits.
        seen: what the lines show: exact counts of those that were looked at; of those that are
            known to be clean only whether there are such.
    """

    hits: tuple[LogHit, ...]
    lines: int
    bad: int
    first_bad: int
    derived: int
    canaries: int
    seen: Seen


class Worker:
    """Matches chunks, always with the generation that is current.

    Raises:
        PackError, KeyFileError, SettingsError, OSError: there is none that can be used.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._settings = load_section(setup.config, "rules", RulesSettings)
        self._root = resolve(setup.config, self._settings.installed)
        self._next_check = 0.0
        self._set_id = ""
        self._said = ""
        self._stretch: SharedStretch | None = None
        self._open()

    def run(self, chunk: Chunk) -> ChunkResult:
        """All matches in a chunk.

        Raises:
            MatchError: the rule set is damaged.
        """
        self._follow_generation()
        before = self._derived()
        hits: list[LogHit] = []
        bad, first_bad, canaries = 0, -1, 0
        counts = [0, 0, 0, 0]
        looked_at: set[int] = set()
        text = chunk.text.decode("utf-8", "surrogateescape")
        reader = open_reader(chunk.format, chunk.header)
        for line, entry in reader.entries_to_look_up(text, self._engine.clean):
            looked_at.add(line)
            if entry is None:
                bad += 1
                first_bad = line if first_bad < 0 else first_bad
                continue
            count_seen(entry, counts)
            try:
                found = self._hits(line, entry)
            except PackError as error:
                raise MatchError(str(error)) from None
            listed = [hit for hit in found if not hit.match.message.is_canary]
            canaries += bool(found) and not listed
            hits += listed
        lines = chunk.text.count(b"\n") + 1
        seen = Seen(*counts)
        if len(looked_at) < lines:
            seen = seen.and_of(seen_in_passed_over(text, reader, looked_at, seen))
        derived = self._derived() - before
        return ChunkResult(tuple(hits), lines, bad, first_bad, derived, canaries, seen)

    def _hits(self, line: int, entry: Entry) -> list[LogHit]:
        """The matches of a line, each rule once."""
        hits = [
            LogHit(
                line,
                entry.time or part.time,
                part.client or entry.client,
                part.method,
                part.shown or entry.shown,
                match,
            )
            for part in entry.parts
            for match in self._matches(part)
        ]
        if not entry.others:
            return hits
        # What the fields beside a line show is most often the same again.
        distinct: dict[object, LogHit] = {}
        for hit in hits:
            distinct.setdefault(rule_of(hit.match), hit)
        return list(distinct.values())

    def _matches(self, entry: Entry) -> Iterable[Match]:
        if not self._setup.only_server:
            return self._engine.matches(entry)
        # Of a literal address everything was decided when it was asked for.
        host = entry.uri.rpartition(":")[0].strip("[]") if entry.method == "CONNECT" else ""
        if not entry.server or entry.server == host:
            return ()
        found = self._engine.matches(entry)
        return [match for match in found if match.indicator_class in self._of_servers]

    def close(self) -> None:
        """Close all files."""
        self._generation.close()
        if self._stretch is not None:
            self._stretch.close()

    def _derived(self) -> int:
        return self._stretch.derived if self._stretch else 0

    def _follow_generation(self) -> None:
        """Take a new generation, if there is one that can be used."""
        now = time.monotonic()
        if now < self._next_check:
            return
        self._next_check = now + _CHECK_SECONDS
        if current_folder(self._root) != self._generation.folder:
            try:
                self._open()
            except (PackError, KeyFileError, OSError, lmdb.Error) as error:
                if str(error) != self._said:
                    self._said = str(error)
                    to_stderr("inkgate-rules", f"the rules of before stay in use: {error}")
                return
            self._said = ""

    def _open(self) -> None:
        token = read_token(resolve(self._setup.config, self._settings.token_file))
        generation = open_current(self._root, self._settings.caps)
        matcher = Matcher(generation, token, self._with_cache(generation.manifest.set_id))
        self._generation = generation
        self._engine = Engine(matcher, self._setup.limit)
        at = matcher.classes.at
        self._of_servers = {keys.name for where in _AT_SERVER for keys in at[where]}

    def _with_cache(self, set_id: str) -> Callable[[Stretch], Stretch]:
        def cached(derive: Stretch) -> Stretch:
            if self._stretch is None or self._set_id != set_id:
                keys = KeyCache(self._setup.keys, set_id)
                self._stretch = SharedStretch(derive, keys, self._setup.keys, self._setup.limit)
                self._set_id = set_id
            return self._stretch

        return cached
