"""What a MISP answers, and to whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

Query = dict[str, Any]


@dataclass(frozen=True)
class Role:
    """What the owner of a key may do; with `read_only` the key may nothing of it."""

    org: str = "ORG"
    perm_sighting: bool = True
    perm_sync: bool = False
    perm_auth: bool = True
    read_only: bool = False


class Answer(NamedTuple):
    """What is sent back."""

    body: Any
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


def forbidden(path: str) -> Answer:
    """The owner of the key may not do this."""
    return error(403, "You do not have permission to use this functionality.", path)


def error(status: int, message: str, path: str) -> Answer:
    """An error as MISP says it."""
    return Answer({"name": message, "message": message, "url": path}, status)
