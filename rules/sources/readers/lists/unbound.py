"""Configurations of unbound that keep names from being resolved (unbound.conf(5))."""

from __future__ import annotations

import re
from typing import Final

from inkgate.rules.sources.readers.lists import hosts
from inkgate.rules.sources.readers.lists.dialect import (
    EXCEPTION,
    REMARK,
    Dialect,
    Line,
    listed,
    refused,
)

_OPTION: Final = re.compile(r"([a-z0-9-]+):\s*(.*)")
_REMARK: Final = re.compile(r"\s#")
_WORD: Final = re.compile(r"""\"([^"]*)"|'([^']*)'|(\S+)""")
_BEFORE_TYPE: Final = re.compile(r"\d+[smhdw]?|IN", re.IGNORECASE)
_BLOCKING: Final = frozenset((
    "always_deny", "always_null", "always_nxdomain", "always_nodata", "always_refuse", "deny",
    "inform_deny", "inform_redirect", "redirect", "refuse", "static",
))  # fmt: skip
_PASSING: Final = frozenset((
    "always_transparent", "inform", "ipset", "nodefault", "noview", "transparent",
    "typetransparent",
))  # fmt: skip
_RECORDS: Final = frozenset((
    "CAA", "DNAME", "DNSKEY", "DS", "HINFO", "HTTPS", "LOC", "MX", "NAPTR", "NS", "PTR", "SOA",
    "SPF", "SRV", "SSHFP", "SVCB", "TLSA", "TXT",
))  # fmt: skip
_CLAUSES: Final = frozenset((
    "auth-zone", "cachedb", "dnscrypt", "dnstap", "dynlib", "forward-zone", "ipset", "python",
    "remote-control", "rpz", "server", "stub-zone", "view",
))  # fmt: skip
# What begins the names of options that block nothing, and the other ones. The list is closed: a
# file of lines like `sshd: ...` is none of unbound's, and what it lists must not be skipped.
_FAMILIES: Final = (
    "access-control", "add-", "allow-", "cache-", "cachedb-", "client-subnet-", "control-",
    "cookie-", "del-", "disable-", "dlv-", "dns-", "dns64-", "dnscrypt-", "dnstap-", "do-",
    "edns-", "ede-", "fast-", "for-", "forward-", "harden-", "hide-", "http-", "infra-",
    "interface-", "ip-", "ipsecmod-", "iter-", "key-", "local-data-", "local-zone-", "log-",
    "low-rtt", "max-", "min-", "msg-", "nat64-", "neg-", "num-", "outbound-", "outgoing-", "pad-",
    "prefer-", "private-", "python-", "qname-", "quic-", "ratelimit", "redis-", "response-ip-",
    "root-", "rpz-", "rrset-", "send-", "serve-", "server-", "shm-", "so-", "ssl-", "statistics-",
    "stub-", "tcp-", "tls-", "trust-", "udp-", "unwanted-", "use-", "val-", "wait-", "zonemd-",
)  # fmt: skip
_OTHER: Final = frozenset((
    "additional-ssl-port", "additional-tls-port", "aggressive-nsec", "answer-cookie",
    "auto-trust-anchor-file", "backend", "caps-exempt", "caps-whitelist", "chroot", "define-tag",
    "delay-close", "deny-any", "directory", "discard-timeout", "domain-insecure", "dynlib-file",
    "ede", "extended-statistics", "fallback-enabled", "https-port", "identity", "ignore-cd-flag",
    "include", "include-toplevel", "incoming-num-tcp", "insecure-lan-zones", "interface",
    "jostle-timeout", "keep-missing", "logfile", "master", "minimal-responses", "module-config",
    "name", "name-v4", "name-v6", "nsid", "permit-small-holddown", "pidfile", "port", "prefetch",
    "prefetch-key", "primary", "proxy-protocol-port", "secret-seed", "sock-queue-timeout",
    "stream-wait-size", "tags", "target-fetch-policy", "trusted-keys-file", "unblock-lan-zones",
    "unknown-server-time-limit", "url", "username", "verbosity", "version", "view-first",
    "zonefile",
))  # fmt: skip
# Answers with an address of `response-ip` are not given: nobody gets there.
_ZONES: Final = {"local-zone": "domain", "response-ip": "ip-dst"}
UNKNOWN_ZONE: Final = "a local-zone or response-ip without a type that is known"
UNKNOWN_RECORD: Final = "a record of unbound that is not understood"


def parse(text: str) -> Line | None:
    """What a line of a configuration says."""
    option = _OPTION.fullmatch(_REMARK.split(text, maxsplit=1)[0].rstrip())
    if option is None:
        return None
    name, words = option[1], ["".join(found) for found in _WORD.findall(option[2])]
    if name in _ZONES:
        return _of_zone(_ZONES[name], words)
    if name == "local-data":
        return _of_record(" ".join(words).split())
    if name in _CLAUSES and not words:
        return REMARK
    if name in _OTHER or name.startswith(_FAMILIES):
        return Line(skipped="another option of unbound")
    return None


def _of_zone(misp_type: str, words: list[str]) -> Line:
    if len(words) != len(("name", "type")):
        return refused(UNKNOWN_ZONE)
    value, kind = words
    if kind in _PASSING:
        return EXCEPTION
    return listed(misp_type, value.rstrip(".")) if kind in _BLOCKING else refused(UNKNOWN_ZONE)


def _of_record(fields: list[str]) -> Line:
    """`name [seconds] [IN] type data`."""
    name, *fields = fields or [""]
    while fields and _BEFORE_TYPE.fullmatch(fields[0]):
        fields.pop(0)
    kind = fields[0].upper() if len(fields) > 1 else ""
    if kind in ("A", "AAAA"):
        return listed("hostname", name.rstrip(".")) if _is_sink(fields[1]) else _ANSWERED
    if kind == "CNAME":
        return _ANSWERED
    return (
        Line(skipped="another record of unbound") if kind in _RECORDS else refused(UNKNOWN_RECORD)
    )


def _is_sink(target: str) -> bool:
    try:
        return hosts.leads_nowhere(target)
    except ValueError:
        return False


_ANSWERED: Final = refused(hosts.ANSWERED)
DIALECT: Final = Dialect("unbound", parse, ("#",))
