"""What the system refused, in one line with the place and the remedy.

Python says of a full disk `[Errno 28] No space left on device`, often without a path. The
databases (SQLite, LMDB) raise errors of their own for the same faults.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import sys
from typing import Final

_ROOM: Final = "make room there, then run the command again"
_RIGHTS: Final = "run it as a user who may (root, or sudo), or correct its owner and mode"
_PATH: Final = "correct the path, or make what is missing"
_REMEDIES: Final = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: "raise the limit of file sizes (ulimit -f)",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: "mount it for writing, or name another folder in inkgate.toml",
    errno.ENOENT: _PATH,
    errno.ENOTDIR: _PATH,
    errno.EISDIR: _PATH,
    errno.EEXIST: "move away what lies there",
    errno.ELOOP: "put a file or folder in place of the symbolic link",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "raise the limit of open files (sysctl fs.file-max)",
    errno.ENOMEM: "free memory, or let it use fewer cores (--jobs, or taskset)",
    errno.EIO: "see whether its disk is full or damaged (df, dmesg)",
}
_OTHERWISE: Final = "see that the path and its disk can be used"


def remedy_of(error: OSError) -> str:
    """What to do about what the system refused."""
    return _REMEDIES.get(error.errno or 0, _OTHERWISE)


def explain(error: BaseException) -> str | None:
    """The line for an error of the system or of a database; None for any other error."""
    if isinstance(error, OSError):
        place, problem = _place(error), error.strerror or str(error)
        remedy = remedy_of(error)
        return f"{place}: {problem}; {remedy}" if place else f"{problem}; {remedy}"
    # A library that was never imported has raised nothing, and importing it costs time.
    for module in ("lmdb", "sqlite3"):
        kind = getattr(sys.modules.get(module), "Error", None)
        if kind is not None and isinstance(error, kind):
            return f"a database file: {error}; {_REMEDIES[errno.EIO]}"
    return None


def open_standard_streams() -> None:
    """Take the standard streams that we were started without.

    Else a file that is opened later, a database for instance, would have their number, and what
    is printed would be written into it. What is printed without an output is an error then, as
    of other commands; what would be said on standard error is thrown away.
    """
    for number, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free, so this one.
            os.open(os.devnull, flags)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def check_reader() -> None:
    """See whether somebody still reads the output, of a command that may have none for long.

    Raises:
        BrokenPipeError: it is a pipe whose other end is closed.
    """
    if _is_unread(1):
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def is_reader_gone(error: BaseException) -> bool:
    """Whether it says that whoever read the output wants no more of it, as `head` does.

    What else was printed is thrown away then, so that Python does not try it at its end.
    """
    if not isinstance(error, BrokenPipeError) or not any(map(_is_unread, (1, 2))):
        # Another pipe or connection: a server's, for instance.
        return False
    _discard_output()
    return True


def _is_unread(descriptor: int) -> bool:
    """Whether it is a pipe whose other end is closed."""
    asked = select.poll()
    asked.register(descriptor, 0)
    return any(events & select.POLLERR for _, events in asked.poll(0))


def flush_output() -> None:
    """Write out what was printed, so that a full disk is seen before the command ends.

    Raises:
        OSError: it cannot be written. What is left of it is thrown away: Python would try
            again at its end, and end with a status of its own.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read it wants no more of it.
        _discard_output()
    except OSError as error:
        _discard_output()
        error.filename = "standard output"
        raise


def _discard_output() -> None:
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _place(error: OSError) -> str:
    if error.filename is None:
        return "standard output" if _is_about_output(error) else ""
    name = os.fsdecode(error.filename) if not isinstance(error.filename, int) else "a file"
    return f"{name} and {os.fsdecode(error.filename2)}" if error.filename2 else name


def _is_about_output(error: OSError) -> bool:
    """Whether it was raised while something was printed, which these two libraries do."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    name = last.tb_frame.f_globals.get("__name__", "") if last else ""
    return name.partition(".")[0] in ("click", "rich")
