"""Lines of squid.conf that keep out of the way of Squid's own bugs (docs/squid.md lists them).

Bug 5405, before 6.13: when a client sends faster than what is behind takes (the verdict, the
server), the buffer for its request fills, Squid reads into no room, takes the nothing for the
client's end and breaks the upload off. A larger buffer fills more seldom.

From 6.0 on: after a CONNECT that an ICAP service refuses, Squid forgets the client's connection
and keeps it open for `client_lifetime` (a day), whatever the client does. A refusal that ends
the connection ends that. Mended in May 2026, after 7.0.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from inkgate.squid_conf.configuration import Line
from inkgate.squid_conf.finding import Finding
from inkgate.squid_conf.icap_order import our_services
from inkgate.squid_conf.program import SquidProgram, find_squid
from inkgate.squid_conf.word import SquidConfError

BUFFER: Final = "client_request_buffer_max_size"
AFTER_ERROR: Final = "persistent_connection_after_error"
BUFFER_MENDED: Final = (6, 13)
CONNECT_KEPT: Final = (6, 0)
_SQUIDS_OWN: Final = 512 << 10
_VERSION: Final = re.compile(r"(\d{1,4})\.(\d{1,4})")
_SIZE: Final = re.compile(r"\d{1,15}(?:\.\d{1,9})?")
_UNITS: Final = {"bytes": 1, "b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}


def breaks_uploads_off(version: str) -> bool:
    """Whether a Squid takes a full buffer for the client's end; so if it cannot be told.

    Args:
        version: as Squid says it, for instance `5.7`.
    """
    found = _numbers(version)
    return found is None or found < BUFFER_MENDED


def keeps_refused_connects(version: str) -> bool:
    """Whether a Squid keeps connections whose CONNECT was refused; so if it cannot be told.

    Args:
        version: as Squid says it.
    """
    found = _numbers(version)
    return found is None or found >= CONNECT_KEPT


def bug_lines(buffer_mib: int, version: str, *, icap: bool) -> list[str]:
    """The lines for squid.conf; none where Squid does without.

    Args:
        buffer_mib: `[squid_conf] request_buffer_mib`; 0 leaves Squid its own size.
        version: as Squid says it.
        icap: whether Squid is to ask the ICAP server.
    """
    lines = []
    if buffer_mib and breaks_uploads_off(version):
        lines += [
            "# Squid before 6.13 breaks uploads off when this buffer is full (its bug 5405).",
            f"{BUFFER} {buffer_mib} MB",
        ]
    if icap and keeps_refused_connects(version):
        lines += [
            "# Squid from 6.0 on keeps a connection for a day whose CONNECT ICAP refuses.",
            f"{AFTER_ERROR} off",
        ]
    return lines


def installed_squid() -> SquidProgram | None:
    """This machine's Squid; None if there is none to ask."""
    try:
        return find_squid()
    except SquidConfError:
        return None


def version_of(squid: SquidProgram | None) -> str:
    """A Squid's version; empty if there is none to ask."""
    return squid.version if squid else ""


def bug_findings(
    lines: Sequence[Line], buffer_mib: int, version: str, *, service: str
) -> Iterable[Finding]:
    """What is to be said of a Squid with such bugs.

    Args:
        lines: its configuration.
        buffer_mib: what the settings ask for.
        version: as Squid says it.
        service: the ICAP server's address.
    """
    if breaks_uploads_off(version):
        yield from _small_buffer(_last(lines, BUFFER), buffer_mib, version)
    if keeps_refused_connects(version) and our_services(lines, service):
        yield from _kept_connects(_last(lines, AFTER_ERROR), version)


def _small_buffer(last: Line | None, mib: int, version: str) -> Iterable[Finding]:
    size = _SQUIDS_OWN if last is None else _bytes_of(last.words)
    if size < mib << 20:
        yield Finding(
            "warning",
            f"{_place(last, BUFFER)}: Squid {version or '(unknown version)'} breaks uploads off "
            f"when {size >> 10} KB of them wait (its bug 5405)",
            "run inkgate squid install and leave no smaller size after its lines, or upgrade "
            "Squid to 6.13",
        )


def _kept_connects(last: Line | None, version: str) -> Iterable[Finding]:
    if last is None or last.words[:1] != ("off",):
        yield Finding(
            "warning",
            f"{_place(last, AFTER_ERROR)}: Squid {version or '(unknown version)'} keeps each "
            "connection for a day whose CONNECT the ICAP server refused: who asks for listed "
            "hosts uses its descriptors up",
            f"run inkgate squid install, and leave no other {AFTER_ERROR} after its lines",
        )


def _last(lines: Sequence[Line], name: str) -> Line | None:
    return next((line for line in reversed(lines) if line.name == name), None)


def _place(line: Line | None, name: str) -> str:
    return f"{line.place}: `{line.said}`" if line else f"squid.conf has no {name}"


def _numbers(version: str) -> tuple[int, int] | None:
    found = _VERSION.match(version)
    return (int(found[1]), int(found[2])) if found else None


def _bytes_of(words: Sequence[str]) -> int:
    """A size as squid.conf has it; 0 if it is none."""
    if not words or not _SIZE.fullmatch(words[0]):
        return 0
    unit = _UNITS.get(words[1].lower(), 0) if len(words) > 1 else 1
    return int(float(words[0]) * unit)
