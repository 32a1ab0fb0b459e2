"""Libraries that only aggregation needs: the helper and the proxies run without them."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

from inkgate.sightings.aggregation.errors import AggregationError


@cache
def need(module: str) -> Any:
    """Import a module of the extra `aggregation`.

    Raises:
        AggregationError: it is not installed (`missing-library`).
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise AggregationError(
            "missing-library",
            f"{module.partition('.')[0]} is not installed",
            "install inkgate with its extra: pip install 'inkgate[aggregation]'",
        ) from None
