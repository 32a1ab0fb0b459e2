"""Defanged indicators: spellings that keep people from clicking, undone where unambiguous."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

# Letters of schemes are written in both cases: ignoring case, `s` would be a long s as well.
_STEPS: Final = (
    (re.compile(r"[\u200b\u2060\ufeff\u00ad]"), ""),
    # Joiners are letters of some scripts. Behind ASCII no name has one: it was put there.
    (re.compile(r"(?:(?<=[\x00-\x7f])|^)[\u200c\u200d]+"), ""),
    (
        re.compile(
            r"\[\s*(?:\.|dot)\s*\]|\(\s*(?:\.|dot)\s*\)|\{\s*(?:\.|dot)\s*\}", re.IGNORECASE
        ),
        ".",
    ),
    (re.compile(r"\[\s*(?:@|at)\s*\]|\(\s*(?:@|at)\s*\)|\{\s*(?:@|at)\s*\}", re.IGNORECASE), "@"),
    (re.compile(r"\[(:(?://)?|//?)\]"), r"\1"),
    (re.compile(r"\\\."), "."),
    (re.compile(r"^\s*(?:[hH][tTxX*]{2}[pP]|[mM][eE][oO][wW])([sS]?)(?=:)"), r"http\1"),
    (re.compile(r"^\s*[fF][xX][pP]([sS]?)(?=:)"), r"ftp\1"),
)
# A scheme as it may be written, and what separates it from the host.
_BEFORE_HOST: Final = re.compile(
    r"\s*(?:[A-Za-z][A-Za-z0-9*+.-]*(?:\[:(?://)?\]|:))?(?:\[//?\]|[/\\])*"
)
# `\.` is a dot, unless backslashes stand for all slashes, as before the host.
_AFTER_HOST: Final = re.compile(r"\[(//?)\]|[/?#]|\\(?!\.)")
_AFTER_HOST_WITH_BACKSLASHES: Final = re.compile(r"\[(//?)\]|[/\\?#]")
# What no step and no quote can change: most values, so it is asked first.
_UNTOUCHED: Final = re.compile(r"(?:https?://)?[\w./?&=%+#,;!$~-]*", re.ASCII)
# Rounds of all steps that may change something.
_MOST_ROUNDS: Final = 8
_QUOTES: Final = {'"': '"', "'": "'", "<": ">", "`": "`", "\u201c": "\u201d"}


def refang(text: str) -> str:
    """Undo defanging, and quotes and white space around the value, until nothing changes."""
    return _until_stable(text, _refanged)


def refang_url(text: str) -> str:
    """Undo defanging up to the host's end: a path or query may really hold `(dot)`."""
    return _until_stable(text, _refanged_url)


def _until_stable(text: str, undo: Callable[[str], str]) -> str:
    """A canonical form must be that of itself: what one round leaves may hold more (`[[.]]`)."""
    found = text
    for _ in range(_MOST_ROUNDS + 1):
        if _UNTOUCHED.fullmatch(found):
            return found
        before, found = found, undo(found)
        if found == before:
            return found
    # Nobody defangs so often: brackets that were nested to take long.
    return _bare(text)


def _refanged(text: str) -> str:
    text = _bare(text)
    for pattern, replacement in _STEPS:
        text = pattern.sub(replacement, text)
    return text


def _refanged_url(text: str) -> str:
    text = _bare(text)
    before = _BEFORE_HOST.match(text)
    start = before.end() if before else 0
    backslashes = text[:start].endswith("\\")
    end = (_AFTER_HOST_WITH_BACKSLASHES if backslashes else _AFTER_HOST).search(text, start)
    if end is None:
        return _refanged(text)
    host, rest = text[: end.start()], text[end.end() :]
    if "\\." in host:
        # Then the whole is written so.
        rest = rest.replace("\\.", ".")
    return _refanged(host) + (end[1] or end[0]) + rest


def _bare(text: str) -> str:
    text = text.strip()
    while len(text) > 1 and _QUOTES.get(text[0]) == text[-1]:
        text = text[1:-1].strip()
    return text
