"""`inkgate status` of an installation, as a program reads it."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from support.installation import Installation
from support.waiting import wait_until


class Status(NamedTuple):
    """What it printed.

    Attributes:
        code: its exit status.
        rows: by name.
    """

    code: int
    rows: dict[str, dict[str, Any]]

    def level(self, name: str) -> int:
        """How bad a row is: 0 to 3."""
        return int(self.rows[name]["level"])

    def is_now(self, name: str) -> bool:
        """Whether a condition lasts."""
        return name in self.rows and bool(self.rows[name]["data"]["now"])

    def count(self, name: str) -> int:
        """How often a condition was met."""
        return int(self.rows[name]["data"]["count"]) if name in self.rows else 0


def status(installation: Installation) -> Status:
    """Ask for it."""
    done = installation.run("inkgate", "status", "--json")
    assert not done.stderr, done.stderr
    return Status(done.returncode, {row["name"]: row for row in json.loads(done.stdout)["rows"]})


def wait_for_now(installation: Installation, condition: str, *, lasts: bool = True) -> Status:
    """Wait until a condition lasts, or is over."""
    return wait_until(
        lambda: (found := status(installation)).is_now(condition) is lasts and found,
        f"{condition} to {'begin' if lasts else 'end'}",
    )


def complaints(log: str) -> list[str]:
    """The lines of a log that tell of something wrong."""
    wrong = (": critical: ", ": warning: ", "Traceback", "Error")
    return [line for line in log.splitlines() if any(words in line for words in wrong)]
