"""Chunks matched on all cores. Results come in the order of the chunks."""

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

# Chunks that are given out ahead for each process: no process waits for its next
# chunk, and memory stays bounded.
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
    # The rule set is opened once in this process first: an error in a worker process would
    # only say that the process ended, not why.
    Worker(setup).close()
    pool = ProcessPoolExecutor(
        jobs,
        # Not by fork: the progress bar's thread may hold a lock, which stays locked for
        # ever in a forked process.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(setup,),
    )
    stack.callback(pool.shutdown, cancel_futures=True)
    return lambda chunk: pool.submit(_match_chunk, _without_callback(chunk))


def _without_callback(chunk: Chunk) -> Chunk:
    # A function cannot be sent to another process. This process calls it.
    return chunk._replace(acknowledge=no_acknowledgement)


# The worker of this process, made when the process starts.
_worker: Worker | None = None


def _start_worker(setup: Setup) -> None:
    global _worker  # noqa: PLW0603 (made once per process, not once per chunk)
    # Ctrl-C in a terminal sends SIGINT to all processes of the command. The parent
    # process decides when its workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent()
    _worker = Worker(setup)


def _match_chunk(chunk: Chunk) -> ChunkResult:
    assert _worker is not None  # noqa: S101 (`_start_worker` has run before)
    return _worker.run(chunk)
