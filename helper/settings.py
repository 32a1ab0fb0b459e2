"""Section `[helper]` of inkgate.toml."""

from __future__ import annotations

from typing import Literal

import msgspec

Fail = Literal["open", "closed"]


class HelperSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the helper does when it cannot tell, and how much it may hold.

    Attributes:
        fail: `open` lets requests pass when inkgate cannot tell, `closed` blocks them.
        workers: threads that derive keys beside the main loop.
        cached_hosts: verdicts of clean hosts kept in memory (about 150 bytes each).
        cached_keys: stretched values kept in memory (about 250 bytes each).
        key_cache_mib: largest size of the shared key cache on disk.
        pending: requests that may wait for a derivation; beyond it `fail` decides.
        deadline_seconds: longest that a request may wait; then `fail` decides.
        warm_up_hosts: hosts looked up in a new rule set before it is used.
        warm_up_seconds: longest that a rule set of a new epoch may wait for that.
    """

    fail: Fail = "open"
    workers: int = 2
    cached_hosts: int = 200_000
    cached_keys: int = 100_000
    key_cache_mib: int = 256
    pending: int = 20_000
    deadline_seconds: float = 5.0
    warm_up_hosts: int = 10_000
    warm_up_seconds: float = 5.0

    def __post_init__(self) -> None:
        for name, least, most in (
            ("workers", 1, 64),
            ("cached_hosts", 1000, 50_000_000),
            ("cached_keys", 1000, 50_000_000),
            ("key_cache_mib", 1, 65_536),
            ("pending", 1, 1_000_000),
            ("deadline_seconds", 0.01, 300),
            ("warm_up_hosts", 1, 1_000_000),
            ("warm_up_seconds", 0, 300),
        ):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} lies between {least} and {most}")
