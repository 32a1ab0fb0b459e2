"""Processes that work for this one, on all cores that it may use.

They are started afresh (spawn) and not forked: the progress bar's thread may hold any
lock at that moment. They end with their parent, and stop at once when it has failed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, ExitStack
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

from inkgate.config.errors import InkgateError

# Pieces of work under way for each process: no core waits, and memory stays bounded.
_SIGNAL_SECONDS: Final = 0.1
_AHEAD: Final = 4

_Begun = AbstractContextManager[Callable[[Any], Any]]

Piece = TypeVar("Piece")
Outcome = TypeVar("Outcome")
Name = TypeVar("Name")


class WorkerEnded(InkgateError):  # noqa: N818 (it says what has happened)
    """A worker process was ended from outside, most likely for want of memory."""

    def __init__(self) -> None:
        super().__init__(
            "a process of this run ended at once; look for lack of memory, or let it use fewer "
            "cores (--jobs, or taskset)"
        )


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def processes_for(jobs: int, amount: float, least: float) -> int:
    """How many processes to start for some work: `jobs`, or 0 if it is to be done here.

    Args:
        amount: of work, in any unit.
        least: so much must there be, or starting processes costs more than they save.
    """
    return jobs if jobs > 1 and amount >= least else 0


class Workers(Generic[Piece, Outcome]):
    """Does pieces of work, in processes or here. To be used in a `with`.

    Args:
        processes: how many; with 0 all is done here.
        begin: called once in each process, with the arguments; its `with` gives what does
            a piece. Sent by its name, so it is a function of a module.
        arguments: sent once to each process, not with each piece.
    """

    def __init__(
        self,
        processes: int,
        begin: Callable[..., AbstractContextManager[Callable[[Piece], Outcome]]],
        *arguments: Any,
    ) -> None:
        self._processes = processes
        self._begin = begin
        self._arguments = arguments
        self._stack = ExitStack()
        self._work: Callable[[Piece], Outcome] | None = None
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        if self._processes:
            self._start()
        else:
            self._work = self._stack.enter_context(self._begin(*self._arguments))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            if kind is not None:
                # A piece may take minutes, and nobody wants it any more. They are not
                # killed: who dies with a hand on a queue of the pool leaves it locked.
                self._stop.close()
            self._pool.shutdown(cancel_futures=True)
        self._stack.__exit__(kind, error, trace)

    def submit(self, piece: Piece) -> Future[Outcome]:
        """Have a piece of work done; here it is done when this returns."""
        if self._pool is not None:
            # A process that is started here has Ctrl-C blocked until it ignores it.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                return self._pool.submit(_work_there, piece)
            except BrokenProcessPool:
                raise WorkerEnded from None
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        assert self._work is not None  # noqa: S101 (used in a `with`)
        done: Future[Outcome] = Future()
        done.set_result(self._work(piece))
        return done

    def results(
        self, pieces: Iterable[tuple[Name, Piece] | None]
    ) -> Iterator[tuple[Name, Outcome]]:
        """Have pieces of work done; the results come in the order of the pieces.

        Args:
            pieces: each with what its result is known by; None means that no more are
                there yet.

        Raises:
            WorkerEnded: a process ended; else what a piece of work raises.
        """
        waiting: deque[tuple[Name, Future[Outcome]]] = deque()
        for entry in pieces:
            if entry is not None:
                name, piece = entry
                waiting.append((name, self.submit(piece)))
            while waiting and (waiting[0][1].done() or len(waiting) > self._processes * _AHEAD):
                yield _first(waiting)
        while waiting:
            yield _first(waiting)

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        stopped, self._stop = context.Pipe(duplex=False)
        for end in (stopped, self._stop):
            self._stack.callback(end.close)
        self._pool = ProcessPoolExecutor(
            self._processes,
            mp_context=context,
            initializer=_begin_there,
            initargs=(stopped, self._begin, self._arguments),
        )


def result_of(future: Future[Outcome]) -> Outcome:
    """What a piece of work gave.

    Raises:
        WorkerEnded: a process ended; else what the piece of work raises.
    """
    try:
        return future.result()
    except BrokenProcessPool:
        raise WorkerEnded from None


def _first(waiting: deque[tuple[Name, Future[Outcome]]]) -> tuple[Name, Outcome]:
    name, future = waiting.popleft()
    return name, result_of(future)


class _Worker:
    """This process, if it is a worker: what it was given at its start, and whether to stop."""

    def __init__(self) -> None:
        self._is_stopped = False
        self._is_at_work = False

    def start(
        self, stopped: Connection, begin: Callable[..., _Begun], arguments: Iterable[Any]
    ) -> None:
        # Ctrl-C in a terminal sends SIGINT to all processes of the command. The parent
        # process decides when its workers stop.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGUSR1, self._interrupt)
        threading.Thread(target=self._watch, args=(stopped,), daemon=True).start()
        # Kept: what it holds open would be closed with it.
        self._begun = begin(*arguments)
        self._work = self._begun.__enter__()

    def work(self, piece: Any) -> Any:
        self._is_at_work = True
        try:
            self._interrupt()
            return self._work(piece)
        finally:
            self._is_at_work = False

    def _watch(self, stopped: Connection) -> None:
        """Stop when told to; end this process when its parent has ended, however it did."""
        parent = multiprocessing.parent_process()
        assert parent is not None  # noqa: S101 (this is a worker)
        if parent.sentinel not in wait([parent.sentinel, stopped]):
            self._is_stopped = True
            # Sent again and again: a signal that comes just before a system call begins to
            # wait does not wake it.
            while True:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
                if wait([parent.sentinel], _SIGNAL_SECONDS):
                    break
        os._exit(1)

    def _interrupt(self, *_: object) -> None:
        # Between two pieces the pool's own code runs, which must not be interrupted.
        if self._is_stopped and self._is_at_work:
            raise KeyboardInterrupt


_this_process = _Worker()


def _begin_there(
    stopped: Connection, begin: Callable[..., _Begun], arguments: Iterable[Any]
) -> None:
    _this_process.start(stopped, begin, arguments)


def _work_there(piece: Any) -> Any:
    return _this_process.work(piece)
