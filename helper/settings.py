"""Section `[helper]` of inkgate.toml."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Fail = Literal["open", "closed"]


class HelperSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the helper does when it cannot tell, and how much it may hold.

    Attributes:
        fail: `open` lets requests pass when inkgate cannot tell, `closed` blocks them.
        workers: threads that derive keys beside the main loop.
        cached_hosts: verdicts of clean hosts kept in memory (about 150 bytes each).
        cached_keys: stretched values kept in memory (about 250 bytes each).
        key_cache_mib: largest size of the shared key cache on disk.
        pending: requests that may wait for a derivation; beyond it `fail` decides.
        pending_mib: how many MiB of Squid's lines may wait; beyond it `fail` decides.
        client_share: part of the derivations that are under way at a time that one client
            may have, and part of `pending` and `pending_mib` above which its waiting
            requests give way to those of others.
        deadline_seconds: longest that a request may wait; then `fail` decides.
        warm_up_hosts: hosts looked up in a new rule set before it is used.
        warm_up_seconds: longest that a rule set of a new epoch may wait for that.
    """

    fail: Fail = "open"
    workers: Annotated[int, Meta(ge=1, le=64)] = 2
    cached_hosts: Annotated[int, Meta(ge=1000, le=50_000_000)] = 200_000
    cached_keys: Annotated[int, Meta(ge=1000, le=50_000_000)] = 100_000
    key_cache_mib: Annotated[int, Meta(ge=1, le=65_536)] = 256
    pending: Annotated[int, Meta(ge=1, le=1_000_000)] = 20_000
    pending_mib: Annotated[int, Meta(ge=1, le=65_536)] = 32
    client_share: Annotated[float, Meta(gt=0, le=1)] = 0.5
    deadline_seconds: Annotated[float, Meta(ge=0.01, le=300)] = 5.0
    warm_up_hosts: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    warm_up_seconds: Annotated[float, Meta(ge=0, le=300)] = 5.0
