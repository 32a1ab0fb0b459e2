"""Whether squid.conf asks inkgate before it lets a request through: read from its lines.

Squid says nothing of a line that never runs: `squid -k parse` is content with an
`http_access deny` behind an `http_access allow` that fits everybody. What is found here
is what Squid's order of lines means; whether it holds is then tried through the proxy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from inkgate.blocked_page.settings import FrontEnds
from inkgate.icap_server.settings import Fail
from inkgate.squid_conf.configuration import Line
from inkgate.squid_conf.finding import Finding
from inkgate.squid_conf.icap_order import icap_findings, our_services

OURS: Final = "inkgate"
SELF_TEST: Final = "inkgate_self_test"
INSTALL: Final = "run inkgate squid install"


def self_test_ports(reply_port: int) -> tuple[int, int]:
    """Where the check's own servers listen: the port that is listed, and one beside it.

    Both are known beforehand, so that inkgate's lines can allow them where another line
    refuses this machine's own addresses (`http_access deny to_localhost`).
    """
    return reply_port, reply_port + 1


class Asked(NamedTuple):
    """Which of the helper's lines a configuration has."""

    requests: Line | None
    replies: Line | None


def asked(lines: Sequence[Line]) -> Asked:
    """Find the lines by which Squid asks the helper."""
    acls = our_acls(lines)
    return Asked(_first(lines, "http_access", acls), _first(lines, "http_reply_access", acls))


def order_findings(
    lines: Sequence[Line], front_ends: FrontEnds, *, replies: bool, service: str, fail: Fail
) -> list[Finding]:
    """All reasons in the order of lines why requests would pass unasked.

    Args:
        lines: the configuration.
        front_ends: whom Squid is to ask.
        replies: whether the helper is to be asked again when the reply comes.
        service: the ICAP server's address, as in `icap://127.0.0.1:1344`.
        fail: what is to happen to messages that it does not answer.
    """
    findings: list[Finding] = []
    if front_ends in ("helper", "both"):
        findings += _helper_findings(lines, replies=replies, service=service)
    if front_ends in ("icap", "both"):
        findings += icap_findings(lines, service, asked(lines).requests, fail)
    return findings


def our_acls(lines: Sequence[Line]) -> set[str]:
    """Names of the ACLs that ask one of our helpers."""
    helpers = {
        line.words[0]
        for line in lines
        if line.name == "external_acl_type" and line.words and _starts_ours(line)
    }
    return {
        line.words[0]
        for line in lines
        if line.name == "acl" and line.words[1:2] == ("external",) and helpers & {*line.words[2:3]}
    }


def _helper_findings(lines: Sequence[Line], *, replies: bool, service: str) -> Iterable[Finding]:
    found = asked(lines)
    if found.requests is None:
        yield _not_asked(lines, found, service)
        return
    acls = our_acls(lines)
    yield from _weakened(found.requests, "requests", acls)
    yield from _allowed_before(lines, found.requests, "http_access", "requests")
    if found.replies is not None:
        yield from _weakened(found.replies, "replies", acls)
        yield from _allowed_before(lines, found.replies, "http_reply_access", "replies")
    elif replies:
        yield Finding(
            "critical",
            "no http_reply_access line asks inkgate: servers are not judged by their addresses",
            f"{INSTALL}, or set replies = false in [squid_conf] if that is meant",
        )


def _not_asked(lines: Sequence[Line], found: Asked, service: str) -> Finding:
    if found.replies is not None:
        return Finding(
            "critical",
            f"{found.replies.place}: inkgate is asked at replies only: a listed request and its "
            "body reach the server, and tunnels pass",
            f"{INSTALL}, which writes the line for requests, too",
        )
    if services := our_services(lines, service):
        line = services[0]
        return Finding(
            "critical",
            f"{line.place}: Squid asks inkgate over ICAP only, and the settings want the helper",
            f'{INSTALL}, or set front_ends = "icap" in [squid_conf] if ICAP is meant',
        )
    return Finding("critical", "no line of squid.conf asks inkgate: nothing is blocked", INSTALL)


def _weakened(ours: Line, what: str, acls: set[str]) -> Iterable[Finding]:
    """Where the line that asks stands under a condition of its own."""
    if not acls.issuperset(ours.words[1:]):
        yield Finding(
            "critical",
            f"{ours.place}: `{ours.said}` has more conditions than inkgate's own: {what} that do "
            "not fit them all are not blocked",
            "take the other words out of that line",
        )
    if ours.conditions:
        file, number = ours.conditions[-1]
        yield Finding(
            "critical",
            f"{ours.place}: inkgate's line depends on `if` ({file}:{number}): where that does not "
            f"hold, {what} are never asked about",
            f"take inkgate's lines out of the block, and {INSTALL}",
        )


def _allowed_before(
    lines: Sequence[Line], ours: Line, directive: str, what: str
) -> Iterable[Finding]:
    for line in lines:
        if line is ours:
            return
        if line.name == directive and line.words[:1] == ("allow",) and not is_harmless(line):
            yield Finding(
                "critical",
                f"{line.place}: `{line.said}` comes before inkgate's line ({ours.place}): {what} "
                "that it fits are never asked about",
                f"{INSTALL}, which puts inkgate's include before it",
            )


def is_harmless(line: Line) -> bool:
    """Whether what a line allows reaches no server but Squid itself, or our own check's."""
    words = set(line.words[1:])
    return SELF_TEST in words or {"manager", "localhost"} <= words


def _starts_ours(line: Line) -> bool:
    return any(OURS in word.rsplit("/", 1)[-1] for word in line.words[1:] if word.startswith("/"))


def _first(lines: Sequence[Line], directive: str, acls: set[str]) -> Line | None:
    for line in lines:
        is_it = line.name == directive and line.words[:1] == ("deny",)
        if is_it and not acls.isdisjoint(line.words[1:]):
            return line
    return None
