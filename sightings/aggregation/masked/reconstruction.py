"""Secrets from shares some of which may be false."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from inkgate.sightings.aggregation.masked.secret_sharing import combine_shares


def reconstruct(
    shares: Mapping[int, bytes], threshold: int, is_right: Callable[[bytes], bool]
) -> bytes | None:
    """The secret that passes a check, or None.

    Tries each run of neighbours among the holders, so one liar, or several next to each
    other, cannot spoil a sum as long as enough honest holders are left.
    """
    holders = sorted(shares)
    if len(holders) < threshold:
        return None
    ring = holders + holders
    for start in range(len(holders)):
        secret = combine_shares({n: shares[n] for n in ring[start : start + threshold]})
        if is_right(secret):
            return secret
        if len(holders) == threshold:
            return None
    return None
