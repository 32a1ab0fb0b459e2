"""What can be wrong with a journal."""

from __future__ import annotations

from inkgate.config.errors import InkgateError


class JournalError(InkgateError):
    """The journal cannot be written or read; names the file and the remedy."""
