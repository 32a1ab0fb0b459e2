"""Canaries: publisher and subscriber agree without a word, and nobody else can guess them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from inkgate.rules.canonical import canonical_attribute
from inkgate.rules.crypto.canaries import Canaries, canaries

VECTORS = sorted((Path(__file__).parent.parent / "vectors" / "canaries").glob("*.json"))

tokens = st.binary(min_size=16, max_size=64)


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_vector(path: Path) -> None:
    vector: dict[str, Any] = json.loads(path.read_text())
    own = canaries(bytes.fromhex(vector["token"]))
    made = {**own._asdict(), "body": own.body.hex(), "sha256": own.digest()}
    assert {**made, "token": vector["token"]} == vector


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_vector_by_hand(path: Path) -> None:
    """Once more from the text of docs/format.md, with nothing but HMAC."""
    vector: dict[str, Any] = json.loads(path.read_text())

    def lp(*fields: str) -> bytes:
        return b"".join(len(f.encode()).to_bytes(4) + f.encode() for f in fields)

    key = hmac.digest(lp("inkgate/v1 canary"), bytes.fromhex(vector["token"]), "sha256")

    def part(what: str, length: int) -> bytes:
        # One block of HKDF-Expand: no part is longer.
        return hmac.digest(key, lp("inkgate/v1 canary", what) + b"\1", "sha256")[:length]

    def host(what: str) -> str:
        return f"inkgate-{what}-{part(what, 16).hex()}.invalid"

    body = f"inkgate canary {part('body', 32).hex()}\n".encode()
    assert vector["name"] == host("name")
    assert vector["url"] == f"http://{host('url')}/canary"
    assert vector["neighbour"] == host("neighbour")
    assert vector["neighbour_url"] == f"http://{host('url')}/neighbour"
    assert vector["reply_port"] == 61000 + int.from_bytes(part("port", 8), "big") % 4500
    assert vector["body"] == body.hex()
    assert vector["sha256"] == hashlib.sha256(body).hexdigest()


@given(tokens, tokens)
def test_two_tokens_share_nothing_that_could_be_guessed(one: bytes, other: bytes) -> None:
    # HMAC pads short keys with zeros, and hashes long ones: these are the same key to it.
    assume(one.ljust(64, b"\0") != other.ljust(64, b"\0"))
    first, second = canaries(one), canaries(other)
    for mine, theirs in zip(secrets_of(first), secrets_of(second), strict=True):
        assert mine != theirs


@given(tokens)
def test_nothing_of_the_token_is_in_them(token: bytes) -> None:
    said = repr(canaries(token)).encode().lower()
    for form in (token, token.hex().encode(), base64.b64encode(token)):
        for start in range(len(form) - 11):
            assert form[start : start + 12].lower() not in said


@given(tokens)
def test_parts_of_one_token_tell_nothing_of_each_other(token: bytes) -> None:
    """Who sees the name in a DNS query does not know what else is listed."""
    parts = [bytes.fromhex(text) for text in secrets_of(canaries(token))]
    starts = [part[:8] for part in parts]
    assert len(set(starts)) == len(parts)
    assert not any(a in b for a in starts for b in parts if not b.startswith(a))


@given(tokens)
def test_values_are_canonical_and_the_port_is_free_for_servers(token: bytes) -> None:
    own = canaries(token)
    assert canonical_attribute("domain", own.name).data == own.name.encode()
    assert canonical_attribute("domain", own.neighbour).data == own.neighbour.encode()
    for url in (own.url, own.neighbour_url):
        assert canonical_attribute("url", url).data == url.removeprefix("http://").encode()
    # Linux's ephemeral ports end at 60,999.
    assert 61_000 <= own.reply_port < 65_536


def test_ports_spread_over_their_range() -> None:
    ports = {canaries(number.to_bytes(16)).reply_port for number in range(4000)}
    # 4,000 draws out of 4,500 leave 0.41 of them out on average.
    assert 2500 < len(ports) < 2800


def test_short_token_has_none() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        canaries(b"x" * 15)


def test_digest_is_that_of_the_body() -> None:
    own = canaries(b"x" * 16)
    assert own.digest() == hashlib.sha256(own.body).hexdigest()
    assert own.digest("md5") == hashlib.md5(own.body).hexdigest()


def secrets_of(own: Canaries) -> list[str]:
    """The hexadecimal parts, which only the token gives."""
    hosts = [own.name, own.url.split("/")[2], own.neighbour]
    return [h.removesuffix(".invalid").rsplit("-")[-1] for h in hosts] + [own.body[15:-1].decode()]
