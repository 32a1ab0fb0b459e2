"""Words of squid.conf: what can be written there and nowhere ends a line or a word."""

from __future__ import annotations

import re
from typing import Final

from inkgate.config.errors import InkgateError

_WORD: Final = re.compile(r"[^\s\"'\\]+")


class SquidConfError(InkgateError):
    """Something cannot be written in squid.conf. Says what, and the remedy."""


def squid_word(text: str) -> str:
    """A path as one word of squid.conf.

    Raises:
        SquidConfError: it holds white space or quotes, which squid.conf cannot say safely
            in every place where we need it.
    """
    if not _WORD.fullmatch(text):
        raise SquidConfError(f"squid.conf cannot hold the path {text!r}; use one without spaces")
    return text
