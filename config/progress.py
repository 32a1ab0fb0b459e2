"""How far a long command is: a bar on a terminal, silence in a pipe."""

from __future__ import annotations

import sys
from typing import Protocol, Self

from inkgate.config.extras import is_installed


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


def progress_bar(*, quiet: bool) -> ProgressBar:
    """A bar on a terminal; nothing if `quiet`, in a pipe, or without the library rich."""
    if quiet or not sys.stderr.isatty() or not is_installed("rich"):
        return NoProgress()
    # Imported here: it takes a while, and a proxy does not have it.
    from inkgate.config.terminal_bar import TerminalBar  # noqa: PLC0415

    return TerminalBar()
