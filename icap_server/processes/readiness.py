"""How a worker tells its supervisor, through a pipe, whether it can serve."""

from __future__ import annotations

import os
from typing import Final

_READY: Final = b"ready"
_READY_WITHOUT_RULES: Final = b"ready without rules"
_MOST_BYTES: Final = 4096


def say_ready(descriptor: int, *, has_rules: bool) -> None:
    """Say that this worker serves, and close the pipe."""
    _say(descriptor, _READY if has_rules else _READY_WITHOUT_RULES)


def say_unfit(descriptor: int, reason: str) -> None:
    """Say why this worker will not serve, and close the pipe."""
    _say(descriptor, reason.encode("utf-8", "replace")[:_MOST_BYTES])


def _say(descriptor: int, text: bytes) -> None:
    try:
        os.write(descriptor, text)
    finally:
        os.close(descriptor)


class Readiness:
    """The supervisor's end.

    Args:
        descriptor: of the pipe; closed when the other end is.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._pipe = open(descriptor, "rb", buffering=0)  # noqa: SIM115 (a descriptor)
        self._said = b""

    def is_over(self) -> bool:
        """Whether all has been said. Does not wait."""
        while not self._pipe.closed:
            data = self._pipe.read(_MOST_BYTES)
            if data is None:
                return False
            self._said += data
            if not data:
                self._pipe.close()
        return True

    @property
    def is_ready(self) -> bool:
        """Whether the worker serves, once all has been said."""
        return self._said in (_READY, _READY_WITHOUT_RULES)

    @property
    def has_rules(self) -> bool:
        """Whether it serves with rules."""
        return self._said == _READY

    @property
    def reason(self) -> str:
        """Why it does not serve, empty if it does or has not said why."""
        return "" if self.is_ready else self._said.decode("utf-8", "replace")
