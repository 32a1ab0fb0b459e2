"""What a request matches: its host, its URL, its server's address, its User-Agent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from inkgate.rules.canonical import Refused, canonical_address
from inkgate.rules.lookup.matcher import HostVerdict, Match, Matcher
from inkgate.rules.lookup.observed import Observed
from inkgate.rules.lookup.steps import Steps, finish
from inkgate.rules.lookup.target import Target, parse_target


class Findings(NamedTuple):
    """Matches of a request, and what is known of its parts from now on.

    Attributes:
        clean_host, clean_server, clean_agent: it never needs to be looked at again; but where
            `by_server` holds, host and server together must be.
        listed_host: the host alone is blocked, whatever the URL.
        at_server: those of the matches that the server's address decides.
        by_server: the host may be listed together with the address of one of its servers.
        unpaired: a clean server's address is known to be listed together with no host.
    """

    matches: tuple[Match, ...]
    clean_host: bool
    clean_server: bool
    clean_agent: bool
    listed_host: bool = False
    at_server: tuple[Match, ...] = ()
    by_server: bool = False
    unpaired: bool = False


SoFar = list[list[Match]]
"""Matches of the parts of a request, while it is looked up."""


def examine(request: Observed, matcher: Matcher) -> Findings:
    """Look up everything that a request shows.

    Raises:
        PackError: the rule set is damaged.
    """
    return finish(examination(request, matcher), matcher.stretch)


def examination(
    request: Observed, matcher: Matcher, so_far: SoFar | None = None
) -> Steps[Findings]:
    """`examine` in steps.

    Args:
        so_far: an empty list that has each match as soon as it is found.
    """
    target = parse_target(request.method, request.uri)
    at_host: list[Match] = []
    at_server: list[Match] = []
    at_agent: list[Match] = []
    if so_far is not None:
        so_far += (at_host, at_server, at_agent)
    clean_host = listed_host = by_server = False
    if target is not None:
        verdict = yield from _host_steps(target, matcher, at_host)
        clean_host = not (at_host or verdict.needs_url or verdict.by_port)
        listed_host, by_server = blocks(verdict.matches), verdict.by_server
    clean_server, unpaired = yield from _server_steps(request, target, matcher, at_server)
    if request.user_agent:
        at_agent += yield from matcher.user_agent_steps(request.user_agent)
    found = tuple(_distinct((*at_host, *at_server, *at_agent)))
    return Findings(
        found,
        clean_host,
        clean_server,
        not at_agent,
        listed_host,
        tuple(at_server),
        by_server,
        unpaired,
    )


def found_so_far(so_far: SoFar) -> tuple[Match, ...]:
    """The matches, each rule once."""
    return tuple(_distinct(match for part in so_far for match in part))


def blocks(matches: Iterable[Match]) -> bool:
    """Whether one of the rules says so."""
    return any(match.message.action == "block" for match in matches)


def _host_steps(target: Target, matcher: Matcher, into: list[Match]) -> Steps[HostVerdict]:
    """What the host alone decides; its URL is looked up, too, if that matters."""
    verdict = yield from matcher.host_steps(target.host, target.port, whole=target.whole, into=into)
    if verdict.needs_url and target.url is not None:
        into += yield from matcher.url_steps(target.url)
    return verdict


def _server_steps(
    request: Observed, target: Target | None, matcher: Matcher, into: list[Match]
) -> Steps[tuple[bool, bool]]:
    """Whether the server's address is clean by itself, for all requests, and with all hosts."""
    host, port = (target.host, target.port) if target is not None else (None, None)
    if request.port is not None and request.port != port:
        port = request.port
        if target is not None and target.whole:
            yield from matcher.host_port_steps(target.host, port, into)
    if not request.server:
        return False, False
    try:
        address = canonical_address(request.server)
    except Refused:
        return False, False
    verdict = yield from matcher.server_steps(address, host, port, into)
    clean = not verdict.matches and not verdict.by_port
    return clean, clean and verdict.unpaired


def _distinct(found: Iterable[Match]) -> Iterator[Match]:
    seen = set()
    for match in found:
        # A message need not carry UUIDs, so all of it tells two rules apart.
        key = (match.indicator_class, msgspec.json.encode(match.message))
        if key not in seen:
            seen.add(key)
            yield match
