"""Messages of an aggregation: length-prefixed fields, each signed by its sender.

A message is `LP(kind, group, period, serial, list, sender, body, signature)`; docs/format.md,
section 10.3. The signature covers everything before it, so a message cannot be replayed in
another group, period, list or round, nor under another name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from inkgate.rules.canonical.fields import length_prefixed
from inkgate.sightings.aggregation.errors import AggregationError
from inkgate.sightings.aggregation.session import Session

_LENGTH_BYTES: Final = 4
_FIELDS: Final = 8
_DOMAIN: Final = b"inkgate/v1 aggregation message"
_DOWN_DOMAIN: Final = b"inkgate/v1 aggregation message to a subscriber"
MAX_FRAME: Final = 4096
"""Bytes that a message may have besides its body."""


def split_fields(data: bytes, *, most: int) -> list[bytes]:
    """The fields of `LP(field, field, …)`.

    Raises:
        AggregationError: the bytes are not that, or there are more than `most` (`bad-message`).
    """
    fields: list[bytes] = []
    at, end = 0, len(data)
    while at < end:
        start = at + _LENGTH_BYTES
        stop = start + int.from_bytes(data[at:start])
        if start > end or stop > end or len(fields) == most:
            raise AggregationError("bad-message", "its fields do not add up", "have it sent again")
        fields.append(data[start:stop])
        at = stop
    return fields


def split_pairs(data: bytes, *, most: int) -> dict[str, bytes]:
    """A mapping from names, written as `LP(name, value, …)` with the names in order.

    Raises:
        AggregationError: it is not, or names come twice or out of order (`bad-message`).
    """
    fields = split_fields(data, most=2 * most)
    names = decode_names(fields[::2])
    if len(fields) % 2:
        raise AggregationError("bad-message", "a name has no value", "have it sent again")
    return dict(zip(names, fields[1::2], strict=True))


def join_pairs(pairs: dict[str, bytes]) -> bytes:
    """The opposite of `split_pairs`."""
    return b"".join(length_prefixed(name.encode(), pairs[name]) for name in sorted(pairs))


def join_names(names: Iterable[str]) -> bytes:
    """`LP(name, …)` in ascending order."""
    return length_prefixed(*(name.encode() for name in sorted(names)))


def names_digest(names: Iterable[str]) -> bytes:
    """SHA-256 of a set of names."""
    return hashlib.sha256(join_names(names)).digest()


def decode_names(fields: Sequence[bytes]) -> list[str]:
    """Names in strictly ascending order.

    Raises:
        AggregationError: they are not (`bad-message`).
    """
    try:
        names = [field.decode("ascii") for field in fields]
    except UnicodeDecodeError:
        names = [""]
    if any(a >= b for a, b in pairwise(names)) or "" in names:
        raise AggregationError(
            "bad-message", "names are not in ascending order", "have it sent again"
        )
    return names


def seal(kind: str, session: Session, sender: str, body: bytes, key: Ed25519PrivateKey) -> bytes:
    """A signed message."""
    fields = (kind.encode(), *session.header, sender.encode())
    return length_prefixed(*fields, body, key.sign(_signed(fields, body)))


def unseal(kind: str, session: Session, message: bytes, *, most: int) -> tuple[str, bytes]:
    """Check a message; returns its sender and its body.

    Args:
        kind: the round's name.
        session: what the message must belong to.
        message: from anywhere.
        most: bytes that the body may have.

    Raises:
        AggregationError: a check failed; the refusal names which.
    """
    if len(message) > most + MAX_FRAME:
        raise AggregationError(
            "wrong-length", "a message is longer than this round allows", "drop it"
        )
    fields = split_fields(message, most=_FIELDS)
    if len(fields) != _FIELDS:
        raise AggregationError("bad-message", "its fields do not add up", "have it sent again")
    _check_header(kind, session, fields)
    sender, body, signature = fields[5], fields[6], fields[7]
    key = session.group.identity(sender.decode("ascii", "replace"))
    try:
        key.verify(signature, _signed(fields[:6], body))
    except InvalidSignature:
        raise AggregationError(
            "bad-signature",
            f"a message is not signed by {sender.decode('ascii', 'replace')}",
            "drop it: someone else made it",
        ) from None
    if len(body) > most:
        raise AggregationError("wrong-length", "a body is longer than allowed", "drop it")
    return sender.decode("ascii"), body


def seal_down(
    kind: str, session: Session, recipient: str, body: bytes, key: Ed25519PrivateKey
) -> bytes:
    """What the aggregator sends a subscriber before the round of that kind, signed."""
    fields = (kind.encode(), *session.header, recipient.encode())
    return length_prefixed(*fields, body, key.sign(_signed(fields, body, _DOWN_DOMAIN)))


def unseal_down(kind: str, session: Session, recipient: str, message: bytes, *, most: int) -> bytes:
    """Check that a message is from the aggregator to this subscriber; returns its body.

    Raises:
        AggregationError: a check failed; the refusal names which.
    """
    if len(message) > most + MAX_FRAME:
        raise AggregationError("wrong-length", "a message is longer than allowed", "drop it")
    fields = split_fields(message, most=_FIELDS)
    if len(fields) != _FIELDS:
        raise AggregationError("bad-message", "its fields do not add up", "have it sent again")
    _check_header(kind, session, fields)
    body, signature = fields[6], fields[7]
    try:
        expected = (*fields[:5], recipient.encode())
        signed = _signed(expected, body, _DOWN_DOMAIN)
        session.group.aggregator_identity.verify(signature, signed)
    except InvalidSignature:
        raise AggregationError(
            "bad-signature", "a message is not the aggregator's to this subscriber", "drop it"
        ) from None
    return body


def _signed(fields: Sequence[bytes], body: bytes, domain: bytes = _DOMAIN) -> bytes:
    return length_prefixed(domain, *fields, hashlib.sha256(body).digest())


def _check_header(kind: str, session: Session, fields: list[bytes]) -> None:
    if fields[0] != kind.encode():
        raise AggregationError("wrong-round", f"it is no {kind!r} message", "drop it")
    group, period, *listed = fields[1:5]
    if group != session.header[0]:
        raise AggregationError("wrong-group", "it belongs to another group", "drop it")
    if period != session.header[1]:
        raise AggregationError("wrong-period", "it belongs to another period", "drop it")
    if listed != list(session.header[2:]):
        raise AggregationError(
            "wrong-list", "it counts another list of indicators", "use the list of this period"
        )
