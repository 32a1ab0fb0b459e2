"""Section `[aggregation]` of inkgate.toml."""

from __future__ import annotations

from typing import Annotated

import msgspec


class AggregationSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where a party of private aggregation keeps its state, and how it reaches the others.

    Attributes:
        state: folder for keys, pinned groups and what was said; private.
        name: this subscriber's name in its groups.
        mailbox: a folder that all parties share (synchronised, or on a file server), or the URL
            of a Redis: `redis://`, `rediss://` or `unix://`, without a password.
        redis_user: name of the Redis user.
        redis_password_file: that user's password.
        misp_url: where the aggregator publishes totals.
        misp_key_file: the key of a MISP user that may add sightings.
        misp_ca_file: whom to trust for `misp_url`; empty means the system's authorities.
        sightings_per_total: sightings that stand for one total in MISP at most; each of them
            tells the whole total in its source.
    """

    state: str = "/var/lib/inkgate/aggregation"
    name: str = ""
    mailbox: str = "/var/lib/inkgate/aggregation/mailbox"
    redis_user: str = ""
    redis_password_file: str = ""
    misp_url: str = ""
    misp_key_file: str = ""
    misp_ca_file: str = ""
    sightings_per_total: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 100
