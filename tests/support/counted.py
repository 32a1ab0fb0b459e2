"""inkgate-helper, or a worker of inkgate-icap, that leaves a letter in a file for what it does.

A derivation is `d`, a rule set that is opened `o`; in capital letters if it happens on the
main thread. What is done is the real thing; while another process has the file locked, no
derivation begins. Run as `python counted.py helper|icap_server FILE [OPTION]...`.
"""

from __future__ import annotations

import fcntl
import importlib
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

from inkgate.rules.crypto.derive import Deriver
from inkgate.rules.lookup import rule_set


def count_into(path: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def counted(act: Callable[..., Any], letter: bytes) -> Callable[..., Any]:
        def do(*arguments: Any) -> Any:
            if letter == b"d":
                fcntl.flock(fd, fcntl.LOCK_SH)
                fcntl.flock(fd, fcntl.LOCK_UN)
            on_main = threading.current_thread() is threading.main_thread()
            os.write(fd, letter.upper() if on_main else letter)
            return act(*arguments)

        return do

    Deriver.stretch = counted(Deriver.stretch, b"d")  # type: ignore[method-assign]
    rule_set.open_current = counted(rule_set.open_current, b"o")  # type: ignore[attr-defined]


if __name__ == "__main__":
    count_into(sys.argv[2])
    importlib.import_module(f"inkgate.{sys.argv[1]}.__main__").main(sys.argv[3:])
