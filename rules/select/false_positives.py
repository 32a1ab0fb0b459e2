"""What must not become a rule: the operator's allow list, and MISP's warninglists.

The allow list always wins. A warninglist drops an indicator that equals one of its
entries, or whose rule would block an entry (a domain above it). It only marks an indicator
that lies below an entry: a hosting service on a list says nothing about each name that
somebody rents there.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from inkgate.rules.canonical import Value, parents
from inkgate.rules.select.warninglists import WITH_SUBDOMAINS, Hit, WarningLists
from inkgate.rules.settings import Disposition

# By default, these lists drop (no proxy should block what is on them); all others mark.
DROPPED_BY_DEFAULT: Final = frozenset(
    [
        "alexa",
        "captive-portals",
        "cisco_top1000",
        "cisco_top5k",
        "cisco_top10k",
        "cisco_top20k",
        "common-ioc-false-positive",
        "empty-hashes",
        "google",
        "ipv6-linklocal",
        "majestic_million",
        "microsoft",
        "microsoft-office365",
        "microsoft-win10-connection-endpoints",
        "moz-top500",
        "multicast",
        "rfc1918",
        "rfc3849",
        "rfc5735",
        "rfc6598",
        "rfc6761",
        "second-level-tlds",
        "ti-falsepositives",
        "tlds",
        "tranco10k",
    ]
)


class ListVerdict(NamedTuple):
    """What happens to an indicator, and which list says so."""

    outcome: Literal["allowed", "dropped", "marked"]
    reason: str


class AllowList:
    """Names (with everything below them), addresses, networks and exact values."""

    def __init__(self, entries: Iterable[Value]) -> None:
        self._names: set[str] = set()
        self._covers: set[str] = set()
        self._exact: set[tuple[str, bytes]] = set()
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for value in entries:
            self._add(value)

    def allows(self, indicator_class: str, value: Value) -> bool:
        """Whether a rule for this indicator would block something that is allowed."""
        if (value.kind, value.data) in self._exact:
            return True
        host = value.host
        if host is not None and host.kind == "name":
            if indicator_class in WITH_SUBDOMAINS and host.value in self._covers:
                return True
            return bool(self._names) and self._names_host(host.value, is_url=value.is_url)
        if self._networks and (host is not None or value.kind == "ip"):
            return self._overlaps(host.value if host else value.parts[0])
        return False

    def _names_host(self, name: str, *, is_url: bool) -> bool:
        # The host of a canonical URL has no www. before it; an entry may have.
        names = (*parents(name), f"www.{name}") if is_url else parents(name)
        return not self._names.isdisjoint(names)

    def _add(self, value: Value) -> None:
        if value.kind == "ip" and len(value.parts) == 1:
            self._networks.append(ipaddress.ip_network(value.parts[0]))
        elif value.kind == "name" and len(value.parts) == 1:
            name = value.parts[0]
            self._names.add(name)
            self._covers.update(parents(name)[1:])
        else:
            self._exact.add((value.kind, value.data))
            if value.is_url and value.host is not None and value.host.kind == "name":
                # A domain rule would block the URL, too.
                self._covers.update(parents(value.host.value))

    def _overlaps(self, text: str) -> bool:
        network = ipaddress.ip_network(text)
        return any(n.version == network.version and n.overlaps(network) for n in self._networks)


class FalsePositives:
    """Allow list and warninglists together.

    Args:
        allowed: what must never be blocked.
        lists: None to do without.
        dispositions: what a list does, by its name; `default` for lists not named.
    """

    def __init__(
        self, allowed: AllowList, lists: WarningLists | None, dispositions: dict[str, Disposition]
    ) -> None:
        self._allowed = allowed
        self._lists = lists
        self._dispositions = dispositions

    def judge(self, indicator_class: str, value: Value) -> ListVerdict | None:
        """None for an indicator that nothing speaks against."""
        if self._allowed.allows(indicator_class, value):
            return ListVerdict("allowed", "allow list")
        if self._lists is None:
            return None
        marked: ListVerdict | None = None
        for hit in self._lists.search(indicator_class, value):
            disposition = self._disposition(hit)
            if disposition == "drop" and hit.relation != "below":
                return ListVerdict("dropped", hit.title)
            if disposition != "off" and marked is None:
                marked = ListVerdict("marked", hit.title)
        return marked

    def _disposition(self, hit: Hit) -> Disposition:
        given = self._dispositions.get(hit.name) or self._dispositions.get("default")
        return given or ("drop" if hit.name in DROPPED_BY_DEFAULT else "mark")
