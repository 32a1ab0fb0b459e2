"""The test vectors of docs/format.md, section 9."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from inkgate.rules.canonical import canonical_attribute
from inkgate.rules.canonical.fields import length_prefixed
from inkgate.rules.crypto.derive import (
    Deriver,
    derive_set_key,
    gate_info,
    gate_number,
    rule_info,
    rule_keys,
    token_check,
)
from inkgate.rules.crypto.message import decode_message
from inkgate.rules.crypto.profiles import Caps, Profile
from inkgate.rules.crypto.sealing import Rule, rule_aad, unseal
from inkgate.rules.errors import PackError
from inkgate.rules.install.install import install_pack, verify_pack

VECTORS = Path(__file__).parent.parent / "vectors"


def load(kind: str) -> list[Any]:
    paths = sorted((VECTORS / kind).glob("*.json"))
    assert paths
    return [pytest.param(json.loads(p.read_text()), id=p.stem) for p in paths]


@pytest.mark.parametrize("vector", load("good"))
def test_good(vector: dict[str, Any]) -> None:
    described = vector["set"]
    token, salt, set_id = (bytes.fromhex(described[n]) for n in ("token", "set_salt", "set_id"))
    set_key = derive_set_key(token, salt)
    assert set_key.hex() == vector["set_key"]
    assert token_check(set_key).hex() == vector["token_check"]
    value = canonical_attribute(vector["class"], vector["text"])
    assert (value.kind, value.data.hex()) == (vector["kind"], vector["canonical"])
    profile: Profile = msgspec.convert(described["profile"], Profile)
    stretched = Deriver(set_key, {value.kind: profile}).stretch(value.kind, value.data)
    assert stretched.hex() == vector["stretched"]
    for level, number in vector["gate_number"].items():
        assert gate_number(stretched, gate_info(level)) == number
    tag, key = rule_keys(stretched, rule_info(vector["class"]))
    assert (tag.hex(), key.hex()) == (vector["tag"], vector["key"])
    rule = Rule(tag, bytes.fromhex(vector["nonce"]), bytes.fromhex(vector["ciphertext"]))
    padded = unseal(rule, key, rule_aad(set_id, vector["class"]))
    assert padded.hex() == vector["padded"]
    assert decode_message(padded).uuids() == ("00000000-0000-4000-8000-000000000001",)


@pytest.mark.parametrize("vector", load("messages"))
def test_message(vector: dict[str, Any]) -> None:
    try:
        message = decode_message(bytes.fromhex(vector["padded"]))
    except PackError as error:
        outcome: str = error.error_class
    else:
        outcome = "over" if message.is_over(vector["now"]) else "counts"
        assert message.is_canary == vector.get("canary", False)
        assert message.uuids() == ("00000000-0000-4000-8000-000000000001",)
    assert outcome == vector["expected"]


@pytest.mark.parametrize("vector", [v for v in load("good") if v.values[0]["kind"] == "digest"])
def test_good_by_hand(vector: dict[str, Any]) -> None:
    """Once more from the text of docs/format.md, with nothing but HMAC."""

    def expand(key: bytes, info: bytes, length: int) -> bytes:
        out = last = b""
        counter = 1
        while len(out) < length:
            last = hmac.new(key, last + info + bytes((counter,)), hashlib.sha256).digest()
            out += last
            counter += 1
        return out[:length]

    token, salt = (bytes.fromhex(vector["set"][n]) for n in ("token", "set_salt"))
    set_key = hmac.new(salt, token, hashlib.sha256).digest()
    kind, value = vector["kind"].encode(), bytes.fromhex(vector["canonical"])
    password = hmac.new(set_key, length_prefixed(kind, value), hashlib.sha256).digest()
    kind_salt = expand(set_key, length_prefixed(b"inkgate/v1 salt", kind), 16)
    extracted = hmac.new(kind_salt, password, hashlib.sha256).digest()
    stretched = expand(extracted, length_prefixed(b"inkgate/v1 stretch"), 32)
    assert stretched.hex() == vector["stretched"]
    info = length_prefixed(b"inkgate/v1 rule", vector["class"].encode())
    assert expand(stretched, info, 64).hex() == vector["tag"] + vector["key"]


@pytest.mark.parametrize("vector", load("bad"))
def test_bad(vector: dict[str, Any], tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    for name, content in vector["files_b64"].items():
        path = pack / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(content))

    def install() -> None:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(vector["public_key"]))
        manifest = verify_pack(
            pack,
            key=key,
            caps=Caps(),
            token=bytes.fromhex(vector["token"]),
            now=datetime.fromisoformat(vector["now"]),
            installed=lambda: vector["installed_serial"],
        )
        install_pack(pack, manifest, tmp_path / "installed", key)

    if not vector["error"]:
        install()
        return
    with pytest.raises(PackError) as error:
        install()
    assert error.value.error_class == vector["error"]
    assert not (tmp_path / "installed" / "current").exists()
