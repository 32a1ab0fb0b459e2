"""The known answers of docs/format.md, section 10, also by arithmetic that is not inkgate's."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from inkgate.sightings.aggregation.description import parse_group
from inkgate.sightings.aggregation.group import Group
from inkgate.sightings.aggregation.keystream import words
from inkgate.sightings.aggregation.labels import Labels, label_of, parse_labels
from inkgate.sightings.aggregation.masked import masks
from inkgate.sightings.aggregation.masked.aggregator import MaskedAggregator
from inkgate.sightings.aggregation.masked.secret_sharing import combine_shares
from inkgate.sightings.aggregation.masked.subscriber import MaskedContributor
from inkgate.sightings.aggregation.noise import thresholds
from inkgate.sightings.aggregation.session import Session
from inkgate.sightings.aggregation.shi.scheme import ShiAggregator, ShiContributor, curve
from inkgate.sightings.aggregation.wire import join_pairs, split_pairs, unseal, unseal_down
from support.aggregation import PROTOCOL_NAMES

VECTORS = Path(__file__).parent.parent / "vectors" / "aggregation"
P = 2**256 - 2**32 - 977
G = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)


def load(name: str) -> dict[str, Any]:
    vector: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text())
    return vector


def lp(*fields: bytes) -> bytes:
    return b"".join(len(f).to_bytes(4, "big") + f for f in fields)


def session_of(vector: dict[str, Any]) -> Session:
    group = parse_group(json.dumps(vector["group"]).encode())
    return Session(group, vector["period"], parse_labels(vector["list"].encode()))


def identity(vector: dict[str, Any], name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(vector["identity"][name]))


@pytest.mark.parametrize("name", PROTOCOL_NAMES)
def test_group_list_and_session(name: str) -> None:
    vector = load(name)
    session = session_of(vector)
    assert session.group.digest.hex() == vector["group_digest"]
    assert session.labels.digest.hex() == vector["list_digest"]
    assert session.id.hex() == vector["session"]
    assert Labels(7, map(label_of, vector["uuids"])).encode().decode() == vector["list"]
    # The same with nothing but hashlib and json.
    canonical = json.dumps(vector["group"], sort_keys=True, separators=(",", ":")).encode()
    group = hashlib.sha256(lp(b"inkgate/v1 aggregation group", canonical)).digest()
    assert group.hex() == vector["group_digest"]
    labels = sorted(
        hashlib.sha256(lp(b"inkgate/v1 aggregation label", u.encode())).digest()[:16]
        for u in vector["uuids"]
    )
    listed = hashlib.sha256(b"".join(labels)).digest()
    fields = (group, vector["period"].encode(), (7).to_bytes(8, "big"), listed)
    made = hashlib.sha256(lp(b"inkgate/v1 aggregation session", *fields)).digest()
    assert made.hex() == vector["session"]


def test_shi_messages_and_totals() -> None:
    vector = load("shi")
    session = session_of(vector)
    aggregator = ShiAggregator(session, bytes.fromhex(vector["aggregator_key"]))
    for name, message in vector["messages"].items():
        key = bytes.fromhex(vector["subscriber_keys"][name])
        contributor = ShiContributor(session, name, identity(vector, name), key)
        assert contributor.answer([], vector["counts_in_list_order"][name]).hex() == message
        aggregator.accept(bytes.fromhex(message))
    aggregator.close()
    assert aggregator.totals().values == vector["totals"]
    for label, point in zip(session.labels, vector["points"], strict=True):
        assert curve.encode_point(curve.hash_to_point(session.id, label)).hex() == point


Affine = tuple[int, int] | None


def add(a: Affine, b: Affine) -> Affine:
    """Points of y^2 = x^3 + 7, as in a text book."""
    if a is None or b is None:
        return a or b
    if a[0] == b[0] and (a[1] + b[1]) % P == 0:
        return None
    if a == b:
        slope = 3 * a[0] * a[0] * pow(2 * a[1], -1, P)
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, P)
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def times(number: int, point: Affine) -> Affine:
    total: Affine = None
    while number:
        if number & 1:
            total = add(total, point)
        point, number = add(point, point), number >> 1
    return total


def hashed(session: bytes, label: bytes) -> Affine:
    counter = 0
    while True:
        data = lp(b"inkgate/v1 aggregation shi", session, label) + counter.to_bytes(4, "big")
        digest = hashlib.sha512(data).digest()
        x = int.from_bytes(digest[:32], "big")
        y = pow((x**3 + 7) % P, (P + 1) // 4, P)
        if x < P and y * y % P == (x**3 + 7) % P:
            return x, y if y % 2 == digest[32] % 2 else P - y
        counter += 1


def test_shi_by_text_book_arithmetic() -> None:
    vector = load("shi")
    session = session_of(vector)
    for name, message in vector["messages"].items():
        _, body = unseal("shi-input", session, bytes.fromhex(message), most=4 * 65)
        key = int(vector["subscriber_keys"][name], 16)
        counts = vector["counts_in_list_order"][name]
        for n, (label, count) in enumerate(zip(session.labels, counts, strict=True)):
            point = add(times(key, hashed(session.id, label)), times(count, G))
            assert point
            encoded = b"\x04" + point[0].to_bytes(32, "big") + point[1].to_bytes(32, "big")
            assert body[65 * n : 65 * n + 65] == encoded


def test_masked_secrets() -> None:
    vector = load("masked")
    session = session_of(vector).id
    for name, secret in vector["secret"].items():
        secrets = masks.Secrets(session, bytes.fromhex(secret))
        assert secrets.mask_key.hex() == vector["mask_key"][name]
        assert secrets.channel_key.hex() == vector["channel_key"][name]
        assert secrets.self_mask.hex() == vector["self_mask"][name]
        assert secrets.public.hex() == vector["public"][name]
        assert masks.commitment(session, secrets.self_mask).hex() == vector["commitment"][name]
        stream = masks.self_mask(session, secrets.self_mask).hex()
        assert stream == vector["self_mask_stream"][name]
        for kind in ("mask_key", "self_mask"):
            shares = [bytes.fromhex(s) for s in vector[f"shares_of_{kind}"][name]]
            assert combine_shares(dict(enumerate(shares, 1))).hex() == vector[kind][name]


def hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    key = hmac.digest(salt, secret, "sha256")
    return hmac.digest(key, info + b"\x01", "sha256")


def test_masked_inputs_by_plain_arithmetic() -> None:
    """The masked input from the secrets, with HMAC, X25519, ChaCha20 and Python's integers."""
    vector = load("masked")
    session = session_of(vector)
    domain = b"inkgate/v1 aggregation masked"

    def stream(key: bytes) -> list[int]:
        raw = Cipher(ChaCha20(key, bytes(16)), None).encryptor().update(bytes(32))
        return [int.from_bytes(raw[n : n + 8], "little") for n in range(0, 32, 8)]

    for name, message in vector["messages"]["input"].items():
        total = list(vector["counts_in_list_order"][name])
        own = X25519PrivateKey.from_private_bytes(bytes.fromhex(vector["mask_key"][name]))
        for other, public in vector["public"].items():
            if other == name:
                continue
            theirs = X25519PublicKey.from_public_bytes(bytes.fromhex(public)[32:])
            pair = sorted((name, other))
            registered = [bytes.fromhex(vector["public"][n])[32:] for n in pair]
            bound = lp(*(n.encode() for n in pair), *registered)
            key = hkdf(own.exchange(theirs), session.id, lp(domain, b"pair mask", bound))
            sign = 1 if name < other else -1
            total = [t + sign * w for t, w in zip(total, stream(key), strict=True)]
        seed = bytes.fromhex(vector["self_mask"][name])
        mask = stream(hkdf(seed, session.id, lp(domain, b"self mask stream", b"")))
        body = hkdf(seed, session.id, lp(domain, b"self mask commitment", b""))
        for t, w in zip(total, mask, strict=True):
            body += ((t + w) % 2**64).to_bytes(8, "little")
        assert unseal("input", session, bytes.fromhex(message), most=64)[1] == body


