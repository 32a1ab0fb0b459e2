"""Run a command of inkgate-rules and kill it (SIGKILL) just before its N-th change of a file.

    python killed.py N COUNTER inkgate-rules-arguments…

With N = 0 it runs to its end and writes the number of changes to the file COUNTER.
Python's audit events (PEP 578) are the points: every open for writing, rename,
removal, link and folder that Python asks for.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

CHANGES = frozenset(
    ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.chmod")
)


def main() -> None:
    from inkgate.rules.cli import main as command

    limit, counter, arguments = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    count = 0

    def hook(event: str, details: tuple[object, ...]) -> None:
        nonlocal count
        if event in CHANGES or (event == "open" and _writes(details)):
            count += 1
            if count == limit:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    try:
        command(arguments)
    finally:
        if not limit:
            total = count
            counter.write_text(str(total))


def _writes(details: tuple[object, ...]) -> bool:
    flags = details[2]
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


if __name__ == "__main__":
    main()
