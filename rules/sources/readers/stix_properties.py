"""From conditions on STIX properties to the attributes of MISP that stand for them."""

from __future__ import annotations

import ipaddress
from typing import Final, NamedTuple

NO_TYPE: Final = "a STIX property that no rule is made from"
SEVERAL: Final = "a STIX pattern of several conditions that no one rule holds"
NO_NETWORK: Final = "ISSUBSET of something that is no address"


class Condition(NamedTuple):
    """One condition.

    Attributes:
        path: the property, as in `file:hashes.SHA-256`: without quotes and indexes.
        value: what it must be.
        is_network: whether it must only lie in the network that `value` is.
    """

    path: str
    value: str
    is_network: bool = False


_Found = tuple[str, str]

_IPS: Final = ("ipv4-addr:value", "ipv6-addr:value")
_RESOLVED: Final = "domain-name:resolves_to_refs.value"
_TARGET: Final = "network-traffic:dst_ref.value"
_ORIGIN: Final = "network-traffic:src_ref.value"
_FILE_NAME: Final = "file:name"
_PORTS: Final = {"network-traffic:dst_port": "dst", "network-traffic:src_port": "src"}
_TYPES: Final = {
    "autonomous-system:number": "AS",
    "domain-name:value": "domain",
    "email-addr:value": "email",
    "email-message:from_ref.value": "email-src",
    "email-message:sender_ref.value": "email-src",
    "email-message:subject": "email-subject",
    "email-message:to_refs.value": "email-dst",
    "ipv4-addr:value": "ip-dst",
    "ipv6-addr:value": "ip-dst",
    "mac-addr:value": "mac-address",
    "mutex:name": "mutex",
    "network-traffic:extensions.http-request-ext.request_header.User-Agent": "user-agent",
    "url:value": "url",
    "windows-registry-key:key": "regkey",
    _FILE_NAME: "filename",
}
# Hold of every file with a digest, and of every request.
_OF_A_FILE: Final = ("file:size", "file:mime_type")
_ADDRESS_KINDS: Final = ("ipv4-addr", "ipv6-addr", "domain-name")
_PROTOCOLS: Final = ("tcp", "ipv4", "ipv6")
_HASH_OWNERS: Final = ("file", "artifact")
_DIGESTS: Final = {
    "md5": "md5", "sha1": "sha1", "sha224": "sha224", "sha256": "sha256", "sha384": "sha384",
    "sha512": "sha512", "sha512/224": "sha512/224", "sha512/256": "sha512/256",
    "sha3224": "sha3-224", "sha3256": "sha3-256", "sha3384": "sha3-384", "sha3512": "sha3-512",
}  # fmt: skip
# Files that are like each other may share one.
_LIKENESSES: Final = {"ssdeep": "ssdeep", "tlsh": "tlsh", "imphash": "imphash"}
_CERTIFICATES: Final = {"md5", "sha1", "sha256"}


def attributes_for(tests: tuple[Condition, ...]) -> list[_Found] | str:
    """The attributes each of which is enough for all conditions, or why there is none.

    Args:
        tests: conditions on one observation, each once.
    """
    for test in tests:
        if test.is_network and test.path not in (*_IPS, _TARGET, _ORIGIN, _RESOLVED):
            return NO_NETWORK
    tests = _without_what_always_holds(tests)
    if len(tests) == 1:
        found = _alone(tests[0])
        return [found] if found else NO_TYPE
    if not tests:
        return NO_TYPE
    return _of_a_file(tests) or _of_two(tests) or SEVERAL


def _alone(test: Condition) -> _Found | None:
    if test.path in (_TARGET, _ORIGIN):
        kind = "ip-src" if test.path == _ORIGIN else "ip-dst"
        return (kind if _is_address(test.value) else "domain"), test.value
    kind = _TYPES.get(test.path, "") or _digest(test) or _likeness(test) or _certificate(test)
    return (kind, test.value) if kind else None


def _of_a_file(tests: tuple[Condition, ...]) -> list[_Found]:
    """Of a file's digests each is enough; with its name, each together with the name."""
    digests = [(kind, test.value) for test in tests if (kind := _digest(test))]
    names = [test.value for test in tests if test.path == _FILE_NAME]
    others = [t for t in tests if t.path != _FILE_NAME and t.path not in _OF_A_FILE]
    known = [t for t in others if _digest(t) or _likeness(t)]
    if not digests or len(known) < len(others) or len(names) > 1:
        return []
    # Two digests of one kind are of two files.
    if len({kind for kind, _ in digests}) < len(digests):
        return []
    if not names:
        return digests
    return [(f"filename|{kind}", f"{names[0]}|{value}") for kind, value in digests]


def _of_two(tests: tuple[Condition, ...]) -> list[_Found]:
    """Two conditions that one composite attribute holds."""
    if len(tests) != 2:
        return []
    by_path = {test.path: test for test in tests}
    name = by_path.pop("domain-name:value", None)
    address = next((by_path.pop(p) for p in (*_IPS, _RESOLVED) if p in by_path), None)
    if name and address and not address.is_network and _is_address(address.value):
        return [("domain|ip", f"{name.value}|{address.value}")]
    return _of_a_port(tests)


def _of_a_port(tests: tuple[Condition, ...]) -> list[_Found]:
    ports = [test for test in tests if test.path in _PORTS]
    hosts = [test for test in tests if test.path not in _PORTS]
    if len(ports) != 1 or hosts[0].is_network or not ports[0].value.isdigit():
        return []
    (host, port), way = (hosts[0], ports[0]), _PORTS[ports[0].path]
    of_its_end = {"dst": _TARGET, "src": _ORIGIN}[way]
    if host.path not in (of_its_end, *_IPS, "domain-name:value"):
        return []
    if _is_address(host.value):
        return [(f"ip-{way}|port", f"{host.value}|{port.value}")]
    return [("hostname|port", f"{host.value}|{port.value}")] if way == "dst" else []


def _without_what_always_holds(tests: tuple[Condition, ...]) -> tuple[Condition, ...]:
    paths = {test.path for test in tests}
    return tuple(test for test in tests if not _always_holds(test, paths))


def _always_holds(test: Condition, paths: set[str]) -> bool:
    """Whether a condition says nothing more than the others, or is met by every request."""
    if test.path.endswith("_ref.type") and test.value in _ADDRESS_KINDS:
        return f"{test.path.removesuffix('.type')}.value" in paths
    return (
        test.path == "network-traffic:protocols"
        and test.value.lower() in _PROTOCOLS
        and len(paths) > 1
    )


def _hash_of(test: Condition, owners: tuple[str, ...]) -> str:
    """The name of a hash without its hyphens, in lower case; empty if it is none."""
    owner, _, steps = test.path.partition(":")
    if owner not in owners or not steps.startswith("hashes."):
        return ""
    return steps.removeprefix("hashes.").lower().replace("-", "").replace("_", "")


def _digest(test: Condition) -> str:
    return _DIGESTS.get(_hash_of(test, _HASH_OWNERS), "")


def _likeness(test: Condition) -> str:
    return _LIKENESSES.get(_hash_of(test, _HASH_OWNERS), "")


def _certificate(test: Condition) -> str:
    name = _hash_of(test, ("x509-certificate",))
    return f"x509-fingerprint-{name}" if name in _CERTIFICATES else ""


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True