def test_masked_messages_and_totals() -> None:
    vector = load("masked")
    session = session_of(vector)
    kinds = ["keys", "input", "survivors", "unmask"]
    received = {n: [bytes.fromhex(r) for r in rows] for n, rows in vector["received"].items()}
    aggregator = MaskedAggregator(session, bytes.fromhex(vector["aggregator_sealing"]))
    for number, kind in zip((0, 2, 3, 4), kinds, strict=True):
        if number == 2:
            accept_sealed(aggregator, vector, session)
        for name, message in vector["messages"][kind].items():
            contributor = MaskedContributor(
                session, name, identity(vector, name), bytes.fromhex(vector["secret"][name])
            )
            history, counts = received[name][:number], vector["counts_in_list_order"][name]
            assert contributor.answer(history, counts).hex() == message
            aggregator.accept(bytes.fromhex(message))
        sent = aggregator.close()
        if number != 4:
            assert sent == {n: rows[number] for n, rows in received.items()}
    assert aggregator.totals().values == vector["totals"]


def accept_sealed(aggregator: MaskedAggregator, vector: dict[str, Any], session: Session) -> None:
    """Round 1 is random in life, so its messages are sealed from the recorded shares."""
    from inkgate.sightings.aggregation.wire import seal

    for name, row in vector["sealed"].items():
        body = join_pairs({v: bytes.fromhex(s) for v, s in row.items()})
        aggregator.accept(seal("shares", session, name, body, identity(vector, name)))
    sent = aggregator.close()
    for name, rows in vector["received"].items():
        assert sent[name].hex() == rows[1]


