"""Why an export goes no further."""

from __future__ import annotations


class ExportWaits(Exception):  # noqa: N818 (it says what happens)
    """Nothing is taken now; what was not taken stays in the journal. Holds no secret."""


class ExportAway(ExportWaits):
    """The next time it may go: a disk is full, a server does not answer.

    Args:
        why: for the log.
        pause: the seconds for which a server asks to be left alone.
    """

    def __init__(self, why: str, pause: float = 0.0) -> None:
        super().__init__(why)
        self.pause = pause


class ExportRefused(ExportWaits):
    """Waiting does not help: an operator has to act."""
