"""From an observed value to the messages of the rules it opens (docs/format.md, section 7)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from inkgate.rules.canonical import (
    MAX_VALUE_BYTES,
    Host,
    ObservedAt,
    Refused,
    embedded_v4,
    network_of,
    observed_url,
    strip_www,
    suffixes,
)
from inkgate.rules.canonical.fields import length_prefixed
from inkgate.rules.crypto.derive import Deriver, Unstretched, expand, rule_keys
from inkgate.rules.crypto.message import Message, decode_message
from inkgate.rules.crypto.profiles import Hkdf
from inkgate.rules.crypto.sealing import unseal
from inkgate.rules.install.generation import Generation
from inkgate.rules.install.install import check_token
from inkgate.rules.lookup.set_classes import ClassKeys, set_classes
from inkgate.rules.lookup.steps import Steps, Stretch, Wanted, finish

_REMEMBERING = length_prefixed(b"inkgate/v1 remembered")


class Opener(NamedTuple):
    """By what a rule is found and opened, 32 bytes each. It does not tell the indicator."""

    tag: bytes
    key: bytes


class Match(NamedTuple):
    """A rule that an observed value opened.

    Attributes:
        opener: by what it was; for those who remember it.
    """

    indicator_class: str
    message: Message
    opener: Opener | None = None


class HostVerdict(NamedTuple):
    """What a host alone decides.

    Attributes:
        matches: what is listed.
        needs_url: its URLs must be looked at.
        by_port: at another port it may be listed.
        by_server: with one of its servers' addresses it may be listed.
    """

    matches: tuple[Match, ...]
    needs_url: bool
    by_port: bool = False
    by_server: bool = False


class ServerVerdict(NamedTuple):
    """What a server's address decides.

    Attributes:
        matches: what is listed.
        by_port: with the port it may be listed.
        unpaired: it is known to be listed together with no host.
    """

    matches: tuple[Match, ...]
    by_port: bool
    unpaired: bool = False


class Matcher:
    """Looks up observed values in one generation.

    Args:
        generation: the installed rules.
        token: the subscriber's secret.
        stretch_with: wraps the derivation, for instance with a cache.
        now: seconds since 1970, by which rules end that have an end of their own.

    Attributes:
        classes: the set's classes.
        remembering_key: for what a proxy remembers of its verdicts in this epoch.
        quick_kinds: kinds whose derivation costs next to nothing.

    Raises:
        PackError: `wrong-token`.
    """

    def __init__(
        self,
        generation: Generation,
        token: bytes,
        stretch_with: Callable[[Stretch], Stretch] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        manifest = generation.manifest
        set_key = check_token(manifest, token)
        deriver = Deriver(set_key, manifest.profiles)
        self.remembering_key = expand(set_key, _REMEMBERING, 32)
        self.generation = generation
        self._now = now
        self._stretch: Stretch = stretch_with(deriver.stretch) if stretch_with else deriver.stretch
        self.classes = set_classes(manifest.classes, manifest.set_id_bytes())
        self.quick_kinds = frozenset(
            kind for kind, profile in manifest.profiles.items() if isinstance(profile, Hkdf)
        )
        at = self.classes.at
        self._at_any_suffix = at[ObservedAt.HOST_OR_PARENT]
        self._at_host = at[ObservedAt.HOST]
        self._at_host_port = at[ObservedAt.HOST_WITH_PORT]
        self._at_pair = at[ObservedAt.HOST_WITH_ADDRESS]
        self._at_url = at[ObservedAt.URL]
        self._at_address = at[ObservedAt.ADDRESS]
        self._at_address_port = at[ObservedAt.ADDRESS_WITH_PORT]
        self._at_user_agent = at[ObservedAt.USER_AGENT]
        self._lengths = {
            version: sorted(lengths, reverse=True) for version, lengths in manifest.prefixes.items()
        }
        self._are_gated = manifest.networks_gated
        self._are_pairs_gated = manifest.pairs_gated
        self._gated = {
            version: tuple(sorted({*(manifest.prefixes.get(version, ())), full}))
            if self._at_address
            else (full,)
            for version, full in (("4", 32), ("6", 128))
        }

    @property
    def stretch(self) -> Stretch:
        """The derivation that this matcher's look-ups stand on."""
        return self._stretch

    @property
    def has_user_agents(self) -> bool:
        """Whether User-Agent headers can match at all."""
        return bool(self._at_user_agent)

    @property
    def has_pairs(self) -> bool:
        """Whether a server's address can match only together with the name asked for."""
        return bool(self._at_pair)

    def look_up(self, indicator_class: str, kind: str, data: bytes) -> Match | None:
        """Look up one canonical value in one class.

        Raises:
            PackError: `bad-rules`, if the rule is there but damaged.
        """
        return finish(self.look_up_steps(indicator_class, kind, data), self._stretch)

    def look_up_steps(self, indicator_class: str, kind: str, data: bytes) -> Steps[Match | None]:
        """`look_up` in steps."""
        keys = self.classes.by_name.get(indicator_class)
        if keys is None or len(data) > MAX_VALUE_BYTES:
            return None
        (stretched,) = yield ((kind, data),)
        return self._open(keys, stretched)

    def host(self, host: Host, port: int | None = None) -> HostVerdict:
        """Everything that a request's host decides, with its port if it is known."""
        return finish(self.host_steps(host, port), self._stretch)

    def url(self, text: str) -> tuple[Match, ...]:
        """Matches of a URL whose host passed the gates."""
        return finish(self.url_steps(text), self._stretch)

    def server_address(
        self, address: str, host: Host | None = None, port: int | None = None
    ) -> tuple[Match, ...]:
        """Matches of the server's (canonical) address, alone and with the name and port."""
        return finish(self.server_steps(address, host, port), self._stretch).matches

    def user_agent(self, text: str) -> tuple[Match, ...]:
        """Matches of a User-Agent header's text, without the white space around it."""
        return finish(self.user_agent_steps(text), self._stretch)

    def host_steps(
        self,
        host: Host,
        port: int | None = None,
        *,
        whole: bool = True,
        into: list[Match] | None = None,
    ) -> Steps[HostVerdict]:
        """`host` in steps.

        Args:
            whole: False if it is not the whole host, so that only domains can be listed.
            into: an empty list that has each match as soon as it is found. That of the
                other steps is the same.
        """
        matches: list[Match] = [] if into is None else into
        if host.kind == "ip":
            return (yield from self._address_steps(host, port, matches))
        needs_url = by_port = by_server = False
        url_host = strip_www(host.value)
        for name in suffixes(host.value):
            (stretched,) = yield (("name", name.encode()),)
            if not self.generation.gate_passes("suffix", stretched):
                break
            matches += self._opened(self._at_any_suffix, stretched)
            if not whole:
                continue
            if name == host.value:
                by_port = bool(self._at_host_port)
                matches += self._opened(self._at_host, stretched)
                matches += yield from self._port_steps(self._at_host_port, host, port)
            if name == url_host and self._at_url:
                needs_url = self.generation.gate_passes("url-host", stretched)
        else:
            # As `_name_passes` has it.
            by_server = bool(self._at_pair)
        return HostVerdict(tuple(matches), needs_url, by_port, by_server)

    def host_port_steps(self, host: Host, port: int, into: list[Match]) -> Steps[None]:
        """What a whole host matches at one port, besides what it does at any.

        For the port of the connection, where it is another one than that of the URI.
        """
        is_address = host.kind == "ip"
        classes = self._at_host_port + (self._at_address_port if is_address else ())
        if not classes:
            return
        if is_address:
            if embedded := embedded_v4(host.value):
                yield from self.host_port_steps(Host("ip", embedded), port, into)
            if (yield from self._network_steps(host.value, [])) is None:
                return
        elif not (yield from self._name_passes(host.value)):
            return
        into += yield from self._port_steps(classes, host, port)

    def pair_steps(self, host: Host) -> Steps[bool]:
        """Whether a host may be listed together with the address of a server.

        A pair's name is in the gate, as any name that is listed. Without that look each new
        pair of a name and one of its many addresses would cost a derivation.
        """
        if host.kind != "name" or not self._at_pair:
            return False
        return (yield from self._name_passes(host.value))

    def _are_paired(self, host: Host, address: str) -> Steps[bool | None]:
        """Whether an address may be listed with a host; None if this host is with none."""
        if not (yield from self.pair_steps(host)):
            return None
        if not self._are_pairs_gated:
            return True
        (stretched,) = yield (("ip", address.encode()),)
        return self.generation.gate_passes("suffix", stretched)

    def _name_passes(self, name: str) -> Steps[bool]:
        """Whether a name may be listed, by the gate of its suffixes and itself."""
        for suffix in suffixes(name):
            (stretched,) = yield (("name", suffix.encode()),)
            if not self.generation.gate_passes("suffix", stretched):
                return False
        return True

    def url_steps(self, text: str) -> Steps[tuple[Match, ...]]:
        """`url` in steps: the URL and the URL without its query at once."""
        try:
            candidates = observed_url(text)
        except Refused:
            return ()
        values = (value.encode() for value in candidates)
        wanted: Wanted = tuple(("url", value) for value in values if len(value) <= MAX_VALUE_BYTES)
        if not wanted:
            return ()
        derived = yield wanted
        return tuple(self._all_opened(self._at_url, derived))

    def server_steps(
        self,
        address: str,
        host: Host | None = None,
        port: int | None = None,
        into: list[Match] | None = None,
    ) -> Steps[ServerVerdict]:
        """`server_address` in steps, and with the port that was asked for."""
        matches: list[Match] = [] if into is None else into
        inner = ServerVerdict((), by_port=False, unpaired=True)
        if embedded := embedded_v4(address):
            inner = yield from self.server_steps(embedded, host, port, matches)
        paired = None if host is None else (yield from self._are_paired(host, address))
        unpaired = paired is False and inner.unpaired
        if host is not None and paired:
            data = length_prefixed(host.value.encode(), address.encode())
            (stretched,) = yield (("name", data),)
            matches += self._opened(self._at_pair, stretched)
        if not (self._at_address or self._at_address_port):
            return ServerVerdict(tuple(matches), inner.by_port, unpaired)
        alone = yield from self._network_steps(address, matches)
        by_port = bool(self._at_address_port) and alone is not None
        if by_port:
            matches += yield from self._port_steps(self._at_address_port, Host("ip", address), port)
        return ServerVerdict(tuple(matches), by_port or inner.by_port, unpaired)

    def user_agent_steps(self, text: str) -> Steps[tuple[Match, ...]]:
        """`user_agent` in steps."""
        if not self._at_user_agent:
            return ()
        data = text.strip().encode("utf-8", "replace")
        if len(data) > MAX_VALUE_BYTES:
            return ()
        (stretched,) = yield (("text", data),)
        return tuple(self._opened(self._at_user_agent, stretched))

    def _address_steps(
        self, host: Host, port: int | None, matches: list[Match]
    ) -> Steps[HostVerdict]:
        needs_url = by_port = False
        if embedded := embedded_v4(host.value):
            inner = yield from self._address_steps(Host("ip", embedded), port, matches)
            needs_url, by_port = inner.needs_url, inner.by_port
        stretched = yield from self._network_steps(host.value, matches)
        if stretched is not None:
            matches += self._opened(self._at_any_suffix + self._at_host, stretched)
            at_port = self._at_host_port + self._at_address_port
            by_port = by_port or bool(at_port)
            matches += yield from self._port_steps(at_port, host, port)
            if self._at_url and self.generation.gate_passes("url-host", stretched):
                needs_url = True
        return HostVerdict(tuple(matches), needs_url, by_port)

    def _network_steps(self, address: str, matches: list[Match]) -> Steps[bytes | None]:
        """Look an address and the networks around it up; what it stretches to if it may be listed.

        Shortest prefix first, as suffixes of names: the gate ends it at the first one that
        is not listed, nor anything in it.
        """
        if not self._are_gated:
            return (yield from self._ungated_network_steps(address, matches))
        stretched = b""
        for length in self._gated["6" if ":" in address else "4"]:
            (stretched,) = yield (("ip", network_of(address, length).encode()),)
            if not self.generation.gate_passes("suffix", stretched):
                return None
            matches += self._opened(self._at_address, stretched)
        return stretched

    def _ungated_network_steps(self, address: str, matches: list[Match]) -> Steps[bytes | None]:
        """The same in a set of 0.1.0, whose gate does not know networks: all at once."""
        networks = self._networks(address)
        alone: Unstretched = ("ip", address.encode())
        wanted = networks if alone in networks else (*networks, alone)
        derived = dict(zip(wanted, (yield wanted), strict=True))
        matches += self._all_opened(self._at_address, [derived[value] for value in networks])
        return derived[alone] if self.generation.gate_passes("suffix", derived[alone]) else None

    def _networks(self, address: str) -> tuple[Unstretched, ...]:
        if not self._at_address:
            return ()
        lengths = self._lengths.get("6" if ":" in address else "4", ())
        return tuple(("ip", network_of(address, length).encode()) for length in lengths)

    def _port_steps(
        self, classes: tuple[ClassKeys, ...], host: Host, port: int | None
    ) -> Steps[list[Match]]:
        if port is None or not classes:
            return []
        data = length_prefixed(host.value.encode(), str(port).encode())
        (stretched,) = yield ((host.kind, data),)
        return self._opened(classes, stretched)

    def _all_opened(
        self, classes: tuple[ClassKeys, ...], derived: Sequence[bytes]
    ) -> Iterator[Match]:
        for stretched in derived:
            yield from self._opened(classes, stretched)

    def _opened(self, classes: tuple[ClassKeys, ...], stretched: bytes) -> list[Match]:
        return [match for keys in classes if (match := self._open(keys, stretched))]

    def reopen(self, indicator_class: str, opener: Opener) -> Match | None:
        """A rule that was a match before, if it still is one.

        Raises:
            PackError: `bad-rules`, if the rule is there but damaged.
        """
        keys = self.classes.by_name.get(indicator_class)
        return None if keys is None else self._opened_by(keys, opener)

    def _open(self, keys: ClassKeys, stretched: bytes) -> Match | None:
        return self._opened_by(keys, Opener(*rule_keys(stretched, keys.info)))

    def _opened_by(self, keys: ClassKeys, opener: Opener) -> Match | None:
        rule = self.generation.find(keys.name, opener.tag)
        if rule is None:
            return None
        message = decode_message(unseal(rule, opener.key, keys.aad))
        return None if message.is_over(self._now()) else Match(keys.name, message, opener)
