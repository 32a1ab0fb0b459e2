"""Bytes of a header field as text, in each charset in which a client may read them."""

from __future__ import annotations

import binascii
import codecs
import re
from collections.abc import Iterator
from typing import Final

_WORD: Final = re.compile(rb"=\?([^?\s]{1,40})\?([BbQq])\?([^?]*)\?=")
_BETWEEN_WORDS: Final = re.compile(rb"(\?=)[ \t]+(?==\?)")
_MAX_CHARSET: Final = 20


def texts_of(data: bytes, charset: str = "") -> Iterator[str]:
    """Some bytes as text: in the charset that they name, as UTF-8, as Latin-1.

    Args:
        data: a name.
        charset: as it was named, or empty. What nobody knows is passed over.
    """
    for one in _charsets(charset):
        try:
            yield data.decode(one, "replace")
        except (UnicodeError, LookupError, ValueError):
            continue
    # As wget saves it: the bytes.
    yield data.decode("utf-8", "surrogateescape")
    if not data.isascii():
        yield data.decode("cp1252", "replace")
        yield data.decode("latin-1")


def decoded_words(data: bytes) -> Iterator[str]:
    """A name with its encoded words decoded (RFC 2047)."""
    joined = _BETWEEN_WORDS.sub(rb"\1", data)

    def text(found: re.Match[bytes]) -> bytes:
        charset = found[1].decode("ascii", "replace")
        for decoded in texts_of(_word(found[2], found[3]), charset):
            return decoded.encode("utf-8", "surrogatepass")
        return found[0]

    yield _WORD.sub(text, joined).decode("utf-8", "replace")


def _word(kind: bytes, text: bytes) -> bytes:
    if kind in b"Qq":
        return binascii.a2b_qp(text, header=True)
    try:
        return binascii.a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)
    except binascii.Error:
        return text


def _charsets(name: str) -> Iterator[str]:
    if not name or len(name) > _MAX_CHARSET or name.lower() in ("utf-8", "utf8"):
        return
    try:
        found = codecs.lookup(name)
    except (LookupError, ValueError):
        return
    # Encodings of Python that are no charset decode bytes to bytes.
    if not found._is_text_encoding or found.name in ("idna", "punycode", "unicode_escape"):
        return
    yield found.name
    if found.name == "utf-16":
        yield "utf-16-le"
