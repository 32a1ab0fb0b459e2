"""Squid's `logformat` as a regular expression (squid.conf manual, logformat)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from inkgate.rules.match.logs.log_format import FormatError
from inkgate.rules.match.logs.squid_codes import CODES, FIELDS, FREE, ONE_WORD, PASSED
from inkgate.rules.match.logs.squid_quoting import BY_MODIFIER, Quoting
from inkgate.rules.match.logs.squid_wide import WideField, WidePiece, wide_fields

# The formats that are built into Squid.
BUILT_IN_FORMATS: Final = {
    "squid": "%ts.%03tu %6tr %>a %Ss/%03>Hs %<st %rm %ru %[un %Sh/%<a %mt",
    "common": '%>a - %[un [%tl] "%rm %ru HTTP/%rv" %>Hs %<st %Ss:%Sh',
    "combined": (
        '%>a - %[un [%tl] "%rm %ru HTTP/%rv" %>Hs %<st "%{Referer}>h" "%{User-Agent}>h" %Ss:%Sh'
    ),
}
MAX_FORMAT: Final = 4096

# % ["|[|'|#|/] [-] [[0]width[.precision]] [{argument}] code [{argument}]; `-` puts the spaces
# behind the value.
_CODE: Final = re.compile(
    r"%(?P<quoting>[\"\['#/]?)(?P<left>-?)(?P<width>[0-9]*)(?:\.[0-9]+)?(?P<before>\{[^}]*\})?"
    r"(?P<code>(?:[a-z_]+::)?[<>]?[A-Za-z][A-Za-z_]*|%|>|<)(?P<after>\{[^}]*\})?",
    re.ASCII,
)
_DIGITS: Final = "[0-9]++"
# What stands behind the last quote of a line: `%Ss:%Sh`, which web servers leave out, and what an
# operator has added. Without a quote in it, that quote was the last value's.
_END: Final = r'(?:\ [^\r\n"]*+)?'
_END_WITH_QUOTES: Final = r"(?:\ [^\r\n]*+)?"
# The formats whose headers Squid itself writes in quotes without an encoding.
_UNENCODED: Final = ("common", "combined")


class CompiledFormat(NamedTuple):
    """A compiled format.

    Attributes:
        pattern: matches one line of a multi-line text, or as its last group (`bad`) any
            other line.
        names: of the pattern's groups, in their order, without `bad`.
        quotings: how the values of these groups are encoded.
        with_more: matches a line that has more in quotes behind the format's last field.
        wide: how lines are read that `pattern` does not match.
    """

    pattern: re.Pattern[str]
    names: tuple[str, ...]
    quotings: Mapping[str, Quoting]
    with_more: re.Pattern[str] | None
    wide: tuple[WideField, ...]


class Cells(NamedTuple):
    """Where things are in a line that white space alone takes apart."""

    cells: int
    uri: int
    server: int
    client: int


class _Piece(NamedTuple):
    literal: str
    code: str
    argument: str
    width: bool
    left: bool = False
    quoting: Quoting = Quoting.RAW


def compile_format(text: str) -> CompiledFormat:
    """Compile a logformat, or one that Squid knows by itself.

    Raises:
        FormatError: it has unknown codes, two values with nothing between them, or
            nothing that could be listed. Says which.
    """
    if len(text) > MAX_FORMAT:
        raise FormatError(f"is longer than {MAX_FORMAT:,} characters")
    pieces = _pieces(BUILT_IN_FORMATS.get(text, text))
    if text in _UNENCODED:
        pieces = [piece._replace(quoting=Quoting.WEB) for piece in pieces]
    names: list[str] = []
    found = [_regex(pieces, position, names) for position in range(len(pieces))]
    if not {"client", "key", "host", "server", "sni", "agent"} & set(names):
        raise FormatError("shows no address, name or URL (for instance %>a, %ru, %<a)")
    body, with_more = "".join(found), None
    if text in _UNENCODED:
        # Without %Ss and %Sh, and the end that has no code.
        body = "".join(found[:-3]) + re.escape(pieces[-3].literal.rstrip(" "))
        with_more = re.compile(rf"{body}{_END_WITH_QUOTES}\r?$")
        body += _END
    # All quantifiers are possessive: the pattern never backtracks, so a hostile line costs
    # no more time than any other line.
    pattern = re.compile(rf"^(?:{body}\r?$|(?P<bad>.*+)$)", re.MULTILINE)
    quotings: dict[str, Quoting] = {}
    for piece in pieces:
        quotings.setdefault(_name(piece), piece.quoting)
    wide = wide_fields(tuple(_wide(pieces)))
    return CompiledFormat(pattern, tuple(names), quotings, with_more, wide)


def cells_of(text: str) -> Cells | None:
    """Where URI, server and client stand between white space; None if it cannot tell.

    Splitting is several times faster than matching. It serves for lines of which all
    that can be listed stands in these three cells, and no value holds a space.
    """
    cells = text.split()
    codes = [[_known_code(found["code"]) for found in _CODE.finditer(cell)] for cell in cells]
    if '"' in text or not set().union(*map(set, codes)).isdisjoint(_WITH_SPACES):
        return None
    try:
        uri, client = (codes.index([code]) for code in ("ru", ">a"))
        server = next(n for n, found in enumerate(codes) if found[-1:] == ["<a"])
    except (ValueError, StopIteration):
        return None
    sound = not _MODIFIED.search(cells[uri] + cells[client]) and (
        cells[server].endswith("<a") and cells[server].count("%") == cells[server].count("/") + 1
    )
    return Cells(len(cells), uri, server, client) if sound else None


_MODIFIED: Final = re.compile(r"%[\['#/]")
_WITH_SPACES: Final = frozenset(
    ("tl", "tg", ">h", ">ha", "<h", "ssl::>sni", ">rd", "<rd", "note", "credentials")
)


def _pieces(text: str) -> list[_Piece]:
    pieces: list[_Piece] = []
    literal, position, within = "", 0, ""
    while position < len(text):
        if text[position] != "%":
            literal += text[position]
            within = _within(within, text[position])
            position += 1
            continue
        found = _CODE.match(text, position)
        if found is None:
            raise FormatError(f"has a % without a code at character {position + 1}")
        if found["code"] == "%":
            literal, position = literal + "%", found.end()
            continue
        piece, position = _piece(literal, found, within)
        pieces.append(piece)
        literal = ""
    pieces.append(_Piece(literal, "", "", False))
    return pieces


def _within(quote: str, character: str) -> str:
    """The quotes or brackets that are open behind a character: they say how codes are encoded."""
    if not quote and character in '"[':
        return character
    return "" if quote and character == {'"': '"', "[": "]"}[quote] else quote


def _piece(literal: str, found: re.Match[str], within: str) -> tuple[_Piece, int]:
    """A code, and the position behind it."""
    code = _known_code(found["code"])
    whole = len(code) == len(found["code"])
    position = found.end() if whole else found.start("code") + len(code)
    after = (found["after"] or "") if whole else ""
    argument = ((found["before"] or "") + after).strip("{}")
    code = code.removeprefix("http::").replace("tls::", "ssl::")
    unsaid = Quoting.PASSED if code in PASSED else Quoting.RAW
    quoting = BY_MODIFIER.get(found["quoting"] or within, unsaid)
    left = bool(found["left"])
    return _Piece(literal, code, argument, bool(found["width"]), left, quoting), position


def _known_code(text: str) -> str:
    for end in range(len(text), 0, -1):
        if text[:end].removeprefix("http::").replace("tls::", "ssl::") in CODES:
            return text[:end]
    raise FormatError(f"has the code %{text}, which is none of Squid's")


def _regex(pieces: list[_Piece], position: int, names: list[str]) -> str:
    piece = pieces[position]
    # A code with a width may have spaces before its value, or behind it.
    before = re.escape(piece.literal) + (r"\ *+" if piece.width and not piece.left else "")
    if not piece.code:
        return before
    following = pieces[position + 1].literal
    if not following and pieces[position + 1].code:
        raise FormatError(f"has nothing between %{piece.code} and %{pieces[position + 1].code}")
    name = _name(piece)
    value = _value(piece, following[:1])
    behind = _spaces_behind(following) if piece.width and piece.left else ""
    if name == "uri" and "key" not in names:
        # Two groups: the part of the URI that decides the host, and the rest.
        names += ["key", "rest"]
        stop = re.escape(following[:1] or "\r")
        return before + rf"(?P<key>[^{stop}\n]{{0,8}}+[^/{stop}\n]*+)(?P<rest>{value}){behind}"
    if not name or name in names:
        return before + value + behind
    names.append(name)
    return before + f"(?P<{name}>{value})" + behind


def _spaces_behind(following: str) -> str:
    """Spaces behind a value on the left; of those before a space, the last one is the next."""
    return r"(?>\ *(?=\ ))" if following.startswith(" ") else r"\ *+"


def _name(piece: _Piece) -> str:
    if piece.code in (">h", ">ha"):
        return {"user-agent": "agent", "host": "host"}.get(piece.argument.lower(), "")
    return FIELDS.get(piece.code, "")


def _value(piece: _Piece, stop: str) -> str:
    """A value up to the character that stands behind it."""
    if piece.code in ("ts", "tu"):
        return _DIGITS
    if piece.code in ONE_WORD:
        return rf"[^{re.escape(stop)}\s]*+"
    if piece.quoting is Quoting.SHELL:
        plain = re.escape(stop) if stop else r"\r"
        return rf'(?:"(?:[^"\\\n]|\\[^\n])*+"|(?:[^"\\{plain}\n]|\\[^\n])*+)'
    if not stop:
        return r"[^\r\n]*+"
    if stop == '"' and piece.quoting in (Quoting.QUOTED, Quoting.WEB):
        return r'(?:[^"\\\n]|\\[^\n])*+'
    return rf"[^{re.escape(stop)}\n]*+"


def _from_right(piece: _Piece) -> str:
    """A value backwards, up to the character that stands before it."""
    if piece.code in ("ts", "tu"):
        return _DIGITS
    stop = piece.literal[-1:]
    if piece.code in ONE_WORD:
        return rf"[^{re.escape(stop)}\s]*+"
    if stop == '"' and piece.quoting is Quoting.QUOTED:
        return r'(?:[^"\n]|"\\)*+'
    return rf"[^{re.escape(stop)}\n]*+"


def _wide(pieces: list[_Piece]) -> Iterator[WidePiece]:
    seen: set[str] = set()
    for piece, following in zip(pieces, [*pieces[1:], pieces[-1]], strict=True):
        name = _name(piece)
        told = "" if name in seen else name
        seen.add(name)
        yield WidePiece(
            piece.literal,
            told,
            _value(piece, following.literal[:1]) if piece.code else "",
            _from_right(piece) if piece.code else "",
            piece.code in FREE,
            piece.width and not piece.left,
            _spaces_behind(following.literal) if piece.width and piece.left else "",
        )
