"""How much memory a helper takes at most, as its settings say (docs/performance.md).

Counted is what the process has for itself (RssAnon); the rules are mapped from a file that
all processes share. Two rule sets are in memory while the next one is warmed up.
"""

from __future__ import annotations

from typing import Final

from inkgate.helper.settings import HelperSettings
from inkgate.rules.lookup.remembered import SPELLINGS

_MIB: Final = 1 << 20
_PROCESS_BYTES: Final = 48 * _MIB
# An entry of a dictionary with its key of at most 300 bytes: what `is_short` lets in.
_PART_BYTES: Final = 470
_KEY_BYTES: Final = 400
_LOOKUP_BYTES: Final = 3_000
# A line, its fields, and the texts made of it: four bytes a character at worst.
_COPIES: Final = 7
_GENERATIONS: Final = 2
_HOT_SERVERS_AND_AGENTS: Final = 8_000


def memory_bound(settings: HelperSettings) -> int:
    """The most bytes that a helper with these settings takes, whatever clients ask for.

    Messages of the rules that a single request matches come on top: 64 KiB each at most.
    """
    parts = settings.cached_hosts * (1 + 1 / 4 + 1 / 16 + 1 / 16)
    # How sites are spelled, and of which nothing is remembered.
    parts += 2 * SPELLINGS
    hot = 4 * settings.warm_up_hosts + _HOT_SERVERS_AND_AGENTS
    return round(
        _PROCESS_BYTES
        + _GENERATIONS * (parts * _PART_BYTES + settings.cached_keys * _KEY_BYTES)
        + hot * _PART_BYTES
        + settings.pending * _LOOKUP_BYTES
        + settings.pending_mib * _MIB * _COPIES
    )
