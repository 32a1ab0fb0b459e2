"""URLs that are well written, and that no request shows: wildcards, files, cut-off ones.

A rule made of one matches nothing, and nobody would hear of it. So they are refused where
indicators become canonical; what a proxy observes is never asked here (a request may well hold
a `*`).
"""

from __future__ import annotations

import re
from typing import Final

from inkgate.rules.canonical.refused import Refused
from inkgate.rules.canonical.urls import Url, canonical_authority

# Those that a proxy is asked for; WebSockets begin as requests.
_SCHEMES: Final = frozenset(("", "http", "https", "ftp", "gopher", "ws", "wss"))
_CUT: Final = r"(?:\.\.\.|\u2026|%[Ee]2%80%[Aa]6)"
# Asked of the text and of its canonical form, which must stay canonical.
_UNSHOWN: Final = (
    (re.compile(r"\*"), "a wildcard in a URL: list its host as a domain, if all of it is meant"),
    (
        re.compile(rf"{_CUT}[\])>]?$|[\[(<]{_CUT}[\])>]"),
        "a URL that is cut off",
    ),
    (
        # In a query, further URLs are parameters.
        re.compile(
            r"\A[^?]*(?:[|,;](?:[Hh][TtXx]{2}[Pp][Ss]?|[Ff][Tt][Pp]):/|\|[\w-]+(?:\.[\w-]+)+/)"
        ),
        "several URLs in one value",
    ),
    # In two braces it may be what a page's own template left there: that is asked for.
    (
        re.compile(
            r"\A[^?]*<[A-Za-z][\w .%-]*>|=<[A-Za-z][\w .%-]*>(?:&|$)"
            r"|(?<!\{)\{[A-Za-z_ ,-]+\}(?!\})"
        ),
        "a URL with a placeholder in it",
    ),
    (
        re.compile(r"\[\w-\w|\([\w-]+(?:\|[\w-]+)+\)|\\[dswDSW][+?{]|\.\+(?:/|$)|\$\Z"),
        "a regular expression, not a URL",
    ),
)
# What none of these and of the other checks can be about: most URLs, so it is asked first.
_USUAL: Final = re.compile(r"https?://[\w./?&=#~:@-]*[\w/&=#~:@-]", re.ASCII)
_PLACEHOLDERS: Final = frozenset((
    "n/a", "none", "null", "nil", "nan", "unknown", "undefined", "redacted", "tbd", "todo",
))  # fmt: skip
_OF_A_PATH: Final = re.compile(r"[/.=&%+~-]\w")
_LETTERS_FOR_LABELS: Final = re.compile(r"x+(?:\.x+)+", re.IGNORECASE)


def check_can_be_shown(text: str, url: Url) -> None:
    """Refuse a URL that no request shows.

    Args:
        text: as it is written, without defanging.
        url: its canonical form.

    Raises:
        Refused: it is one; the reason never holds the value.
    """
    shown = text.partition("#")[0]
    if not _USUAL.fullmatch(shown):
        _check_spelling(shown, url)
    if url.host.kind == "name" and ("." not in url.host.value or _is_placeholder(url.host.value)):
        raise Refused("a URL whose host is a placeholder, or a name without a dot")


def _check_spelling(text: str, url: Url) -> None:
    if _has_remark(text.strip()):
        raise Refused("white space in a URL: write it as %20, and a second value by itself")
    if _has_escaped_dot(text):
        raise Refused("a backslash before a dot in a URL")
    if canonical_authority(text).scheme not in _SCHEMES:
        raise Refused("a URL of a scheme that no proxy is asked for")
    for pattern, reason in _UNSHOWN:
        if pattern.search(text) or pattern.search(url.value):
            raise Refused(reason)


def _has_remark(text: str) -> bool:
    """Whether white space parts a URL from a remark or from another one, as far as one can tell.

    Browsers send `/New Folder/x.exe` and `?q=a b` with %20. Behind a path, a word without any
    sign of one is more likely a remark.
    """
    words = text.split()
    path = text.partition("?")[0].split()
    is_other = " ".join(words) != text or any("://" in word for word in words[1:])
    return len(words) > 1 and (is_other or (len(path) > 1 and not _OF_A_PATH.search(path[-1])))


def check_no_placeholder(name: str) -> None:
    """Refuse a word that says that there is no name.

    Raises:
        Refused: it is one, or has nothing but signs.
    """
    if _is_placeholder(name):
        raise Refused("a placeholder, not a name")


def _is_placeholder(name: str) -> bool:
    return (
        name.lower() in _PLACEHOLDERS
        or bool(name and not name.strip("-_."))
        or _LETTERS_FOR_LABELS.fullmatch(name) is not None
    )


def _has_escaped_dot(text: str) -> bool:
    """Whether a path has `\\.`, unless backslashes stand for all slashes of the URL."""
    before, _, _ = text.partition("\\")
    return "/" in before and "\\." in text.partition("?")[0]
