"""What a file may be called: in Content-Disposition, or at the end of its URL's path.

Sources: RFC 6266, 8187 (`filename*`), 2231 (continuations), 2047 (encoded words), and what
curl, wget, aria2, Chromium and Firefox make of what is none of these, as measured
(tests/icap_server/file_names.json). They differ, so each name that one of them may use is
given.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import unquote_to_bytes

from inkgate.icap_server.body.header_text import decoded_words, texts_of

_MAX_NAMES: Final = 96
_MAX_OF_URI: Final = 24
# No file system takes longer ones; what comes with folders may be longer.
_MAX_NAME, _MAX_PATH = 255, 600
_MAX_HEADER: Final = 8192
_MAX_PARAMETERS: Final = 64
_MAX_HEADERS: Final = 4
_MAX_VALUE: Final = 800
# A name, the number of its part, whether it is percent-encoded; the value is what follows.
_START: Final = re.compile(rb"filename(?:\*([0-9]{1,4}))?(\*)?[ \t]*=[ \t]*", re.IGNORECASE)
_QUOTED: Final = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)
_FOLDERS: Final = re.compile(rb"[/\\]")
_ORDINARY: Final = re.compile(r"\w[\w-]*(?:[.]\w[\w-]*)*", re.ASCII)
# Browsers put _ in place of what a file system may not take, and of what deceives the eye.
_FORBIDDEN: Final = re.compile(
    r'[\x00-\x1f\x7f-\x9f\udc80-\udcff"*/:<>?\\|\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufffe]'
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f/]")


def file_names(uri: str, dispositions: Iterable[bytes]) -> tuple[str, ...]:
    """Possible names, without folders, the likeliest first; none twice, 96 at most.

    Args:
        uri: the request's.
        dispositions: values of Content-Disposition.
    """
    found: dict[str, None] = {}
    of_uri = _spelled(_from_uri(uri), _MAX_OF_URI)
    for value in tuple(dispositions)[:_MAX_HEADERS]:
        found |= _spelled(_from_disposition(value[:_MAX_HEADER]), _MAX_NAMES)
    likeliest = tuple(name for name in found if name not in of_uri)
    return likeliest[: _MAX_NAMES - len(of_uri)] + tuple(of_uri)


def _spelled(names: Iterable[str], most: int) -> dict[str, None]:
    """Names as clients save them, none twice, in their order."""
    found: dict[str, None] = {}
    for name in names:
        for spelled in _as_saved(name) if len(name) <= _MAX_PATH else ():
            if 0 < len(spelled) <= _MAX_NAME:
                found[spelled] = None
        if len(found) >= most:
            break
    return dict.fromkeys(tuple(found)[:most])


def _from_disposition(value: bytes) -> Iterator[str]:
    extended, parts, joined = [], [], []
    numbered: dict[int, bytes] = {}
    for start in list(_START.finditer(value))[:_MAX_PARAMETERS]:
        number, is_extended = start[1], bool(start[2])
        text = value[start.end() : start.end() + _MAX_VALUE]
        found = _extents(text)
        parts.append(_part(text, is_extended=is_extended))
        if number is not None:
            numbered.setdefault(int(number), found[0])
        elif is_extended:
            extended += [text for one in found for text in _extended_texts(one)]
        else:
            joined += found
    yield from extended
    for one in joined:
        yield from _plain_texts(one)
    yield from _of_parts(numbered, parts)


def _part(value: bytes, *, is_extended: bool) -> bytes:
    """What wget takes when it joins values: without charset, with single quotes."""
    if value.startswith(b'"'):
        text = value[1:].partition(b'"')[0]
    else:
        text = value.partition(b";")[0].strip(b" \t")
    return text.rpartition(b"'")[2] if is_extended else text


def _of_parts(numbered: dict[int, bytes], parts: list[bytes]) -> Iterator[str]:
    """Names that come in parts, by their numbers (Firefox) or as they stand (wget)."""
    orders = [[numbered[number] for number in sorted(numbered)]] if numbered else []
    whole = 0
    while whole in numbered:
        whole += 1
    orders.append([numbered[number] for number in range(whole)])
    if len(parts) > 1:
        # wget takes each without its folders.
        orders += [parts, [_FOLDERS.split(part)[-1] for part in parts]]
    for order in orders:
        text = b"".join(order)
        yield from _extended_texts(text)
        yield from _plain_texts(text)


def _extents(value: bytes) -> list[bytes]:
    """How far a value may go, the likeliest first; without quotes."""
    found = []
    if quoted := _QUOTED.match(value):
        found += [_ESCAPED.sub(rb"\1", quoted[1]), quoted[1], value[1:].partition(b'"')[0]]
        if not value[quoted.end() :].strip() or value[quoted.end() :].lstrip()[:1] == b";":
            return list(dict.fromkeys(found))
    # Chromium takes all that follows, where a quote is not closed.
    ends = (_to_semicolon(value), value.partition(b";")[0], value)
    for end in ends if b'"' in value else ends[:2]:
        bare = end.strip(b" \t")
        for mark in (b'"', b"'"):
            if bare.startswith(mark):
                inner = bare[1:]
                found += [inner.removesuffix(mark), inner.partition(mark)[0]]
                found.append(_ESCAPED.sub(rb"\1", found[-2]))
        found.append(bare)
        found.append(_ESCAPED.sub(rb"\1", bare))
    return list(dict.fromkeys(found))


def _to_semicolon(value: bytes) -> bytes:
    """Up to the first semicolon outside quotes; a quote that is not closed is none."""
    at = 0
    while (quote := value.find(b'"', at)) >= 0 and b";" not in value[at:quote]:
        quoted = _QUOTED.match(value, quote)
        if quoted is None:
            break
        at = quoted.end()
    end = value.find(b";", at)
    return value if end < 0 else value[:end]


def _extended_texts(value: bytes) -> Iterator[str]:
    charset, quote, rest = value.partition(b"'")
    _, second, text = rest.partition(b"'")
    named = charset.decode("ascii", "replace") if quote else ""
    for encoded in (text, value.rpartition(b"'")[2]) if second else (rest, value):
        data = unquote_to_bytes(encoded)
        yield from texts_of(data, named)
        yield from texts_of(unquote_to_bytes(data), named)
        yield from texts_of(encoded)


def _plain_texts(value: bytes) -> Iterator[str]:
    yield from texts_of(value)
    if b"%" in value:
        yield from texts_of(unquote_to_bytes(value))
    if b"=?" in value:
        yield from decoded_words(value)
        yield from decoded_words(unquote_to_bytes(value))


def _from_uri(uri: str) -> Iterator[str]:
    path = re.sub(r"^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*", "", uri)
    last = re.split(r"[?#]", path, maxsplit=1)[0].rpartition("/")[2]
    data = last.encode("utf-8", "surrogateescape")
    for text in (data, data.partition(b";")[0]) if b";" in data else (data,):
        once = unquote_to_bytes(text)
        yield from texts_of(once)
        if once != text:
            yield from texts_of(text)
            yield from texts_of(unquote_to_bytes(once))


def _as_saved(name: str) -> Iterator[str]:
    """A name as it stands, and as clients change it so that a file system takes it."""
    if _ORDINARY.fullmatch(name):
        yield name
        return
    yield re.split(r"[/\\]", name)[-1]
    yield name.rpartition("/")[2]
    yield _CONTROL.sub(lambda found: f"%{ord(found[0]):02X}", name)
    for one in (name, name.replace("\t", " "), name.replace("%", "_")):
        yield from _as_browsers_save(one)


def _as_browsers_save(name: str) -> Iterator[str]:
    stripped = name.strip().lstrip(".")
    for plain in (_FORBIDDEN.sub("_", stripped), _FORBIDDEN.sub("_", name.strip(" ")).lstrip(".")):
        yield plain
        yield plain.rstrip(". ")
        # Firefox puts one space for several, Chromium _ for a tilde or the last space or dot.
        yield re.sub(r"  +", " ", plain).rstrip(". ")
        yield re.sub(r"^~|[~ .]$", "_", plain)
        yield re.sub(r"^~|[~ ]$", "_", plain.rstrip("."))
    # Chromium puts _ for a space that leads, Firefox takes spaces out of the ending.
    whole = _FORBIDDEN.sub("_", name)
    for start in (whole, whole.lstrip(".")):
        yield re.sub(r"^[~ ]|[~ ]$", "_", start)
        yield re.sub(r"^ +", "_", start)
    stem, dot, ending = whole.strip().lstrip(".").rpartition(".")
    yield stem + dot + ending.replace(" ", "")
    ended = _FORBIDDEN.sub("_", name.lstrip(" ."))
    yield re.sub(r"^~|[~ .]$", "_", ended)
