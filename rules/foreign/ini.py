"""INI files as Python's configparser writes them, read strictly and without interpolation."""

from __future__ import annotations

import base64
import binascii
import configparser
import functools
import hashlib
import hmac
import re
from pathlib import Path
from typing import Final

from inkgate.config.printable import printable
from inkgate.rules.foreign.errors import ForeignError
from inkgate.rules.foreign.files import read_bounded

MAX_BYTES: Final = 65_536
AES_KEY_LENGTHS: Final = (16, 24, 32)


class Ini:
    """One file's sections.

    Raises (from every method):
        ForeignError: naming the line where it can.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        data = read_bounded(path, MAX_BYTES)
        try:
            self._text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ForeignError(path, None, "is not UTF-8", _AGAIN) from None
        self._parser = configparser.RawConfigParser()
        try:
            self._parser.read_string(self._text)
        except configparser.Error as error:
            # The parser's error text quotes the line, and the line may contain a secret.
            line = getattr(error, "lineno", None) or next(iter(getattr(error, "errors", ())), (0,))
            number = line if isinstance(line, int) else line[0]
            raise ForeignError(path, number or None, "is not an INI line", _AGAIN) from None

    def has(self, section: str) -> bool:
        """Whether there is such a section."""
        return self._parser.has_section(section)

    def text(self, section: str, key: str) -> str:
        """A value as it stands."""
        value = self._parser.get(section, key, fallback=None) if self.has(section) else None
        if value is None:
            raise ForeignError(self.path, None, f"[{section}] {key} is missing", _AGAIN)
        return value

    def number(self, section: str, key: str, most: int, cap: str) -> int:
        """A count from 1 to a cap of this machine, which is called `cap`."""
        text = self.text(section, key)
        if not re.fullmatch(r"[0-9]{1,20}", text, re.ASCII) or int(text) < 1:
            raise self.wrong(key, "is not a positive number")
        if int(text) > most:
            raise self.wrong(
                key, f"is {int(text):,}, above this machine's cap of {most:,}", f"raise {cap}"
            )
        return int(text)

    def one_of(self, section: str, key: str, known: tuple[str, ...]) -> str:
        """One of a few words."""
        text = self.text(section, key)
        if text not in known:
            raise self.wrong(key, f"is none of {', '.join(known)}")
        return text

    def hash_name(self, section: str) -> str:
        """`hash_name`: any hash function that Python has, in lower case; both tools take all."""
        name = self.text(section, "hash_name").lower()
        if not re.fullmatch(r"[a-z0-9_-]{1,32}", name, re.ASCII) or not _is_usable(name):
            raise self.wrong("hash_name", "is no hash function that this Python has")
        return name

    def key_length(self, section: str) -> int:
        """`dklen`: the length of an AES key in bytes."""
        return int(self.one_of(section, "dklen", tuple(map(str, AES_KEY_LENGTHS))))

    def decoded(self, section: str, key: str, *, least: int = 0, most: int = MAX_BYTES) -> bytes:
        """A value in base64."""
        data = decode_base64(self.text(section, key))
        if data is None:
            raise self.wrong(key, "is not base64")
        if not least <= len(data) <= most:
            raise self.wrong(key, f"has {len(data)} bytes, not {least} to {most}")
        return data

    def wrong(self, key: str, problem: str, remedy: str = "") -> ForeignError:
        """The error for a key, with its line."""
        starts = re.compile(rf"{re.escape(key)}\s*[=:]", re.IGNORECASE)
        lines = enumerate(self._text.splitlines(), 1)
        found = (n for n, line in lines if starts.match(line))
        return ForeignError(
            self.path, next(found, None), f"{printable(key)} {problem}", remedy or _AGAIN
        )


@functools.lru_cache(maxsize=256)
def _is_usable(hash_name: str) -> bool:
    try:
        hmac.digest(b"key", b"", hash_name)
        hashlib.pbkdf2_hmac(hash_name, b"", b"salt", 1)
    except (ValueError, TypeError):
        return False
    return True


def decode_base64(text: str) -> bytes | None:
    """Strict base64 (RFC 4648, section 4); None if it is not."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


_AGAIN: Final = "ask for the rules again"
