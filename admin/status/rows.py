"""The table of all rows, in the order in which they are shown."""

from __future__ import annotations

from typing import Final

from inkgate.admin.status import (
    canary,
    conditions,
    followed_logs,
    journal,
    modes,
    processes,
    refresh,
    rules,
    sections,
)
from inkgate.admin.status.row import Rows

ROWS: Final[tuple[Rows, ...]] = (
    sections.rows,
    rules.rows,
    refresh.rows,
    processes.rows,
    canary.rows,
    journal.rows,
    followed_logs.rows,
    modes.rows,
    conditions.rows,
)
