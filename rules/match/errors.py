"""The error that ends a run, or the reading of one input."""

from __future__ import annotations

from inkgate.config.errors import InkgateError


class MatchError(InkgateError):
    """An input cannot be read, or the run cannot go on. The text names the cause and a remedy."""
