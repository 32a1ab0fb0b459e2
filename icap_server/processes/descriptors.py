"""How many connections the process's limit of open files allows (RLIMIT_NOFILE)."""

from __future__ import annotations

import resource

from inkgate.health.monitor import Monitor

# For rules, key cache, journal and settings, two generations of them at a time.
SPARE = 64


def connections_within(wanted: int, monitor: Monitor) -> int:
    """Raise the limit of open files as far as it is needed and allowed.

    Args:
        wanted: connections at most.
        monitor: is told when they are too many.

    Returns:
        How many there can be.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft in range(wanted + SPARE):
        needed = wanted + SPARE
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft not in range(wanted + SPARE):
        return wanted
    possible = max(1, soft - SPARE)
    monitor.met(
        "connections-limited",
        f"open files are limited to {soft}: a worker takes {possible} connections, not {wanted}; "
        "raise LimitNOFILE (ulimit -Hn), or lower [icap] connections",
    )
    return possible
