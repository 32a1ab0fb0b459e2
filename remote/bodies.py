"""An answer's body, in pieces and never more of it than allowed.

Unpacked here and not by urllib3, which would unpack a piece whole before anybody can count
it: a thousandfold for gzip, and a thousandfold of that for each coding more.
"""

from __future__ import annotations

import http.client
import zlib
from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from inkgate.remote.errors import BrokenBodyError, TooLargeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from requests import Response

CODINGS: Final = "gzip"
"""What is asked for: the one coding that every server has."""
_PIECE: Final = 1 << 16
_PLAIN: Final = ("", "identity")
_PACKED: Final = ("gzip", "x-gzip", "deflate")
# Both of gzip and zlib, told from each other by their first bytes.
_ANY_WINDOW: Final = 32 + zlib.MAX_WBITS
_MIB: Final = 20
# More of them are no length, and Python makes no number of very many.
_DIGITS: Final = 18


def body_of(raw: Any, headers: Mapping[str, str], limit: int) -> Iterator[bytes]:
    """The body of an answer that was asked for with `stream=True`, unpacked.

    Args:
        raw: the answer as urllib3 has it.
        headers: of the answer.
        limit: how many bytes it may have, packed as well as unpacked.

    Raises:
        TooLargeError: it has more.
        BrokenBodyError: it ends too early, or cannot be unpacked.
    """
    length = headers.get("Content-Length") or "0"
    if length.isdecimal():
        # Not believed, but whoever says that much need not be read.
        _check(int(length[:_DIGITS]), limit)
    coding = headers.get("Content-Encoding", "").strip().lower()
    packed = _counted(_received(raw), limit)
    if coding in _PLAIN:
        return packed
    if coding in _PACKED:
        return _counted(_unpacked(packed), limit)
    raise BrokenBodyError("is packed in a way that was not asked for")


def take_whole(answer: Response, limit: int) -> None:
    """Read an answer's body within its bounds, and leave it in the answer for others.

    Raises:
        TooLargeError, BrokenBodyError: as from `body_of`. The answer is empty then.
    """
    raw, answer.raw = answer.raw, BytesIO()
    try:
        answer.raw = BytesIO(b"".join(body_of(raw, answer.headers, limit)))
    except BaseException:
        raw.close()
        raise
    finally:
        # What is there now is no longer packed.
        answer.headers.pop("Content-Encoding", None)
        raw.release_conn()


def check_parts(data: bytes, most: int) -> None:
    """See that JSON has not so many objects and lists that they would fill the memory.

    `[{},{},…` takes 20 times its size as Python's objects.

    Raises:
        TooLargeError: it has more than `most`.
    """
    if data.count(b"{") + data.count(b"[") > most:
        raise TooLargeError(f"has more than {most:,} objects and lists")


def _received(raw: Any) -> Iterator[bytes]:
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    try:
        # read() and not stream(): its lines between chunks are bounded.
        while piece := raw.read(_PIECE, decode_content=False):
            yield piece
    except (HTTPError, OSError, http.client.HTTPException, ValueError) as error:
        problem = f"cannot be downloaded ({type(error).__name__})"
        raise BrokenBodyError(problem) from None


def _unpacked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    unpack = zlib.decompressobj(_ANY_WINDOW)
    try:
        for piece in pieces:
            rest = piece
            while rest:
                if unpack.eof:
                    # Another member may follow.
                    unpack = zlib.decompressobj(_ANY_WINDOW)
                yield unpack.decompress(rest, _PIECE)
                rest = unpack.unconsumed_tail or unpack.unused_data
        yield unpack.flush()
    except zlib.error:
        raise BrokenBodyError("cannot be unpacked") from None
    if not unpack.eof:
        raise BrokenBodyError("is cut off")


def _counted(pieces: Iterable[bytes], limit: int) -> Iterator[bytes]:
    size = 0
    for piece in pieces:
        size += len(piece)
        _check(size, limit)
        yield piece


def _check(size: int, limit: int) -> None:
    if size > limit:
        raise TooLargeError(f"is larger than {limit >> _MIB} MiB")
