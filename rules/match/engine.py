"""Entries to matches, each part looked up once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from inkgate.rules.canonical import (
    Host,
    ObservedAt,
    Refused,
    canonical_address,
    canonical_attribute,
    network_of,
    observed_authority,
)
from inkgate.rules.lookup.matcher import Match, Matcher
from inkgate.rules.lookup.observed import Observed
from inkgate.rules.lookup.steps import finish
from inkgate.rules.lookup.verdicts import examination
from inkgate.rules.match.logs.clean_log_parts import CleanLogParts, host_key
from inkgate.rules.match.logs.entry import Entry, parse_port
from inkgate.rules.select.network_lengths import NETWORK_CLASSES, length_of, next_kept, pieces

# A query for a network is looked up as so many networks at most, by a power of two.
_MOST_BITS: Final = 12


class Engine:
    """Looks entries up in one generation, and remembers what is clean in it.

    Args:
        matcher: looks values up.
        limit: hosts to remember as clean.

    Attributes:
        clean: what is known to be clean.
    """

    def __init__(self, matcher: Matcher, limit: int) -> None:
        self.clean = CleanLogParts(limit)
        self._matcher = matcher
        self._by_name = matcher.classes.by_name
        self._of_clients = matcher.classes.at[ObservedAt.CLIENT]
        self._lengths = matcher.generation.manifest.prefixes

    def matches(self, entry: Entry) -> tuple[Match, ...]:
        """Matches of an entry by itself, each rule once.

        Raises:
            PackError: the rule set is damaged.
        """
        more = entry.names or entry.addresses or entry.values or entry.readings
        if not more and self.clean.covers(
            host_key(entry.uri), entry.server, entry.user_agent, entry.client
        ):
            return ()
        found = [
            *self._request(entry),
            *self._other_readings(entry),
            *self._client(entry.client),
            *self._names(entry),
            *self._addresses(entry),
            *self._values(entry),
        ]
        return tuple({rule_of(match): match for match in found}.values())

    def _request(self, entry: Entry) -> Iterator[Match]:
        seen = Observed(entry.method, entry.uri, entry.server, entry.user_agent)
        found = finish(examination(seen, self._matcher), self._matcher.stretch)
        clean = self.clean
        key = host_key(entry.uri)
        clean_server = found.clean_server or not entry.server
        if found.clean_host:
            clean.keep_host(entry.method, key, by_server=found.by_server)
        if clean_server:
            clean.keep_server(entry.server, unpaired=found.unpaired)
        # Which rules a server's address matches depends only on host, port and address.
        if found.clean_host and not found.at_server and (found.by_server or not clean_server):
            clean.keep_pair(entry.method, key, entry.server)
        if found.clean_agent:
            clean.keep_agent(entry.user_agent)
        yield from found.matches
        if not entry.uri and entry.server:
            yield from self._server(entry.server, None, parse_port(entry.port))

    def _other_readings(self, entry: Entry) -> Iterator[Match]:
        for uri, agent in entry.readings:
            server = entry.server if uri else ""
            yield from self._request(entry._replace(uri=uri, user_agent=agent, server=server))

    def _client(self, client: str) -> Iterator[Match]:
        if client and self._of_clients and not self.clean.clients.get(client):
            found = list(self._source(client))
            yield from found
            if found:
                return
        self.clean.keep_client(client)

    def _source(self, client: str) -> Iterator[Match]:
        try:
            address = canonical_address(client)
        except Refused:
            return
        for length in self._lengths.get("6" if ":" in address else "4", ()):
            data = network_of(address, length).encode()
            for keys in self._of_clients:
                if match := self._matcher.look_up(keys.name, "ip", data):
                    yield match

    def _names(self, entry: Entry) -> Iterator[Match]:
        for name in entry.names:
            part = ("name", name, entry.port)
            if self.clean.names.get(part):
                continue
            found: tuple[Match, ...] = ()
            if (host := _host(name)) is not None:
                found = finish(
                    self._matcher.host_steps(host[0], parse_port(entry.port), whole=host[1]),
                    self._matcher.stretch,
                ).matches
            yield from found
            if not found:
                self.clean.keep_name(part)

    def _addresses(self, entry: Entry) -> Iterator[Match]:
        host = _host(entry.names[0]) if entry.names else None
        for text in entry.addresses:
            yield from self._server(text, host[0] if host else None, None)

    def _server(self, text: str, host: Host | None, port: int | None) -> Iterator[Match]:
        host = host if host is not None and self._may_have_pairs(host) else None
        part = ("server", text, host, port)
        if self.clean.names.get(part):
            return
        found: tuple[Match, ...] = ()
        try:
            steps = self._matcher.server_steps(canonical_address(text), host, port)
            found = finish(steps, self._matcher.stretch).matches
        except Refused:
            pass
        yield from found
        if not found:
            self.clean.keep_name(part)

    def _may_have_pairs(self, host: Host) -> bool:
        part = ("no pair", host)
        if not self._matcher.has_pairs or self.clean.names.get(part):
            return False
        if finish(self._matcher.pair_steps(host), self._matcher.stretch):
            return True
        self.clean.keep_name(part)
        return False

    def _values(self, entry: Entry) -> Iterator[Match]:
        for name, text in entry.values:
            if name not in self._by_name:
                continue
            try:
                value = canonical_attribute(name, text)
            except Refused:
                continue
            match = self._matcher.look_up(name, value.kind, value.data)
            if match is None and name in NETWORK_CLASSES:
                match = self._around(name, value.parts[0]) or self._in_pieces(name, value.parts[0])
            if match is not None:
                yield match

    def _around(self, name: str, network: str) -> Match | None:
        """The rule of a network that holds all of this one."""
        version, length = length_of(network)
        base = network.partition("/")[0]
        for shorter in sorted(self._lengths.get(version, ())):
            if shorter < length:
                data = network_of(base, shorter).encode()
                if match := self._matcher.look_up(name, "ip", data):
                    return match
        return None

    def _in_pieces(self, name: str, network: str) -> Match | None:
        """The rule of a network whose prefix length the set does not have.

        It was sealed as the networks that it consists of (docs/format.md, section 6).
        """
        version, length = length_of(network)
        lengths = self._lengths.get(version, ())
        if length in lengths or length > max(lengths, default=0):
            return None
        longer = next_kept(length, lengths)
        if longer - length > _MOST_BITS:
            return None
        found = None
        for piece in pieces(network, longer):
            found = self._matcher.look_up(name, "ip", piece.encode())
            if found is None:
                return None
        return found


def rule_of(match: Match) -> tuple[object, ...]:
    """What tells the rule of a match from others."""
    return match.indicator_class, match.message.uuids() or str(match.message)


def _host(name: str) -> tuple[Host, bool] | None:
    try:
        (host, _, _), whole = observed_authority(f"//{name}/")
    except Refused:
        return None
    return host, whole
