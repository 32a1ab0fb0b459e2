"""Reading a tar archive that strangers may have made: plain files in USTAR, nothing else.

tarfile unpacks extended headers of any size, and sparse maps, before anybody can look
at what they say. Of POSIX's ustar format (pax(1), "ustar Interchange Format") packs
need one member type, so one header block a member is read and the rest refused.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple

_BLOCK: Final = 512
_CHUNK: Final = 1 << 20
_FILES: Final = (tarfile.REGTYPE, tarfile.AREGTYPE)


class Member(NamedTuple):
    """One file of an archive. Its chunks must be used up before the next member is asked for."""

    name: str
    size: int
    chunks: Iterator[bytes]


def read_members(source: BinaryIO) -> Iterator[Member]:
    """The files of an archive, in order, in one pass.

    Raises:
        tarfile.TarError: it is not one, is cut off, or holds something else than files.
    """
    while (block := _exactly(source, _BLOCK)) != bytes(_BLOCK):
        info = _header(block)
        if info.type not in _FILES or info.size < 0:
            raise tarfile.ReadError("a member that is no plain file")
        yield Member(info.name, info.size, _content(source, info.size))
        _exactly(source, -info.size % _BLOCK)


def _header(block: bytes) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(block, "ascii", "strict")
    except (ValueError, OverflowError):
        # Names and owners of our own archives are ASCII.
        raise tarfile.ReadError("a header that is not ASCII") from None


def _content(source: BinaryIO, size: int) -> Iterator[bytes]:
    while size:
        data = _exactly(source, min(size, _CHUNK))
        size -= len(data)
        yield data


def _exactly(source: BinaryIO, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = source.read(size - len(data))
        if not more:
            raise tarfile.ReadError("cut off")
        data += more
    return data
