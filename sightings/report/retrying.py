"""Doing a step again and again, with growing waits while the other side is away."""

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

_IDLE_SECONDS: Final = 1.0


class RetryPolicy:
    """How to wait for a peer that is away. Times in seconds.

    Args:
        again: the exception that says that it is.
        first_wait, longest_wait: waits are random below a limit that doubles.
        attempts: how often to try at most; 0 for ever.
        stop: set by whoever wants us to end.
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
        log: Callable[[str], None],
    ) -> None:
        self._retry_on = retry_on
        self._wait = wait_random_exponential(multiplier=first_wait, max=longest_wait)
        self._stop_after = stop_after_attempt(attempts) if attempts else stop_never
        self._stop = stop
        self._log = log

    def run(self, step: Callable[[], int]) -> int:
        """Do a step, again if need be.

        Raises:
            the `again` exception: the last attempt's.
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
        """Do a step until it finds nothing more to do; how much it did in all."""
        done = 0
        while not self._stop.is_set() and (some := self.run(step)):
            done += some
        return done

    def run_until_stopped(self, step: Callable[[], int]) -> None:
        """Do a step until told to stop, with a pause whenever there is nothing to do."""
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
