"""How the last refresh or installation ended: kept beside the rules, for `inkgate status`."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from inkgate.config.errors import InkgateError
from inkgate.config.locks import is_locked
from inkgate.config.printable import printable, to_stderr
from inkgate.config.system_errors import explain
from inkgate.config.whole_file import write_whole
from inkgate.rules.errors import BusyError
from inkgate.rules.install.install import GENERATIONS

OUTCOME: Final = "last-refresh.json"
Action = Literal["refresh", "install"]
State = Literal["running", "done", "partial", "failed"]
_MODE: Final = 0o640
_MAX_BYTES: Final = 64 * 1024
_MAX_TEXT: Final = 2000


class Outcome(msgspec.Struct, kw_only=True):
    """One run of `inkgate-rules refresh` or `install`. Times in seconds since 1970.

    Attributes:
        action: which of both.
        state: `partial` if a source could not be read; `running` is also what a killed run
            leaves.
        started, ended: of this run.
        text: why it failed, or what could not be read; no secrets.
        serial, rules: what is installed since, as far as it is known.
        runs, failures: of all runs that were recorded; `partial` is no failure.
        failures_in_a_row: up to this run.
        last_good: when a run last ended without a failure.
    """

    action: Action
    state: State = "running"
    started: float = 0.0
    ended: float = 0.0
    text: str = ""
    serial: int = 0
    rules: int = 0
    runs: int = 0
    failures: int = 0
    failures_in_a_row: int = 0
    last_good: float = 0.0


def read_outcome(folder: Path) -> Outcome | None:
    """What `recorded` wrote in the folder of installed rules; None if there is nothing of it.

    Raises:
        OSError: it cannot be read.
    """
    try:
        fd = os.open(folder / OUTCOME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        data = os.read(fd, _MAX_BYTES) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    finally:
        os.close(fd)
    try:
        return msgspec.json.decode(data, type=Outcome)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


@contextlib.contextmanager
def recorded(folder: Path, action: Action, locks: Sequence[Path] = ()) -> Iterator[Outcome]:
    """Keep how what happens in the `with` ends, whatever way it ends.

    Args:
        folder: that of installed rules.
        action: what happens.
        locks: the lock files of who does the same; while one is held, the record is that run's.

    Yields:
        What to fill in: serial and rules, `partial` with its text.
    """
    before = _before(folder)
    outcome = Outcome(
        action=action,
        started=time.time(),
        serial=before.serial,
        rules=before.rules,
        runs=before.runs + 1,
        failures=before.failures,
        failures_in_a_row=before.failures_in_a_row,
        last_good=before.last_good,
    )
    # What is wrong with the file is said once, at the end; a failure has a line of its own.
    if not any(is_locked(lock) for lock in locks):
        _write(folder, outcome)
    try:
        yield outcome
    except BusyError:
        # The other run records how it ends, unless it began in the same moment.
        if _before(folder).started == outcome.started:
            _write(folder, before)
        raise
    except BaseException as error:
        _fail(outcome, error)
        _write(folder, outcome)
        raise
    if outcome.state == "running":
        outcome.state = "done"
    outcome.ended = outcome.last_good = time.time()
    outcome.failures_in_a_row = 0
    if (problem := _write(folder, outcome)) is not None:
        to_stderr(
            "inkgate-rules",
            f"warning: {folder / OUTCOME}: {problem}: inkgate status cannot tell of this {action}",
        )


def _before(folder: Path) -> Outcome:
    with contextlib.suppress(OSError):
        found = read_outcome(folder)
        if found is not None:
            return found
    return Outcome(action="refresh")


def _fail(outcome: Outcome, error: BaseException) -> None:
    # Of a fault of our own only the type is kept: the text may hold anything.
    text = str(error) if isinstance(error, InkgateError) else explain(error)
    if text is None:
        text = f"ended by {type(error).__name__}"
    outcome.state, outcome.ended = "failed", time.time()
    outcome.text = printable(text)[:_MAX_TEXT]
    outcome.failures += 1
    outcome.failures_in_a_row += 1


def _write(folder: Path, outcome: Outcome) -> str | None:
    """Write the file; what is wrong if it cannot be written.

    Only beside rules of our own: the setting may name another tool's folder by mistake.
    """
    if (folder / GENERATIONS).is_dir():
        try:
            write_whole(folder / OUTCOME, msgspec.json.encode(outcome), _MODE)
        except OSError as error:
            return error.strerror or "cannot be written"
    return None
