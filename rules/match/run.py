"""A run of `match`: its inputs, processes, output and journal."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from types import FrameType
from typing import Final, NamedTuple

import click

from inkgate.config.extras import require
from inkgate.config.modes import make_folder
from inkgate.config.owner import OwnerError, other_owner
from inkgate.config.progress import progress_bar
from inkgate.config.settings_file import resolve
from inkgate.config.system_errors import check_reader
from inkgate.rules.match.errors import MatchError
from inkgate.rules.match.input.chunks import Chunk
from inkgate.rules.match.input.files import Chunks, file_chunks, total_size
from inkgate.rules.match.input.follow import followed_chunks
from inkgate.rules.match.input.positions import Positions
from inkgate.rules.match.jobs import match_chunks
from inkgate.rules.match.journal import SightingsWriter
from inkgate.rules.match.output import RunTotals, json_line, print_rules, say, say_totals, text_line
from inkgate.rules.match.worker import ChunkResult, Setup
from inkgate.rules.settings import RulesSettings

_CLEAR_LINE: Final = "\r\x1b[2K"
_SUFFIX: Final = "-match"


class Inputs(NamedTuple):
    """What to read.

    Attributes:
        paths: files, `-` for standard input.
        format: of all of them.
        redis: a Redis's URL.
        key: of a list there (or of a stream); empty to read files.
        until_empty: end when the queue is empty, and no other consumer has lines of it.
        orphaned_after: seconds after which a silent consumer's lines are taken again.
        until_idle: end when all that followed files hold was read.
        resume: where the positions of followed files are kept.
        only_server: of each line, look up the server's address alone.
    """

    paths: tuple[str, ...]
    format: str
    follow: bool = False
    redis: str = ""
    key: str = ""
    stream: bool = False
    until_empty: bool = False
    orphaned_after: float = 30.0
    until_idle: bool = False
    resume: Path | None = None
    only_server: bool = False


class OutputOptions(NamedTuple):
    """How matches are output, and whether they are journalled; not `printed`: not at all."""

    as_json: bool = False
    quiet: bool = False
    sightings: bool = False
    printed: bool = True


def run(
    config: Path, settings: RulesSettings, inputs: Inputs, options: OutputOptions, jobs: int
) -> tuple[bool, bool]:
    """Match all inputs. Returns whether anything matched, and whether something was wrong."""
    totals = RunTotals()
    faults: list[str] = []
    started = time.monotonic()
    with ExitStack() as stack:
        stop = _while_read(stack.enter_context(_StopSignals()), options)
        setup = Setup(
            config,
            stack.enter_context(_key_folder(config, settings)),
            only_server=inputs.only_server,
        )
        positions = Positions(inputs.resume) if inputs.resume else None
        writer = (
            SightingsWriter(config, have_passed=inputs.only_server) if options.sightings else None
        )
        if writer is not None:
            stack.callback(writer.close)
        bar = stack.enter_context(progress_bar(quiet=options.quiet))
        bar.start("matching", None if inputs.follow or inputs.key else total_size(inputs.paths))
        chunks = _chunks(inputs, stop, faults, stack, positions)
        results = stack.enter_context(closing(match_chunks(chunks, setup, jobs)))
        for chunk, result in results:
            _put_out(chunk, result, options, writer)
            totals.add(chunk, result)
            chunk.acknowledge()
            if positions is not None:
                positions.keep(at_once=bool(result.hits))
            bar.advance(chunk.size)
    if positions is not None:
        positions.keep(at_once=True)
    if sys.stdout.isatty() and not options.as_json and totals.rules:
        print_rules(totals)
    for fault in faults:
        say(fault)
    if not options.quiet:
        say_totals(totals, time.monotonic() - started)
    unread = list(totals.unread())
    for name in unread:
        say(f"{name}: not one line could be read; give --format")
    empty = list(totals.empty())
    for name in empty:
        say(
            f"{name}: no line shows anything that could be listed; name its fields as "
            "docs/matching.md has them (for instance url, ip-dst, domain)"
        )
    return totals.hits > 0, bool(faults or unread or empty)


def _put_out(
    chunk: Chunk, result: ChunkResult, options: OutputOptions, writer: SightingsWriter | None
) -> None:
    # The journal is written first. A queue's lines are acknowledged after journal and
    # output.
    if writer is not None:
        writer.write(result.hits)
    if result.hits and options.printed:
        show = json_line if options.as_json else text_line
        # On a terminal the progress bar is in this line. It is cleared, and drawn again
        # below the matches.
        clear = _CLEAR_LINE if sys.stdout.isatty() else ""
        click.echo(clear + "\n".join(show(chunk, hit) for hit in result.hits))


def _chunks(
    inputs: Inputs,
    stop: Callable[[], bool],
    faults: list[str],
    stack: ExitStack,
    positions: Positions | None,
) -> Chunks:
    if inputs.key:
        require("match", "a queue in a Redis")
        # Imported here: files do not need Redis.
        from inkgate.rules.match.input.queues import open_queue, queued_chunks  # noqa: PLC0415

        queue = open_queue(
            inputs.redis,
            inputs.key,
            inputs.format,
            stream=inputs.stream,
            orphaned_after=inputs.orphaned_after,
            log=say,
        )
        stack.callback(queue.close)
        return queued_chunks(
            queue,
            inputs.key,
            inputs.format,
            stop=stop,
            until_empty=inputs.until_empty,
            log=say,
        )
    if inputs.follow:
        return followed_chunks(
            inputs.paths, inputs.format, stop, positions, say, until_idle=inputs.until_idle
        )
    return _files(inputs.paths, inputs.format, faults, stop)


def _files(
    paths: Sequence[str],
    format: str,  # noqa: A002
    faults: list[str],
    stop: Callable[[], bool],
) -> Iterator[Chunk | None]:
    for path in paths:
        try:
            for chunk in file_chunks(path, format):
                yield chunk
                if stop():
                    return
        except MatchError as error:
            # As with grep, the other files are still read.
            faults.append(str(error))


def _while_read(stop: Callable[[], bool], options: OutputOptions) -> Callable[[], bool]:
    """Ask for the output's reader, too: `--follow | head -1` has nothing to do without one."""

    def is_over() -> bool:
        if options.printed:
            check_reader()
        return stop()

    return is_over


