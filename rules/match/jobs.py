"""Chunks matched on all cores. Results come in the order of the chunks."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager

from inkgate.config.processes import Workers, processes_for
from inkgate.rules.match.input.chunks import Chunk, no_acknowledgement
from inkgate.rules.match.worker import ChunkResult, Setup, Worker


def match_chunks(
    chunks: Iterable[Chunk | None], setup: Setup, jobs: int
) -> Generator[tuple[Chunk, ChunkResult], None, None]:
    """Match chunks in so many processes; one job is done in this one.

    Args:
        chunks: None among them means that no more are there yet.

    Raises:
        MatchError, WorkerEnded: a chunk could not be matched.
        PackError, KeyFileError, SettingsError, OSError: no rule set can be used.
    """
    processes = processes_for(jobs, 1, 1)
    if processes:
        # The rule set is opened once in this process first: an error in a worker process would
        # only say that the process ended, not why.
        Worker(setup).close()
    with Workers(processes, _matching, setup) as workers:
        yield from workers.results(
            None if chunk is None else (chunk, _without_callback(chunk)) for chunk in chunks
        )


def _without_callback(chunk: Chunk) -> Chunk:
    # A function cannot be sent to another process. This process calls it.
    return chunk._replace(acknowledge=no_acknowledgement)


@contextmanager
def _matching(setup: Setup) -> Iterator[Callable[[Chunk], ChunkResult]]:
    worker = Worker(setup)
    try:
        yield worker.run
    finally:
        worker.close()
