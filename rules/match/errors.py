"""What stops a run, or one of its inputs."""

from __future__ import annotations

from inkgate.config.errors import InkgateError


class MatchError(InkgateError):
    """An input that cannot be read, or work that cannot be done: says which, and a remedy."""