@contextlib.contextmanager
def _key_folder(config: Path, settings: RulesSettings) -> Iterator[Path]:
    """A folder for this run's key cache; it is kept for the next run if its place is writable.

    It is not the folder of the helper (docs/decisions/0061): a million names of an old
    log would replace the names that Squid asks for now. Nor does it lie where somebody else
    could put a link to it (docs/decisions/0086): then it is beside the installed rules.
    """
    helpers = resolve(config, settings.key_cache)
    name = f"{helpers.name}{_SUFFIX}"
    for kept in (helpers.with_name(name), resolve(config, settings.installed).with_name(name)):
        if _is_own_folder(kept):
            yield kept
            return
    with tempfile.TemporaryDirectory(prefix="inkgate-match-") as made:
        yield Path(made)


def _is_own_folder(path: Path) -> bool:
    """Whether a folder, made if it can be, is this user's, and nobody else's to exchange."""
    try:
        if not path.parent.is_dir() or other_owner(path.parent) is not None:
            return False
        make_folder(path, 0o700)
        return other_owner(path) is None and path.stat().st_uid == os.geteuid()
    except (OwnerError, OSError):
        return False


class _StopSignals:
    """Remembers the first SIGINT or SIGTERM; the run asks for it after each chunk."""

    def __init__(self) -> None:
        self._asked = False

    def __enter__(self) -> Callable[[], bool]:
        self._before = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)}
        return lambda: self._asked

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
