"""Chunks on all cores. Results come in the order of the chunks, whatever core is first."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from typing import Final

from inkgate.config.processes import end_with_parent
from inkgate.rules.match.errors import MatchError
from inkgate.rules.match.input.chunks import Chunk, no_acknowledgement
from inkgate.rules.match.worker import ChunkResult, Setup, Worker

# Chunks under way for each process: no core waits, and memory stays bounded.
_CHUNKS_PER_PROCESS: Final = 3

Submit = Callable[[Chunk], "Future[ChunkResult]"]


def match_chunks(
    chunks: Iterable[Chunk | None], setup: Setup, jobs: int
) -> Generator[tuple[Chunk, ChunkResult], None, None]:
    """Match chunks in so many processes; one job is done in this one.

    Args:
        chunks: None among them means that no more are there yet.

    Raises:
        MatchError: a chunk could not be matched.
        PackError, KeyFileError, SettingsError, OSError: no rule set can be used.
    """
    waiting: deque[tuple[Chunk, Future[ChunkResult]]] = deque()
    with ExitStack() as stack:
        submit = _in_processes(setup, jobs, stack) if jobs > 1 else _in_this_process(setup, stack)
        for chunk in chunks:
            if chunk is not None:
                waiting.append((chunk, submit(chunk)))
            while waiting and (waiting[0][1].done() or len(waiting) > jobs * _CHUNKS_PER_PROCESS):
                yield _result(waiting)
        while waiting:
            yield _result(waiting)


def _result(waiting: deque[tuple[Chunk, Future[ChunkResult]]]) -> tuple[Chunk, ChunkResult]:
    chunk, future = waiting.popleft()
    try:
        return chunk, future.result()
    except BrokenProcessPool:
        raise MatchError(
            "a process of this run ended at once; look for lack of memory, or use --jobs 1"
        ) from None


def _in_this_process(setup: Setup, stack: ExitStack) -> Submit:
    worker = Worker(setup)
    stack.callback(worker.close)

    def submit(chunk: Chunk) -> Future[ChunkResult]:
        done: Future[ChunkResult] = Future()
        done.set_result(worker.run(chunk))
        return done

    return submit


def _in_processes(setup: Setup, jobs: int, stack: ExitStack) -> Submit:
    # Opened here first: what is wrong with the rule set is said as it is.
    Worker(setup).close()
    pool = ProcessPoolExecutor(
        jobs,
        # Not forked: the progress bar's thread may hold any lock at that moment.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(setup,),
    )
    stack.callback(pool.shutdown, cancel_futures=True)
    return lambda chunk: pool.submit(_match_chunk, _without_callback(chunk))


def _without_callback(chunk: Chunk) -> Chunk:
    # What it calls when it is done belongs to the parent.
    return chunk._replace(acknowledge=no_acknowledgement)


# What a process was given at its start.
_worker: Worker | None = None


def _start_worker(setup: Setup) -> None:
    global _worker  # noqa: PLW0603 (opened once a process, not once a chunk)
    # A terminal's Ctrl-C goes to the whole group; the parent ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent()
    _worker = Worker(setup)


def _match_chunk(chunk: Chunk) -> ChunkResult:
    assert _worker is not None  # noqa: S101 (as `_begin` says)
    return _worker.run(chunk)
