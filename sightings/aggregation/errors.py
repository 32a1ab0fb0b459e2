"""What a party of an aggregation refuses, one word per cause (docs/format.md, section 10)."""

from __future__ import annotations

from typing import Literal

from inkgate.config.errors import InkgateError

Refusal = Literal[
    "bad-message",
    "bad-signature",
    "bad-group",
    "unknown-sender",
    "wrong-group",
    "wrong-period",
    "wrong-list",
    "wrong-round",
    "wrong-length",
    "bad-point",
    "bad-share",
    "bad-count",
    "replay",
    "second-count",
    "too-few",
    "over-budget",
    "no-mailbox",
    "no-misp",
]


class AggregationError(InkgateError):
    """An aggregation cannot go on. The text holds no key, no seed and no count.

    Args:
        refusal: the cause, for programs.
        problem: the cause, for people.
        remedy: what to do about it.
    """

    def __init__(self, refusal: Refusal, problem: str, remedy: str) -> None:
        super().__init__(f"{refusal}: {problem}; {remedy}")
        self.refusal: Refusal = refusal
