"""Squid's `logformat` as a regular expression (squid.conf manual, logformat)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from inkgate.rules.match.logs.log_format import FormatError

# The formats that are built into Squid.
BUILT_IN_FORMATS: Final = {
    "squid": "%ts.%03tu %6tr %>a %Ss/%03>Hs %<st %rm %ru %[un %Sh/%<a %mt",
    "common": '%>a - %[un [%tl] "%rm %ru HTTP/%rv" %>Hs %<st %Ss:%Sh',
    "combined": (
        '%>a - %[un [%tl] "%rm %ru HTTP/%rv" %>Hs %<st "%{Referer}>h" "%{User-Agent}>h" %Ss:%Sh'
    ),
}
MAX_FORMAT: Final = 4096

# % ["|[|'|#|/] [-] [[0]width[.precision]] [{argument}] code [{argument}]
_CODE: Final = re.compile(
    r"%[\"\['#/]?-?(?P<width>[0-9]*)(?:\.[0-9]+)?(?P<before>\{[^}]*\})?"
    r"(?P<code>(?:[a-z_]+::)?[<>]?[A-Za-z][A-Za-z_]*|%|>|<)(?P<after>\{[^}]*\})?",
    re.ASCII,
)
# All codes of Squid. Text may follow a code without a separator (`%>ams`), so the
# longest code that fits is taken.
_CODES: Final = frozenset(
    (
        ">a",
        ">A",
        ">p",
        ">eui",
        ">la",
        ">lp",
        ">qos",
        ">nfmark",
        "<a",
        "<A",
        "<p",
        "<la",
        "<lp",
        "<qos",
        "<nfmark",
        "la",
        "lp",
        "ts",
        "tu",
        "tl",
        "tg",
        "tr",
        "dt",
        "tS",
        "<pt",
        "<tt",
        ">h",
        ">ha",
        "<h",
        "<Hs",
        ">Hs",
        "Hs",
        ">st",
        ">sh",
        "<st",
        "<sh",
        "st",
        "sh",
        "<bs",
        "mt",
        "rm",
        ">rm",
        "<rm",
        "ru",
        ">ru",
        "<ru",
        ">rs",
        "<rs",
        ">rd",
        "<rd",
        ">rP",
        "<rP",
        "rp",
        ">rp",
        "<rp",
        "rv",
        ">rv",
        "<rv",
        "un",
        "ul",
        "ui",
        "us",
        "ue",
        "Ss",
        "Sh",
        "err_code",
        "err_detail",
        "note",
        "et",
        "ea",
        "sn",
        "credentials",
        "busy_time",
        "master_xaction",
        "ssl::>sni",
        "ssl::bump_mode",
        "ssl::>cert_subject",
        "ssl::>cert_issuer",
        "ssl::<cert_subject",
        "ssl::<cert_issuer",
        "ssl::<cert_errors",
        "ssl::>negotiated_version",
        "ssl::<negotiated_version",
        "ssl::>negotiated_cipher",
        "ssl::<negotiated_cipher",
        "ssl::>received_hello_version",
        "ssl::<received_hello_version",
        "ssl::>received_supported_version",
        "ssl::<received_supported_version",
        "icap::tt",
        "adapt::sum_trs",
        "adapt::all_trs",
        "adapt::<last_h",
        "icap::<last_h",
        "request_urlgroup",
        "proxy_protocol::>h",
        "transport::>connection_id",
    )
)
_DIGITS: Final = "[0-9]++"
_FIELDS: Final = {
    "ts": "time",
    "tu": "fraction",
    "tl": "local",
    "tg": "local",
    ">a": "client",
    "rm": "method",
    ">rm": "method",
    "ru": "uri",
    ">ru": "uri",
    "<ru": "uri",
    ">rd": "host",
    "<rd": "host",
    ">rP": "port",
    "<rP": "port",
    "<p": "port",
    "<a": "server",
    "ssl::>sni": "sni",
}


# The end of a line that only Squid writes; web servers leave it out.
_SQUIDS_END: Final = r"\ [^:\n]*+:[^\r\n]*+"


class CompiledFormat(NamedTuple):
    """A compiled format.

    Attributes:
        pattern: matches one line of a multi-line text, or as its last group (`bad`) any
            other line.
        names: of the pattern's groups, in their order, without `bad`.
    """

    pattern: re.Pattern[str]
    names: tuple[str, ...]


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


def compile_format(text: str) -> CompiledFormat:
    """Compile a logformat, or one that Squid knows by itself.

    Raises:
        FormatError: it has unknown codes, two values with nothing between them, or
            nothing that could be listed. Says which.
    """
    if len(text) > MAX_FORMAT:
        raise FormatError(f"is longer than {MAX_FORMAT:,} characters")
    pieces = _pieces(BUILT_IN_FORMATS.get(text, text))
    names: list[str] = []
    found = [_regex(pieces, position, names) for position in range(len(pieces))]
    if not {"client", "key", "host", "server", "sni", "agent"} & set(names):
        raise FormatError("shows no address, name or URL (for instance %>a, %ru, %<a)")
    body = "".join(found)
    if text in ("combined", "common"):
        body = body.removesuffix(_SQUIDS_END) + f"(?:{_SQUIDS_END})?"
    # All quantifiers are possessive: the pattern never backtracks, so a hostile line costs
    # no more time than any other line.
    pattern = re.compile(rf"^(?:{body}\r?$|(?P<bad>.*+)$)", re.MULTILINE)
    return CompiledFormat(pattern, tuple(names))


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
    sound = (
        cells[server].endswith("<a") and cells[server].count("%") == cells[server].count("/") + 1
    )
    return Cells(len(cells), uri, server, client) if sound else None


_WITH_SPACES: Final = frozenset(
    ("tl", "tg", ">h", ">ha", "<h", "ssl::>sni", ">rd", "<rd", "note", "credentials")
)


def _pieces(text: str) -> list[_Piece]:
    pieces: list[_Piece] = []
    literal, position = "", 0
    while position < len(text):
        if text[position] != "%":
            literal += text[position]
            position += 1
            continue
        found = _CODE.match(text, position)
        if found is None:
            raise FormatError(f"has a % without a code at character {position + 1}")
        if found["code"] == "%":
            literal, position = literal + "%", found.end()
            continue
        code = _known_code(found["code"])
        position = (
            found.end() if len(code) == len(found["code"]) else found.start("code") + len(code)
        )
        after = (found["after"] or "") if position == found.end() else ""
        argument = ((found["before"] or "") + after).strip("{}")
        pieces.append(_Piece(literal, code, argument, bool(found["width"])))
        literal = ""
    pieces.append(_Piece(literal, "", "", False))
    return pieces


def _known_code(text: str) -> str:
    for end in range(len(text), 0, -1):
        if text[:end] in _CODES:
            return text[:end]
    raise FormatError(f"has the code %{text}, which is none of Squid's")


def _regex(pieces: list[_Piece], position: int, names: list[str]) -> str:
    piece = pieces[position]
    # A code with a width may have spaces before its value.
    before = re.escape(piece.literal) + (r"\ *+" if piece.width else "")
    if not piece.code:
        return before
    following = pieces[position + 1].literal
    if not following and pieces[position + 1].code:
        raise FormatError(f"has nothing between %{piece.code} and %{pieces[position + 1].code}")
    name = _name(piece)
    value = _DIGITS if piece.code in ("ts", "tu") else _value(following[:1])
    if name == "uri" and "key" not in names:
        # Two groups: the part of the URI that decides the host, and the rest.
        names += ["key", "rest"]
        stop = re.escape(following[:1] or "\r")
        return before + rf"(?P<key>[^{stop}\n]{{0,8}}+[^/{stop}\n]*+)(?P<rest>{value})"
    if not name or name in names:
        return before + value
    names.append(name)
    return before + f"(?P<{name}>{value})"


def _name(piece: _Piece) -> str:
    if piece.code in (">h", ">ha"):
        return {"user-agent": "agent", "host": "host"}.get(piece.argument.lower(), "")
    return _FIELDS.get(piece.code, "")


def _value(stop: str) -> str:
    """A value up to the character that stands behind it."""
    if not stop:
        return r"[^\r\n]*+"
    if stop == '"':
        return r'(?:[^"\\\n]|\\[^\n])*+'
    return rf"[^{re.escape(stop)}\n]*+"
