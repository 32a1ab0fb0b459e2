"""A finding: one reason why requests may pass unasked, and what to change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

FindingLevel = Literal["note", "warning", "critical"]
"""`critical`: a listed request can get through, or nobody can tell whether it can. `warning`:
part of it could not be tried. `note`: worth knowing, and all is well."""

_STATUS: Final = {"note": 0, "warning": 1, "critical": 2}


class Finding(NamedTuple):
    """What is wrong, and what to change.

    Attributes:
        level: how bad it is.
        fault: what is wrong, and where: one line without secrets.
        remedy: what to change.
    """

    level: FindingLevel
    fault: str
    remedy: str


def exit_status(findings: Iterable[Finding]) -> int:
    """The exit status of a monitoring plug-in: 0 all is well, 1 warning, 2 critical."""
    return max((_STATUS[finding.level] for finding in findings), default=0)