def test_sealed_shares_open() -> None:
    vector = load("masked")
    session = session_of(vector).id
    names = sorted(vector["sealed"])
    for sender, row in vector["sealed"].items():
        for n, recipient in enumerate(names):
            opened = masks.open_shares(
                session,
                bytes.fromhex(vector["channel_key"][recipient]),
                bytes.fromhex(vector["public"][sender])[:32],
                sender,
                recipient,
                bytes.fromhex(row[recipient]),
            )
            assert opened
            assert opened.hex() == (
                vector["shares_of_mask_key"][sender][n] + vector["shares_of_self_mask"][sender][n]
            )
    assert [f"{int(w):016x}" for w in words(bytes.fromhex(vector["pair_mask_alpha_beta"]), 4)] == (
        vector["words_of_pair_mask"]
    )
    unmask = bytes.fromhex(vector["messages"]["unmask"]["alpha"])
    sealed = unseal("unmask", session_of(vector), unmask, most=999)[1]
    body = opened_by_hand(vector, "alpha", sealed)
    assert (
        masks.open_unmask(session, bytes.fromhex(vector["aggregator_sealing"]), "alpha", sealed)
        == body
    )
    assert {n: s.hex() for n, s in split_pairs(body, most=9).items()} == {
        name: vector["shares_of_self_mask"][name][0] for name in names
    }


def opened_by_hand(vector: dict[str, Any], sender: str, sealed: bytes) -> bytes:
    """What a subscriber sealed to the aggregator, by docs/format.md alone."""
    own = X25519PrivateKey.from_private_bytes(bytes.fromhex(vector["aggregator_sealing"]))
    public = bytes.fromhex(vector["group"]["aggregator"]["sealing"])
    assert own.public_key().public_bytes_raw() == public
    bound = lp(sender.encode(), sealed[:32], public)
    info = lp(b"inkgate/v1 aggregation masked", b"unmask seal", bound)
    shared = own.exchange(X25519PublicKey.from_public_bytes(sealed[:32]))
    key = hkdf(shared, bytes.fromhex(vector["session"]), info)
    return ChaCha20Poly1305(key).decrypt(bytes(12), sealed[32:], bound)


def test_aggregators_messages_are_signed_for_one_subscriber_and_round() -> None:
    vector = load("masked")
    session = session_of(vector)
    signing = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(vector["aggregator_signing"]))
    kinds = ("shares", "input", "survivors", "unmask")
    for name, bodies in vector["received"].items():
        rows = zip(kinds, bodies, vector["sent_signed"][name], strict=True)
        for kind, body, message in rows:
            fields = (kind.encode(), *session.header, name.encode())
            digest = hashlib.sha256(bytes.fromhex(body)).digest()
            domain = b"inkgate/v1 aggregation message to a subscriber"
            signature = signing.sign(lp(domain, *fields, digest))
            assert lp(*fields, bytes.fromhex(body), signature).hex() == message
            opened = unseal_down(kind, session, name, bytes.fromhex(message), most=9999)
            assert opened.hex() == body


def test_noise_table() -> None:
    vector = load("noise")
    table = thresholds(vector["epsilon_over_sensitivity"])
    assert [f"{t:016x}" for t in table] == vector["thresholds"]
    assert len(table) // 2 == vector["reach"]


def test_groups_have_one_encoding() -> None:
    vector = load("masked")
    shuffled = dict(reversed(vector["group"].items()))
    group = parse_group(json.dumps(shuffled, indent=3).encode())
    assert isinstance(group, Group)
    assert group.digest.hex() == vector["group_digest"]
