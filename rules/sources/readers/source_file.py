"""A source's file: regular, opened once, unpacked and decoded, whatever its name says.

Files come from strangers. What one holds is told by its bytes: what it is packed with by the
first of them, its text's encoding by its byte order mark, its format by `registry`.
"""

from __future__ import annotations

import codecs
import io
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, cast

from inkgate.config.errors import Unreadable
from inkgate.config.regular_files import NOT_REGULAR, open_regular
from inkgate.config.unpacking import MAGIC_BYTES, Opener, opener_of, unpacking_errors
from inkgate.remote.bodies import check_parts
from inkgate.remote.errors import TooLargeError

MAX_FILE_BYTES: Final = 1 << 30
MAX_PARTS: Final = 4_000_000
HEAD_BYTES: Final = 1 << 16
_CHUNK_BYTES: Final = 1 << 20
_TOO_LARGE: Final = "is larger than 1 GiB"
_SPLIT: Final = "split it"
_MAX_LINE: Final = 16_384
_GET_AGAIN: Final = "get the file again"
_ASIDE: Final = "write it under another name and rename it when it is whole"
_PATH: Final = "check the path and its permissions"
_GIVE_TEXT: Final = "give a text, CSV or JSON file"
_DAMAGED: Final = "is damaged"
# What people give in place of the file that is in it.
_NOT_READ: Final = (
    (b"PK\x03\x04", "is a ZIP archive", "unpack it, and give the files in it"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7-Zip archive", "unpack it, and give the files in it"),
    (b"Rar!", "is a RAR archive", "unpack it, and give the files in it"),
    (b"%PDF", "is a PDF", _GIVE_TEXT),
    (b"SQLite format 3\0", "is an SQLite database", "export it as CSV or JSON"),
)
# `[` also begins an IPv6 address with a port, and a section of a filter list.
_JSON: Final = re.compile(r'\{|\[\s*(?:[{\["\]]|$)')
_PACKED_SUFFIXES: Final = (".gz", ".bz2", ".xz", ".zst", ".zstd")
_TAR_AT: Final = 257
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class SourceFile:
    """A regular file of a source.

    Args:
        path: where its bytes are: its own place, or that of a copy.
        given: the file as it was named to us, which messages name.

    Attributes:
        given: as above.
        name: the last part of it, for places.
        head: its first 64 KiB, unpacked.
        looks: how it looked when it was opened first.

        is_whole: whether a reader has looked through all of it; readers set it, for themselves.

    Raises:
        Unreadable: it is not there, no regular file, larger than 1 GiB, of a kind that nobody
            reads, or damaged in its first bytes.
    """

    def __init__(self, path: Path, given: Path | None = None) -> None:
        self._path = path
        self.given = given or path
        self.is_whole = False
        self.name = os.fsencode(self.given.name).decode("utf-8", "replace")
        self.looks = looks_of(self._found())
        if self.looks.size > MAX_FILE_BYTES:
            raise self.unreadable(_TOO_LARGE, _SPLIT)
        with self._opened() as file:
            self.head = file.read(HEAD_BYTES)
        self._refuse_what_nobody_reads()
        self.encoding = _encoding(self.head)
        self._refuse_xml()

    @property
    def is_packed(self) -> bool:
        """Whether it is compressed."""
        with self._plain() as file:
            return _opener(file) is not None

    @property
    def suffix(self) -> str:
        """The ending of its name in lower case, without that of its compression."""
        return Path(unpacked_name(self.given.name)).suffix

    @property
    def beginning(self) -> str:
        """Its head as text; what is no text of its encoding is replaced."""
        return self.head.decode(self.encoding or "utf-8", "replace").lstrip("\ufeff")

    @property
    def is_json(self) -> bool:
        """Whether it begins as JSON does, or, beginning as nothing else, is named so."""
        return bool(_JSON.match(self.beginning.lstrip())) or self.suffix == ".json"

    def unreadable(self, problem: str, remedy: str, line: int | None = None) -> Unreadable:
        """The fault that names this file as it was given."""
        return Unreadable(self.given, line, problem, remedy)

    def read_all(self) -> bytes:
        """All of it, as UTF-8 without a byte order mark where it has one.

        Raises:
            Unreadable: it is larger than 1 GiB, damaged, or not of the encoding it claims.
        """
        with self._opened() as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise self.unreadable(_TOO_LARGE, _SPLIT)
        if self.encoding is None:
            return data
        try:
            return data.decode(self.encoding).encode()
        except UnicodeError:
            raise self.unreadable(f"is not {_title(self.encoding)}", _GET_AGAIN) from None

    def read_json(self) -> bytes:
        """All of a JSON file, if it does not fill the memory when it is decoded.

        Raises:
            Unreadable: as `read_all`, or it has more than 4,000,000 objects and lists.
        """
        data = self.read_all().removeprefix(codecs.BOM_UTF8)
        try:
            check_parts(data, MAX_PARTS)
        except TooLargeError as error:
            raise self.unreadable(error.problem, _SPLIT) from None
        return data

    def copy_to(self, target: BinaryIO) -> None:
        """Write its bytes elsewhere, packed as they are.

        Raises:
            Unreadable: it cannot be read, is larger than 1 GiB, or another one than when it was
                opened first.
        """
        with self._plain() as plain:
            shutil.copyfileobj(self._bounded(plain), target, _CHUNK_BYTES)
            if looks_of(os.fstat(plain.fileno())) != self.looks:
                raise self.unreadable("changed while it was read", _ASIDE)

    def check_whole(self) -> None:
        """Unpack all of it once, so that it is known to be sound before its first line.

        Raises:
            Unreadable: it is damaged, or larger than 1 GiB unpacked.
        """
        with self._opened() as file:
            unpacked = self._bounded(file, f"{_TOO_LARGE} unpacked")
            while unpacked.read(_CHUNK_BYTES):
                pass

    def lines(self, longest: int = _MAX_LINE, *, with_ends: bool = False) -> Iterator[str]:
        """Its lines without their ends (LF, CRLF or CR), or each with LF.

        One that is longer than 16,384 characters is cut, and still too long for any value.
        Bytes that are no UTF-8 come as surrogates (PEP 383).

        Raises:
            Unreadable: it is damaged, larger than 1 GiB unpacked, or not of the encoding that
                its byte order mark claims.
        """
        encoding = self.encoding or "utf-8"
        errors = "strict" if self.encoding else "surrogateescape"
        number = 0
        with self._opened() as file:
            buffered = io.BufferedReader(self._bounded(file))
            text = io.TextIOWrapper(cast(BinaryIO, buffered), encoding, errors)
            try:
                while line := text.readline(longest):
                    number += 1
                    yield line if with_ends else line.rstrip("\n")
                    while len(line) == longest and not line.endswith("\n"):
                        line = text.readline(longest)
            except UnicodeError:
                problem = f"is not {_title(encoding)}"
                raise self.unreadable(problem, _GET_AGAIN, number + 1) from None

    def _bounded(self, file: BinaryIO, problem: str = _TOO_LARGE) -> _Bounded:
        return _Bounded(file, self.unreadable(problem, _SPLIT))

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        """The file's unpacked bytes. What is raised while it is read names the file."""
        with self._plain() as plain:
            opener = _opener(plain)
            try:
                yield opener(plain) if opener else plain
            except OSError as error:
                raise self.unreadable(error.strerror or _DAMAGED, _GET_AGAIN) from None
            except EOFError:
                raise self.unreadable("is cut off", _GET_AGAIN) from None
            except unpacking_errors():
                raise self.unreadable(_DAMAGED, _GET_AGAIN) from None

    def _found(self) -> os.stat_result:
        try:
            return self._path.stat()
        except OSError as error:
            raise self.unreadable(error.strerror or "cannot be read", _PATH) from None

    @contextmanager
    def _plain(self) -> Iterator[BinaryIO]:
        try:
            file = open_regular(self._path)
        except OSError as error:
            problem = error.strerror or "cannot be read"
            remedy = "give a file" if problem == NOT_REGULAR else _PATH
            raise self.unreadable(problem, remedy) from None
        with file:
            yield file

    def _refuse_what_nobody_reads(self) -> None:
        for magic, problem, remedy in _NOT_READ:
            if self.head.startswith(magic):
                raise self.unreadable(problem, remedy)
        if self.head[_TAR_AT : _TAR_AT + 5] == b"ustar":
            raise self.unreadable("is a tar archive", "unpack it, and give the files in it")
        if _encoding(self.head) is None and b"\0" in self.head:
            raise self.unreadable("is not text", _GIVE_TEXT)

    def _refuse_xml(self) -> None:
        # As a list, a line of it might be taken for an indicator.
        text = self.beginning.lstrip()
        if text.startswith("<") and "STIX_Package" in text:
            raise self.unreadable("is STIX 1 (XML)", "give STIX 2.1, as stix2-elevator makes it")
        if text.startswith("<?xml"):
            raise self.unreadable("is XML", _GIVE_TEXT)


class Looks(NamedTuple):
    """By which a file is taken for the same: anybody may set `mtime`, nobody `ctime`.

    Attributes:
        size: in bytes.
        mtime, ctime: when its content changed, or anything of it (nanoseconds since 1970).
        inode: its number in its file system.
    """

    size: int
    mtime: int
    ctime: int
    inode: int


def looks_of(found: os.stat_result) -> Looks:
    """How a file looks by its status."""
    return Looks(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def unpacked_name(name: str) -> str:
    """A file's name in lower case, without the suffix of its compression."""
    name = name.lower()
    return next((name.removesuffix(s) for s in _PACKED_SUFFIXES if name.endswith(s)), name)


class _Bounded(io.RawIOBase):
    """A file's bytes, up to 1 GiB of them: by what is read, since a file may grow.

    It gives `io.BufferedReader` the `readinto` that some unpackers have not.

    Args:
        too_large: raised if there are more.
    """

    def __init__(self, file: BinaryIO, too_large: Unreadable) -> None:
        self._file = file
        self._left = MAX_FILE_BYTES
        self._too_large = too_large

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise self._too_large
        buffer[: len(data)] = data
        return len(data)


def _opener(file: BinaryIO) -> Opener | None:
    beginning = file.read(MAGIC_BYTES)
    file.seek(0)
    return opener_of(beginning, "publisher", "a source in zstandard")


def _encoding(head: bytes) -> str | None:
    """What a byte order mark says; None without one."""
    return next((name for mark, name in _MARKS if head.startswith(mark)), None)


def _title(encoding: str) -> str:
    return encoding.removesuffix("-sig").upper()
