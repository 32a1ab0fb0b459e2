"""From an observed value to the messages of the rules it opens (docs/format.md, section 7)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from rules.canonical import Host, Refused, Url, canonical_url, network_of, strip_www, suffixes
from rules.canonical.fields import length_prefixed
from rules.derive import Deriver, rule_info, rule_keys
from rules.generation import Generation
from rules.install import check_token
from rules.message import Message, decode_message
from rules.sealing import rule_aad, unseal

URL_CLASSES: Final = ("url", "uri", "link")

Stretch = Callable[[str, bytes], bytes]


class Match(NamedTuple):
    """A rule that an observed value opened."""

    indicator_class: str
    message: Message


class HostVerdict(NamedTuple):
    """What a host alone decides: its matches, and whether its URLs must be looked at."""

    matches: tuple[Match, ...]
    needs_url: bool


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
        self._url_classes = tuple(name for name in URL_CLASSES if name in self._classes)
        self._lengths = {
            version: sorted(lengths, reverse=True) for version, lengths in manifest.prefixes.items()
        }

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
        if host.kind == "ip":
            return self._address_host(host, port)
        matches: list[Match] = []
        needs_url = False
        url_host = strip_www(host.value)
        for name in suffixes(host.value):
            stretched = self._stretch("name", name.encode())
            if not self.generation.gate_passes("suffix", stretched):
                break
            matches += self._opened(("domain",), stretched)
            if name == host.value:
                matches += self._opened(("hostname",), stretched)
                matches += self._with_port("hostname|port", "name", host.value, port)
            if name == url_host and self._url_classes:
                needs_url = self.generation.gate_passes("url-host", stretched)
        return HostVerdict(tuple(matches), needs_url)

    def url(self, text: str) -> tuple[Match, ...]:
        """Matches of a URL whose host passed the gates."""
        try:
            url = canonical_url(text)
        except Refused:
            return ()
        return tuple(self._url_matches(url))

    def server_address(self, address: str, host: Host | None = None) -> tuple[Match, ...]:
        """Matches of the server's (canonical) address, alone and together with the name."""
        matches = list(self._networks(address))
        if host is not None and host.kind == "name" and "domain|ip" in self._classes:
            data = length_prefixed(host.value.encode(), address.encode())
            match = self.look_up("domain|ip", "name", data)
            matches += [match] if match else []
        return tuple(matches)

    def user_agent(self, text: str) -> tuple[Match, ...]:
        """Matches of a User-Agent header's text, without the white space around it."""
        match = self.look_up("user-agent", "text", text.strip().encode("utf-8", "replace"))
        return (match,) if match else ()

    def _address_host(self, host: Host, port: int | None) -> HostVerdict:
        matches = list(self._networks(host.value))
        stretched = self._stretch("ip", host.value.encode())
        needs_url = False
        if self.generation.gate_passes("suffix", stretched):
            matches += self._opened(("domain", "hostname"), stretched)
            matches += self._with_port("hostname|port", "ip", host.value, port)
            matches += self._with_port("ip-dst|port", "ip", host.value, port)
            if self._url_classes:
                needs_url = self.generation.gate_passes("url-host", stretched)
        return HostVerdict(tuple(matches), needs_url)

    def _networks(self, address: str) -> Iterator[Match]:
        if "ip-dst" not in self._classes:
            return
        for length in self._lengths.get("6" if ":" in address else "4", ()):
            stretched = self._stretch("ip", network_of(address, length).encode())
            yield from self._opened(("ip-dst",), stretched)

    def _with_port(self, name: str, kind: str, host: str, port: int | None) -> list[Match]:
        if port is None or name not in self._classes:
            return []
        match = self.look_up(name, kind, length_prefixed(host.encode(), str(port).encode()))
        return [match] if match else []

    def _url_matches(self, url: Url) -> Iterator[Match]:
        for value in dict.fromkeys((url.value, url.without_query)):
            yield from self._opened(self._url_classes, self._stretch("url", value.encode()))

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
