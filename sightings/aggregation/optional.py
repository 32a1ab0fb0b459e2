"""Libraries that only aggregation needs: the helper and the proxies run without them."""

from __future__ import annotations

from functools import cache
from typing import Any

from inkgate.config import extras


@cache
def need(module: str) -> Any:
    """Import a module of the extra `aggregation`.

    Raises:
        MissingExtraError: it is not installed.
    """
    return extras.need("aggregation", module, "private aggregation")
