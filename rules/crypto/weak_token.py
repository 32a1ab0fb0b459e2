"""Tokens that nobody made at random: they would open the rules to whoever tries them first.

Nothing here can prove that a token is good; what is found is what a person types to fill a
file, or what a program leaves that found no randomness.
"""

from __future__ import annotations

import itertools
import re
from typing import Final

MIN_TOKEN_BYTES: Final = 16
# Of 16 random hexadecimal digits fewer than six different ones come once in 30,000 times.
_FEWEST_DIFFERENT: Final = 6
_LONGEST_PERIOD: Final = 8
_WORDS: Final = re.compile(
    rb"change.?me|password|passw0rd|secret|example|inkgate|qwerty|letmein|placeholder"
    rb"|0123456789|1234567890|abcdefghi",
    re.IGNORECASE,
)


def weakness(token: bytes) -> str | None:
    """What is wrong with a token, without any of it; None if nothing is seen."""
    checks = (
        (len(token) < MIN_TOKEN_BYTES, f"is shorter than {MIN_TOKEN_BYTES} bytes"),
        (len(set(token)) < _FEWEST_DIFFERENT, "consists of a few characters only"),
        (_is_sequence(token), "is a sequence"),
        (_repeats(token), "repeats itself"),
        (bool(_WORDS.search(token)), "has a word that everybody tries first"),
    )
    return next((text for is_so, text in checks if is_so), None)


def _is_sequence(token: bytes) -> bool:
    """Whether each byte is as far from the last one as the next."""
    return len({(b - a) % 256 for a, b in itertools.pairwise(token)}) <= 1


def _repeats(token: bytes) -> bool:
    return any(
        token == (token[:period] * len(token))[: len(token)]
        for period in range(1, _LONGEST_PERIOD + 1)
    )
