"""What a terminal gives to the commands that are started in it."""

from __future__ import annotations

import signal


def heed_interrupts() -> None:
    """Let Ctrl-C end a process: for `preexec_fn`.

    Whoever started the tests in the background has them, and all that they start, ignore
    it (POSIX, Shell Command Language, section 2.11).
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
