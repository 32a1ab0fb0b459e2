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
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, cast

from inkgate.config.errors import Unreadable
from inkgate.config.unpacking import MAGIC_BYTES, Opener, opener_of, unpacking_errors
from inkgate.remote.bodies import check_parts
from inkgate.remote.errors import TooLargeError

MAX_FILE_BYTES: Final = 1 << 30
MAX_PARTS: Final = 4_000_000
HEAD_BYTES: Final = 1 << 16
_CHUNK_BYTES: Final = 1 << 20
_MAX_LINE: Final = 16_384
_GET_AGAIN: Final = "get the file again"
_ASIDE: Final = "write it under another name and rename it when it is whole"
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
        looks: its size and the time of its last change (nanoseconds), when it was opened first.

        is_whole: whether a reader has looked through all of it; readers set it, for themselves.

    Raises:
        Unreadable: it is not there, no regular file, of a kind that nobody reads, or damaged
            in its first bytes.
    """

    def __init__(self, path: Path, given: Path | None = None) -> None:
        self._path = path
        self.given = given or path
        self.is_whole = False
        self.name = os.fsencode(self.given.name).decode("utf-8", "replace")
        self.looks = looks_of(self._found())
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
            raise self.unreadable("is larger than 1 GiB", "split it")
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
            raise self.unreadable(error.problem, "split it") from None
        return data

    def copy_to(self, target: BinaryIO) -> None:
        """Write its bytes elsewhere, packed as they are.

        Raises:
            Unreadable: it cannot be read, or is another one than when it was opened first.
        """
        with self._plain() as plain:
            shutil.copyfileobj(plain, target, _CHUNK_BYTES)
            if looks_of(os.fstat(plain.fileno())) != self.looks:
                raise self.unreadable("changed while it was read", _ASIDE)

    def check_whole(self) -> None:
        """Unpack all of it once, so that it is known to be sound before its first line.

        Raises:
            Unreadable: it is damaged, or larger than 1 GiB unpacked.
        """
        size = 0
        with self._opened() as file:
            while part := file.read(_CHUNK_BYTES):
                size += len(part)
                if size > MAX_FILE_BYTES:
                    raise self.unreadable("is larger than 1 GiB unpacked", "split it")

    def lines(self, longest: int = _MAX_LINE, *, with_ends: bool = False) -> Iterator[str]:
        """Its lines without their ends (LF, CRLF or CR), or each with LF.

        One that is longer than 16,384 characters is cut, and still too long for any value.
        Bytes that are no UTF-8 come as surrogates (PEP 383).

        Raises:
            Unreadable: it is damaged, or not of the encoding that its byte order mark claims.
        """
        encoding = self.encoding or "utf-8"
        errors = "strict" if self.encoding else "surrogateescape"
        number = 0
        with self._opened() as file:
            text = io.TextIOWrapper(cast(BinaryIO, io.BufferedReader(_Raw(file))), encoding, errors)
            try:
                while line := text.readline(longest):
                    number += 1
                    yield line if with_ends else line.rstrip("\n")
                    while len(line) == longest and not line.endswith("\n"):
                        line = text.readline(longest)
            except UnicodeError:
                problem = f"is not {_title(encoding)}"
                raise self.unreadable(problem, _GET_AGAIN, number + 1) from None

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
            problem = error.strerror or "cannot be read"
            raise self.unreadable(problem, "check the path and its permissions") from None

    @contextmanager
    def _plain(self) -> Iterator[BinaryIO]:
        # A pipe would hold us and a device may do anything: neither is ever opened.
        self._refuse_other(self._found())
        try:
            file = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            problem = error.strerror or "cannot be read"
            raise self.unreadable(problem, "check the path and its permissions") from None
        with os.fdopen(file, "rb") as opened:
            # Somebody may have changed it meanwhile.
            self._refuse_other(os.fstat(opened.fileno()))
            yield opened

    def _refuse_other(self, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise self.unreadable("is not a regular file", "give a file")

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


def looks_of(found: os.stat_result) -> tuple[int, int]:
    """By which a file is taken for the same: its size, and when it changed (nanoseconds)."""
    return found.st_size, found.st_mtime_ns


def unpacked_name(name: str) -> str:
    """A file's name in lower case, without the suffix of its compression."""
    name = name.lower()
    return next((name.removesuffix(s) for s in _PACKED_SUFFIXES if name.endswith(s)), name)


class _Raw(io.RawIOBase):
    """What `io.BufferedReader` needs of an unpacker: some give no `readinto`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        data = self._file.read(len(buffer))
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
