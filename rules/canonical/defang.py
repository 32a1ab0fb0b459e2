"""Defanged indicators: spellings that keep people from clicking, undone where unambiguous."""

from __future__ import annotations

import re
from typing import Final

_STEPS: Final = (
    (re.compile(r"[\u200b-\u200d\u2060\ufeff\u00ad]"), ""),
    (
        re.compile(
            r"\[\s*(?:\.|dot)\s*\]|\(\s*(?:\.|dot)\s*\)|\{\s*(?:\.|dot)\s*\}", re.IGNORECASE
        ),
        ".",
    ),
    (re.compile(r"\[\s*(?:@|at)\s*\]|\(\s*(?:@|at)\s*\)|\{\s*(?:@|at)\s*\}", re.IGNORECASE), "@"),
    (re.compile(r"\[(:(?://)?|//?)\]"), r"\1"),
    (re.compile(r"\\\."), "."),
    (re.compile(r"^\s*(?:h[tx*]{2}p|meow)(s?)(?=:)", re.IGNORECASE), r"http\1"),
    (re.compile(r"^\s*fxp(s?)(?=:)", re.IGNORECASE), r"ftp\1"),
)
# What no step and no quote can change: most values, so it is asked first.
_UNTOUCHED: Final = re.compile(r"(?:https?://)?[\w./?&=%+#,;!$~-]*", re.ASCII)
_QUOTES: Final = {'"': '"', "'": "'", "<": ">", "`": "`", "\u201c": "\u201d"}


def refang(text: str) -> str:
    """Undo defanging, and quotes and white space around the value."""
    if _UNTOUCHED.fullmatch(text):
        return text
    text = text.strip()
    while len(text) > 1 and _QUOTES.get(text[0]) == text[-1]:
        text = text[1:-1].strip()
    for pattern, replacement in _STEPS:
        text = pattern.sub(replacement, text)
    return text
