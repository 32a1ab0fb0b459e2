"""How far a long command is: a bar on a terminal, else a line for what takes long, or silence."""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import Final, Protocol, Self

from inkgate.config.extras import is_installed
from inkgate.config.printable import to_stderr

SPEAK_SECONDS: Final = 2.0


class Progress(Protocol):
    """What a refresh tells about itself while it runs."""

    def start(self, stage: str, total: int | None) -> None:
        """A stage begins, with its number of steps if it is known."""

    def advance(self, count: int) -> None:
        """So many more steps are done."""


class ProgressBar(Progress, Protocol):
    """A progress that is shown from the beginning to the end of a `with`."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class NoProgress:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def start(self, stage: str, total: int | None) -> None:
        """See `Progress`."""

    def advance(self, count: int) -> None:
        """See `Progress`."""


class SpokenProgress(NoProgress):
    """A line on standard error for each stage that takes long.

    Args:
        program: says the line.
        seconds: how long a stage may take without a word.
    """

    def __init__(self, program: str, seconds: float = SPEAK_SECONDS) -> None:
        self._program = program
        self._seconds = seconds
        self._timer: threading.Timer | None = None

    def __exit__(self, *_: object) -> None:
        self._end_stage()

    def start(self, stage: str, total: int | None) -> None:
        """See `Progress`."""
        self._end_stage()
        steps = "" if total is None else f", {total:,} in all"
        self._timer = threading.Timer(self._seconds, self._say, (f"at work: {stage}{steps}",))
        self._timer.daemon = True
        self._timer.start()

    def _say(self, text: str) -> None:
        # Standard error may be closed by now.
        with contextlib.suppress(OSError, ValueError):
            to_stderr(self._program, text)

    def _end_stage(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def progress_bar(*, quiet: bool, spoken: str = "") -> ProgressBar:
    """A bar on a terminal; nothing if `quiet`.

    Args:
        quiet: whether to show nothing.
        spoken: the program that says what takes long in a pipe, or without the library rich;
            empty for silence there.
    """
    if quiet:
        return NoProgress()
    if not sys.stderr.isatty() or not is_installed("rich"):
        return SpokenProgress(spoken) if spoken else NoProgress()
    # Imported here: it takes a while, and a proxy does not have it.
    from inkgate.config.terminal_bar import TerminalBar  # noqa: PLC0415

    return TerminalBar()
