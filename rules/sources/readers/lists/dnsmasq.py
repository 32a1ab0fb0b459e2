"""Configurations of dnsmasq that keep names from being resolved (dnsmasq(8))."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from inkgate.rules.sources.readers.lists import hosts
from inkgate.rules.sources.readers.lists.dialect import EXCEPTION, Dialect, Line, listed, refused

_OPTION: Final = re.compile(r"(?:--)?([a-z0-9][a-zA-Z0-9-]*)(?:\s*=\s*(.*))?")
_REMARK: Final = re.compile(r"\s#")
# What begins the names of options that block nothing, and the other ones. The list is closed: a
# file of lines like `url=...` is none of dnsmasq's, and what it lists must not be skipped.
_FAMILIES: Final = (
    "add-", "auth-", "bind-", "conf-", "connmark-", "dhcp-", "dns-", "dnssec-", "do-", "enable-",
    "log-", "max-", "min-", "mx-", "no-", "pxe-", "quiet-", "rebind-", "script-", "strip-",
    "tftp-",
)  # fmt: skip
_OTHER: Final = frozenset((
    "addn-hosts", "alias", "all-servers", "bogus-priv", "bootp-dynamic", "bridge-interface",
    "caa-record", "cache-rr", "cache-size", "clear-on-reload", "conntrack", "dnssec", "domain",
    "domain-needed", "domain-suffix", "dumpfile", "dumpmask", "edns-packet-max",
    "except-interface", "expand-hosts", "fast-dns-retry", "filter-A", "filter-AAAA", "filter-rr",
    "filterwin2k", "group", "hostsdir", "ignore-address", "interface", "interface-name", "ipset",
    "keep-in-foreground", "leasefile-ro", "leasequery", "listen-address", "local-service",
    "local-ttl", "localise-queries", "localmx", "naptr-record", "neg-ttl", "nftset", "pid-file",
    "port", "port-limit", "proxy-dnssec", "ptr-record", "query-port", "ra-param", "read-ethers",
    "resolv-file", "rev-server", "selfmx", "servers-file", "shared-network", "srv-host",
    "stop-dns-rebind", "strict-order", "synth-domain", "tag-if", "trust-anchor", "txt-record",
    "umbrella", "use-stale-cache", "user",
))  # fmt: skip
NO_NAMES: Final = "an option of dnsmasq without names between slashes"


def parse(text: str) -> Line | None:
    """What an option says."""
    option = _OPTION.fullmatch(_REMARK.split(text, maxsplit=1)[0].rstrip())
    if option is None:
        return None
    name, value = option[1], option[2] or ""
    if name in _LISTING and value:
        return _LISTING[name](name, value)
    if name in _OTHER or name.startswith(_FAMILIES):
        return Line(skipped="another option of dnsmasq")
    return None


def _of_names(name: str, value: str) -> Line:
    domains, slash, target = value[1:].rpartition("/")
    if name != "address" and not value.startswith("/"):
        return Line(skipped="another option of dnsmasq")
    if not value.startswith("/") or not slash:
        return refused(NO_NAMES)
    if name != "address" and target:
        # Asked elsewhere, or `#`: by the usual servers, which takes a name out of the list.
        return EXCEPTION
    if name == "address" and target not in ("", "#") and not _is_sink(target):
        return refused(hosts.ANSWERED)
    names = [domain for domain in domains.split("/") if domain]
    if not names or "#" in names:
        return refused("an option for all names")
    return listed("domain", *names)


def _of_record(_: str, value: str) -> Line:
    """`host-record=name,name,address,address,seconds`."""
    words = [word.strip() for word in value.split(",")]
    addresses = [word for word in words if _is_address(word)]
    names = [word for word in words if word not in addresses and "." in word]
    if not names or not addresses:
        return refused("a record without a name or an address")
    if not all(map(hosts.leads_nowhere, addresses)):
        return refused(hosts.ANSWERED)
    return listed("hostname", *names)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_sink(target: str) -> bool:
    try:
        return hosts.leads_nowhere(target)
    except ValueError:
        return False


def _of_address(_: str, value: str) -> Line:
    # Names with this address do not exist for who asks.
    return listed("ip-dst", value)


def _answered(_: str, __: str) -> Line:
    return refused(hosts.ANSWERED)


_LISTING: Final = {
    "address": _of_names,
    "bogus-nxdomain": _of_address,
    "cname": _answered,
    "dynamic-host": _answered,
    "host-record": _of_record,
    "local": _of_names,
    "server": _of_names,
}
DIALECT: Final = Dialect("dnsmasq", parse, ("#",))
