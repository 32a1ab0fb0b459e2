"""From MISP attributes to indicators: the class and canonical value that a rule is made from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from inkgate.rules.canonical import Refused, Value, canonical_attribute, class_of
from inkgate.rules.crypto.message import RecordedAction
from inkgate.rules.sources.attribute import Attribute

SHORTEST: Final = {"4": 8, "6": 16}


class Record(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One attribute's part in a rule; all records with one class and value make one rule.

    Attributes:
        host_kind, host: the host that the gates must let through; empty if there is none.
        is_url: whether that is the host of a URL.
        expires: seconds since 1970; 0 for never.
        fields: what the message tells about the attribute.
    """

    indicator_class: str
    kind: str
    data: bytes
    host_kind: str
    host: str
    is_url: bool
    action: RecordedAction
    expires: int
    fields: dict[str, str]

    def base(self) -> bytes:
        """What all values that share derivations have in common: the host's last two labels."""
        if not self.host:
            return self.data
        if self.host_kind == "ip":
            return self.host.encode()
        return b".".join(self.host.encode().rsplit(b".", 2)[-2:])


def indicators_of(
    attribute: Attribute, *, domain_ip_by_domain: bool
) -> Iterator[tuple[str, Value]]:
    """The classes and canonical values that an attribute is sealed under.

    Raises:
        Refused: there is no canonical form; the reason never holds the value.
    """
    value = canonical_attribute(attribute.type, attribute.value)
    _check_network(value)
    if attribute.type == "uri" and value.kind == "text":
        raise Refused("a path without a host, which no request shows")
    yield attribute.type, value
    alone = class_of(attribute.type).first_alone
    if alone and domain_ip_by_domain:
        yield alone, canonical_attribute(alone, value.parts[0])


def _check_network(value: Value) -> None:
    """Refuse networks so large that they must be a typing error: MISP accepts 0.0.0.0/0."""
    address, slash, length = value.parts[0].partition("/")
    if value.kind == "ip" and slash and int(length) < SHORTEST["6" if ":" in address else "4"]:
        raise Refused("a network of more than a /8 (IPv6: /16)")


def make_record(
    indicator_class: str,
    value: Value,
    action: RecordedAction,
    expires: int,
    fields: dict[str, str],
) -> Record:
    """The record of an indicator for one attribute."""
    host = value.host
    return Record(
        indicator_class,
        value.kind,
        value.data,
        host.kind if host else "",
        host.value if host else "",
        value.is_url,
        action,
        expires,
        fields,
    )
