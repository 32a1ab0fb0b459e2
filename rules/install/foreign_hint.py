"""Which format a folder or file is in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_METADATA: Final = "metadata"
_SUFFIX: Final = ".rule"
_LOOKED_AT: Final = 1000


def looks_foreign(where: Path) -> str | None:
    """The tool whose rules these seem to be, by their file names; None if nobody's.

    Never raises, and opens nothing: it is asked when something else has failed.
    """
    try:
        if where.suffix == _SUFFIX and where.is_file():
            return "the paper's proof of concept"
        if (where / _METADATA).is_file():
            return "Jacquet's thesis"
        with os.scandir(where) as entries:
            names = (e.name for e, _ in zip(entries, range(_LOOKED_AT), strict=False))
            if any(name.endswith(_SUFFIX) for name in names):
                return "the paper's proof of concept"
    except OSError:
        pass
    return None
