"""Retries: a step is repeated, with growing pauses while a server does not answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

from tenacity import (
    RetryCallState,
    RetryError,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_never,
    stop_when_event_set,
    wait_random_exponential,
)

from inkgate.config.printable import Log

_IDLE_SECONDS: Final = 1.0


class RetryPolicy:
    """How a step is repeated when a server does not answer. Times in seconds.

    Args:
        retry_on: the exception that means "try again".
        first_wait: upper limit of the first pause; the limit doubles with each attempt.
        longest_wait: the largest limit. Pauses are random below the limit.
        attempts: number of attempts at most; 0 for no limit.
        stop: when it is set, no further attempt is made.
        log: takes one line without secrets.
    """

    def __init__(
        self,
        retry_on: type[Exception],
        *,
        first_wait: float,
        longest_wait: float,
        attempts: int,
        stop: threading.Event,
        log: Log,
    ) -> None:
        self._retry_on = retry_on
        self._wait = wait_random_exponential(multiplier=first_wait, max=longest_wait)
        self._stop_after = stop_after_attempt(attempts) if attempts else stop_never
        self._stop = stop
        self._log = log

    def run(self, step: Callable[[], int]) -> int:
        """Do a step, and repeat it after an exception of the type `retry_on`.

        Raises:
            the `retry_on` exception: that of the last attempt.
        """
        retrying = Retrying(
            retry=retry_if_exception_type(self._retry_on),
            wait=self._wait,
            stop=self._stop_after | stop_when_event_set(self._stop),
            sleep=self._wait_unless_stopped,
            before_sleep=self._log_attempt,
        )
        try:
            return int(retrying(step))
        except RetryError as error:
            raise error.last_attempt.exception() or error from None

    def run_until_idle(self, step: Callable[[], int]) -> int:
        """Repeat a step until there is no more work; returns how much it did in all."""
        done = 0
        while not self._stop.is_set() and (some := self.run(step)):
            done += some
        return done

    def run_until_stopped(self, step: Callable[[], int]) -> None:
        """Repeat a step until `stop` is set, with a pause when there is no work."""
        while not self._stop.is_set():
            try:
                if not self.run(step):
                    self._stop.wait(_IDLE_SECONDS)
            except self._retry_on:
                return

    def _wait_unless_stopped(self, seconds: float) -> None:
        self._stop.wait(seconds)

    def _log_attempt(self, state: RetryCallState) -> None:
        outcome: Any = state.outcome
        pause = state.next_action.sleep if state.next_action else 0
        self._log(f"{outcome.exception()}; attempt {state.attempt_number}, next in {pause:.0f} s")
