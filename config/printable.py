"""Text from outside, made safe for a terminal, a log line and a cell of a table.

Names of files, MISP's words, clients, methods and messages of other tools' rules may
hold escape sequences that clear a screen or forge a line (CWE-150). What is printed goes
through here: JSON through `printable_json`, everything else through `printable`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final

Log = Callable[[str], None]
"""Takes one line without secrets, for standard error."""

# How a part of a traceback begins that is a place in a program.
_FRAME: Final = "  File "
_SPACES: Final = frozenset("\t\n\v\f\r")


def printable(text: str) -> str:
    r"""Text as one line: tabs and line ends become spaces, other control characters escapes.

    Escapes are Python's (`\x1b`), so that a reader sees what was there. They are also what
    is left of characters without a glyph (reversed writing, lone surrogates).
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c in _SPACES else ascii(c)[1:-1] for c in text)


def printable_traceback(error: BaseException) -> str:
    """An error with its traceback, the error's own text as one line: it may quote anything."""
    # Imported here: few processes end with one.
    import traceback  # noqa: PLC0415

    return "\n".join(
        "\n".join(map(printable, part.splitlines()))
        if part.startswith(_FRAME)
        else printable(part.rstrip())
        for part in traceback.format_exception(error)
    )


def printable_json(data: bytes) -> str:
    r"""JSON that means the same, with escapes (`\u009b`) for what `printable` would not show.

    Encoders escape what RFC 8259 tells them to; a terminal obeys more than that.
    """
    text = data.decode()
    if text.isprintable():
        return text
    # Outside of strings JSON has line ends only where it is indented.
    return "".join(c if c.isprintable() or c == "\n" else _json_escape(c) for c in text)


def to_stderr(program: str, text: str) -> None:
    """One line to standard error: the program's name and a text."""
    write_line(f"{program}: {printable(text)}")


def write_line(line: str) -> None:
    """One line to standard error, with its end in one write: other processes write there, too.

    Args:
        line: it is printable.
    """
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _json_escape(character: str) -> str:
    """RFC 8259, section 7: one escape for each of its 16-bit units."""
    units = character.encode("utf-16-be").hex()
    return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))
