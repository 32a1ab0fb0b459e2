"""What can be wrong with a rule set, one class of error per cause (docs/format.md, section 6)."""

from __future__ import annotations

from typing import Literal

from inkgate.config.errors import InkgateError

ErrorClass = Literal[
    "too-large",
    "bad-signature",
    "bad-manifest",
    "too-costly",
    "expired",
    "rolled-back",
    "too-far-ahead",
    "wrong-token",
    "bad-digest",
    "bad-rules",
]


class PackError(InkgateError):
    """A pack or an installed rule set cannot be trusted or read.

    The text never holds a token, a key or an indicator: it goes to logs.
    """

    def __init__(self, error_class: ErrorClass, problem: str, remedy: str) -> None:
        super().__init__(f"{error_class}: {problem}; {remedy}")
        self.error_class: ErrorClass = error_class
        self.problem = problem
        self.remedy = remedy


class RefreshError(InkgateError):
    """A refresh that changed nothing; says why and what to do."""


class BusyError(RefreshError):
    """Another refresh or installation is running."""
