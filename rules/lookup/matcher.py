"""From an observed value to the messages of the rules it opens (docs/format.md, section 7)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from inkgate.rules.canonical import Host, Refused, network_of, observed_url, strip_www, suffixes
from inkgate.rules.canonical.fields import length_prefixed
from inkgate.rules.crypto.derive import Deriver, rule_info, rule_keys
from inkgate.rules.crypto.message import Message, decode_message
from inkgate.rules.crypto.sealing import rule_aad, unseal
from inkgate.rules.install.generation import Generation
from inkgate.rules.install.install import check_token
from inkgate.rules.lookup.steps import Steps, Stretch, Value, finish

URL_CLASSES: Final = ("url", "uri", "link")


class Match(NamedTuple):
    """A rule that an observed value opened."""

    indicator_class: str
    message: Message


class HostVerdict(NamedTuple):
    """What a host alone decides: its matches, and whether its URLs must be looked at."""

    matches: tuple[Match, ...]
    needs_url: bool


class ServerVerdict(NamedTuple):
    """What a server's address decides: its matches, and whether the port may matter."""

    matches: tuple[Match, ...]
    by_port: bool


CLEAN: Final = HostVerdict((), needs_url=False)


class Matcher:
    """Looks up observed values in one generation.

    Args:
        generation: the installed rules.
        token: the subscriber's secret.
        stretch_with: wraps the derivation, for instance with a cache.

    Raises:
        PackError: `wrong-token`.
    """

    def __init__(
        self,
        generation: Generation,
        token: bytes,
        stretch_with: Callable[[Stretch], Stretch] | None = None,
    ) -> None:
        manifest = generation.manifest
        deriver = Deriver(check_token(manifest, token), manifest.profiles)
        self.generation = generation
        self._stretch: Stretch = stretch_with(deriver.stretch) if stretch_with else deriver.stretch
        set_id = manifest.set_id_bytes()
        self._classes = {
            name: (rule_info(name), rule_aad(set_id, name)) for name in manifest.classes
        }
        self._has_ports = "ip-dst|port" in self._classes
        self._url_classes = tuple(name for name in URL_CLASSES if name in self._classes)
        self._lengths = {
            version: sorted(lengths, reverse=True) for version, lengths in manifest.prefixes.items()
        }

    @property
    def stretch(self) -> Stretch:
        """The derivation that this matcher's look-ups stand on."""
        return self._stretch

    @property
    def has_user_agents(self) -> bool:
        """Whether User-Agent headers can match at all."""
        return "user-agent" in self._classes

    @property
    def has_pairs(self) -> bool:
        """Whether a server's address can match only together with the name asked for."""
        return "domain|ip" in self._classes

    def look_up(self, indicator_class: str, kind: str, data: bytes) -> Match | None:
        """Look up one canonical value in one class.

        Raises:
            PackError: `bad-rules`, if the rule is there but damaged.
        """
        if indicator_class not in self._classes:
            return None
        return self._open(indicator_class, self._stretch(kind, data))

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
        self, host: Host, port: int | None = None, *, whole: bool = True
    ) -> Steps[HostVerdict]:
        """`host` in steps; if it is not the whole host, only domains can be listed."""
        if host.kind == "ip":
            return (yield from self._address_steps(host, port))
        matches: list[Match] = []
        needs_url = False
        url_host = strip_www(host.value)
        for name in suffixes(host.value):
            (stretched,) = yield (("name", name.encode()),)
            if not self.generation.gate_passes("suffix", stretched):
                break
            matches += self._opened(("domain",), stretched)
            if not whole:
                continue
            if name == host.value:
                matches += self._opened(("hostname",), stretched)
                matches += yield from self._port_steps(("hostname|port",), host, port)
            if name == url_host and self._url_classes:
                needs_url = self.generation.gate_passes("url-host", stretched)
        return HostVerdict(tuple(matches), needs_url)

    def url_steps(self, text: str) -> Steps[tuple[Match, ...]]:
        """`url` in steps: the URL and the URL without its query at once."""
        try:
            candidates = observed_url(text)
        except Refused:
            return ()
        derived = yield tuple(("url", value.encode()) for value in candidates)
        return tuple(self._all_opened(self._url_classes, derived))

    def server_steps(
        self, address: str, host: Host | None = None, port: int | None = None
    ) -> Steps[ServerVerdict]:
        """`server_address` in steps, and with the port that was asked for."""
        networks = self._networks(address)
        pair: tuple[Value, ...] = ()
        if host is not None and host.kind == "name" and self.has_pairs:
            pair = (("name", length_prefixed(host.value.encode(), address.encode())),)
        alone: Value = ("ip", address.encode())
        wanted = networks + pair
        if self._has_ports and alone not in networks:
            wanted += (alone,)
        if not wanted:
            return ServerVerdict((), by_port=False)
        derived = dict(zip(wanted, (yield wanted), strict=True))
        matches = [
            *self._all_opened(("ip-dst",), [derived[value] for value in networks]),
            *self._all_opened(("domain|ip",), [derived[value] for value in pair]),
        ]
        by_port = self._has_ports and self.generation.gate_passes("suffix", derived[alone])
        if by_port:
            matches += yield from self._port_steps(("ip-dst|port",), Host("ip", address), port)
        return ServerVerdict(tuple(matches), by_port)

    def user_agent_steps(self, text: str) -> Steps[tuple[Match, ...]]:
        """`user_agent` in steps."""
        if not self.has_user_agents:
            return ()
        (stretched,) = yield (("text", text.strip().encode("utf-8", "replace")),)
        return tuple(self._opened(("user-agent",), stretched))

    def _address_steps(self, host: Host, port: int | None) -> Steps[HostVerdict]:
        networks = self._networks(host.value)
        derived = yield (*networks, ("ip", host.value.encode()))
        matches = list(self._all_opened(("ip-dst",), derived[:-1]))
        stretched = derived[-1]
        needs_url = False
        if self.generation.gate_passes("suffix", stretched):
            matches += self._opened(("domain", "hostname"), stretched)
            matches += yield from self._port_steps(("hostname|port", "ip-dst|port"), host, port)
            if self._url_classes:
                needs_url = self.generation.gate_passes("url-host", stretched)
        return HostVerdict(tuple(matches), needs_url)

    def _networks(self, address: str) -> tuple[Value, ...]:
        if "ip-dst" not in self._classes:
            return ()
        lengths = self._lengths.get("6" if ":" in address else "4", ())
        return tuple(("ip", network_of(address, length).encode()) for length in lengths)

    def _port_steps(
        self, names: tuple[str, ...], host: Host, port: int | None
    ) -> Steps[list[Match]]:
        if port is None or not any(name in self._classes for name in names):
            return []
        data = length_prefixed(host.value.encode(), str(port).encode())
        (stretched,) = yield ((host.kind, data),)
        return self._opened(names, stretched)

    def _all_opened(self, names: tuple[str, ...], derived: Sequence[bytes]) -> Iterator[Match]:
        for stretched in derived:
            yield from self._opened(names, stretched)

    def _opened(self, names: tuple[str, ...], stretched: bytes) -> list[Match]:
        found = (self._open(name, stretched) for name in names if name in self._classes)
        return [match for match in found if match]

    def _open(self, name: str, stretched: bytes) -> Match | None:
        info, aad = self._classes[name]
        tag, key = rule_keys(stretched, info)
        rule = self.generation.find(name, tag)
        if rule is None:
            return None
        message = decode_message(unseal(rule, key, aad))
        return None if message.is_over(time.time()) else Match(name, message)
