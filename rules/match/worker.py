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
from inkgate.rules.match.engine import Engine
from inkgate.rules.match.errors import MatchError
from inkgate.rules.match.input.chunks import Chunk
from inkgate.rules.match.logs.entry import Entry
from inkgate.rules.match.logs.registry import open_reader
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


class Seen(NamedTuple):
    """How many entries showed what."""

    nothing: int = 0
    something: int = 0
    cut_queries: int = 0
    queries: int = 0

    def and_of(self, other: Seen) -> Seen:
        """The sums."""
        return Seen(*map(sum, zip(self, other, strict=True)))


class ChunkResult(NamedTuple):
    """The matches of a chunk, and its counts.

    Attributes:
        bad: lines that could not be read; `first_bad` is the first one's number, from 0.
        derived: keys that had to be derived.
        canaries: lines that matched canaries alone, as the check through the proxy makes
            them; they are no hits.
        seen: what was looked at shows: how often nothing, something, a URL that ends with
            `?`, and one with a query. Lines that are known to be clean are not looked at.
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
        seen = [0, 0, 0, 0]
        text = chunk.text.decode("utf-8", "surrogateescape")
        reader = open_reader(chunk.format, chunk.header)
        for line, entry in reader.entries_to_look_up(text, self._engine.clean):
            if entry is None:
                bad += 1
                first_bad = line if first_bad < 0 else first_bad
                continue
            seen[not entry.is_empty] += 1
            if "?" in entry.uri:
                seen[2 if entry.uri.endswith("?") else 3] += 1
            try:
                found = tuple(self._matches(entry))
            except PackError as error:
                raise MatchError(str(error)) from None
            listed = [match for match in found if not match.message.is_canary]
            canaries += bool(found) and not listed
            hits += (
                LogHit(line, entry.time, entry.client, entry.method, entry.shown, match)
                for match in listed
            )
        lines = chunk.text.count(b"\n") + 1
        derived = self._derived() - before
        return ChunkResult(tuple(hits), lines, bad, first_bad, derived, canaries, Seen(*seen))

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
