"""Make tests/vectors. Run once per format version: the vectors are the contract, not the code."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from inkgate.rules.canonical import canonical_attribute
from inkgate.rules.canonical.fields import length_prefixed
from inkgate.rules.crypto.canaries import canaries
from inkgate.rules.crypto.derive import (
    Deriver,
    derive_set_key,
    gate_info,
    gate_number,
    rule_info,
    rule_keys,
    token_check,
)
from inkgate.rules.crypto.message import encode_message
from inkgate.rules.crypto.profiles import Argon2id, Hkdf, Pbkdf2, Profile
from inkgate.rules.crypto.sealing import rule_aad
from inkgate.rules.pack.manifest import sign_manifest
from inkgate.rules.seal.gate_values import network_values
from inkgate.rules.select.indicators import make_record
from inkgate.rules.select.network_lengths import (
    MOST_LENGTHS,
    gated_lengths,
    kept_lengths,
    length_of,
    next_kept,
    pieces,
)

TOKEN = b"a token of a made-up subscriber"
SALT = bytes(range(32))
SET_ID = bytes(range(16))
NONCE = bytes(range(12))
CANARY_TOKENS = {"text": TOKEN, "bytes": bytes(range(200, 232)), "shortest": bytes(range(16))}
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
UUID = "00000000-0000-4000-8000-000000000001"
PROFILES: dict[str, tuple[Profile, dict[str, Any]]] = {
    "argon2id": (
        Argon2id(memory_kib=1024, iterations=1),
        {"algorithm": "argon2id", "memory_kib": 1024, "iterations": 1, "lanes": 1},
    ),
    "pbkdf2": (
        Pbkdf2(hash="sha256", iterations=1),
        {"algorithm": "pbkdf2", "hash": "sha256", "iterations": 1},
    ),
    "hkdf": (Hkdf(), {"algorithm": "hkdf"}),
}
GOOD = {
    "domain": ("domain", "Listed[.]example.", "argon2id"),
    "url": ("url", "hxxp://www.files.example:80/a/../b%2525?", "argon2id"),
    "ip-dst": ("ip-dst", "198.51.100.66", "pbkdf2"),
    "network": ("ip-dst", "203.0.113.77/26", "pbkdf2"),
    "ipv6": ("ip-dst", "2001:DB8::0:1", "pbkdf2"),
    "sha256": ("sha256", "AB" * 32, "hkdf"),
    "ip-dst-port": ("ip-dst|port", "192.0.2.80|8443", "pbkdf2"),
    "filename-md5": ("filename|md5", "a|b.exe|" + "CD" * 16, "hkdf"),
}

NETWORKS: dict[str, tuple[dict[str, dict[int, int]], tuple[str, ...]]] = {
    "few-lengths": (
        {"4": {16: 2, 24: 7, 32: 40}, "6": {48: 1}},
        ("198.51.0.0/16", "203.0.113.0/24", "192.0.2.77", "2001:db8:7::/48", "2001:db8::1"),
    ),
    "every-length": (
        {"4": dict.fromkeys(range(8, 33), 1), "6": dict.fromkeys(range(16, 129), 1)},
        ("203.0.112.0/23", "192.0.2.76/31", "192.0.2.77", "2001:db8::/33", "2001:db8::4/126"),
    ),
    "fewest-pieces": (
        # Without /21 fewer networks would be sealed in all, and without /18 fewer pieces.
        {"4": {18: 2, 20: 50, 21: 5, **dict.fromkeys((22, 23, 24, 25, 26, 32), 50)}, "6": {}},
        ("203.0.64.0/18", "203.0.112.0/21"),
    ),
    "many-of-one-length": (
        {"4": {**dict.fromkeys(range(20, 33), 1), 23: 5000, 31: 9000}, "6": {}},
        ("203.0.112.0/23", "192.0.2.76/31", "192.0.2.64/28"),
    ),
}


def good(name: str, text: str, profile: str) -> dict[str, Any]:
    """One indicator with all that follows from it."""
    kdf, described = PROFILES[profile]
    set_key = derive_set_key(TOKEN, SALT)
    value = canonical_attribute(name, text)
    stretched = Deriver(set_key, {value.kind: kdf}).stretch(value.kind, value.data)
    tag, key = rule_keys(stretched, rule_info(name))
    padded = encode_message("block", [{"uuid": UUID}])
    aad = rule_aad(SET_ID, name) + length_prefixed(tag)
    return {
        "set": {
            "token": TOKEN.hex(),
            "set_salt": SALT.hex(),
            "set_id": SET_ID.hex(),
            "profile": described,
        },
        "class": name,
        "text": text,
        "kind": value.kind,
        "canonical": value.data.hex(),
        "set_key": set_key.hex(),
        "token_check": token_check(set_key).hex(),
        "stretched": stretched.hex(),
        "gate_number": {
            level: gate_number(stretched, gate_info(level)) for level in ("suffix", "url-host")
        },
        "tag": tag.hex(),
        "key": key.hex(),
        "nonce": NONCE.hex(),
        "padded": padded.hex(),
        "ciphertext": ChaCha20Poly1305(key).encrypt(NONCE, padded, aad).hex(),
    }


def pack() -> tuple[dict[str, bytes], dict[str, Any]]:
    """A sound pack of one rule, its manifest not yet encoded."""
    rule = good(*GOOD["ip-dst"])
    row = b"\t".join(
        base64.b64encode(bytes.fromhex(rule[n])) for n in ("tag", "nonce", "ciphertext")
    )
    data = row + b"\n"
    kdf = {"algorithm": "pbkdf2", "hash": "sha256", "iterations": 1}
    manifest: dict[str, Any] = {
        "format": 1,
        "set_id": SET_ID.hex(),
        "set_salt": base64.b64encode(SALT).decode(),
        "token_check": base64.b64encode(bytes.fromhex(rule["token_check"])).decode(),
        "subscriber": "vectors",
        "serial": 2,
        "created": "2026-01-01T00:00:00Z",
        "expires": "2026-02-01T00:00:00Z",
        "profiles": dict.fromkeys(("name", "ip", "url", "digest", "text"), kdf),
        "epsilon": 1,
        "prefixes": {"4": [32]},
        "classes": {},
        "gates": {},
    }
    return {"rules/ip-dst.tsv": data}, manifest


def bad(
    error: str,
    change: Callable[[dict[str, Any]], object] | None = None,
    *,
    rows: Callable[[bytes], bytes] | None = None,
    swap: bytes | None = None,
    drop: bool = False,
    signature: bytes | None = None,
    token: bytes = TOKEN,
    now: str = "2026-01-15T00:00:00Z",
    installed: int = 1,
) -> dict[str, Any]:
    """A pack with one fault, or none if nothing is given."""
    files, manifest = pack()
    path = "rules/ip-dst.tsv"
    files[path] = rows(files[path]) if rows else files[path]
    manifest["classes"]["ip-dst"] = {
        "rules": 1,
        "size": len(files[path]),
        "sha256": hashlib.sha256(files[path]).hexdigest(),
    }
    if change:
        change(manifest)
    data = json.dumps(manifest, indent=1).encode()
    files["manifest.json"] = data
    files["manifest.sig"] = signature if signature is not None else sign_manifest(data, KEY)
    if swap is not None:
        files[path] = swap
    if drop:
        del files[path]
    public = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return {
        "error": error,
        "public_key": public.hex(),
        "token": token.hex(),
        "now": now,
        "installed_serial": installed,
        "files_b64": {name: base64.b64encode(content).decode() for name, content in files.items()},
    }


def bad_packs() -> dict[str, dict[str, Any]]:
    """One fault a file, and a sound pack to show that nothing else is wrong with them."""
    without_lanes = {"algorithm": "argon2id", "memory_kib": 1024, "iterations": 1}
    dear = {"algorithm": "pbkdf2", "hash": "sha256", "iterations": 10**9}
    return {
        "none-sound-pack": bad(""),
        "none-members-missing": bad(
            "",
            lambda m: (m.update(prefixes={}, later=[1]), m["profiles"].update(url=without_lanes)),
        ),
        "member-missing": bad("bad-manifest", lambda m: m.pop("gates")),
        "signature-empty": bad("bad-signature", signature=b""),
        "signature-of-zeros": bad("bad-signature", signature=base64.b64encode(bytes(64))),
        "format-2": bad("bad-manifest", lambda m: m.update(format=2)),
        "profile-missing": bad("bad-manifest", lambda m: m["profiles"].pop("url")),
        "salt-short": bad("bad-manifest", lambda m: m.update(set_salt="AAAA")),
        "class-climbs": bad(
            "bad-manifest", lambda m: m["classes"].update({"../x": m["classes"].pop("ip-dst")})
        ),
        "profile-costly": bad("too-costly", lambda m: m["profiles"].update(url=dear)),
        "expired": bad("expired", now="2026-02-01T00:00:00Z"),
        "rolled-back": bad("rolled-back", installed=3),
        "too-far-ahead": bad("too-far-ahead", lambda m: m.update(serial=10**12 + 4), installed=3),
        "token-other": bad("wrong-token", token=b"a token of another subscriber"),
        "file-changed": bad("bad-digest", swap=b"x"),
        "file-missing": bad("bad-digest", drop=True),
        "size-lies": bad("bad-digest", lambda m: m["classes"]["ip-dst"].update(size=10 << 30)),
        "row-twice": bad("bad-rules", rows=lambda row: row + row),
        "row-not-canonical-base64": bad(
            "bad-rules", rows=lambda row: row.replace(b"=\t", b"\t", 1)
        ),
        "row-without-newline": bad("bad-rules", rows=lambda row: row[:-1]),
        "count-lies": bad("bad-rules", lambda m: m["classes"]["ip-dst"].update(rules=2)),
    }


def _padded(text: str) -> str:
    body = text.encode()
    return length_prefixed(body).ljust(128, b"\0").hex()


def messages() -> dict[str, dict[str, Any]]:
    """Padded messages, written by hand, and what becomes of each at a moment."""
    one = f'"attributes":[{{"uuid":"{UUID}"}}]'
    cases = {
        "block": ("counts", f'{{"action":"block",{one},"more":0}}'),
        "log": ("counts", f'{{"action":"log",{one},"more":3}}'),
        "unknown-member": ("counts", f'{{"action":"log",{one},"later":[1]}}'),
        "canary": ("counts", f'{{"action":"block",{one},"canary":true,"more":0}}'),
        "canary-not-boolean": ("bad-rules", f'{{"action":"block",{one},"canary":1}}'),
        "expires-later": ("counts", f'{{"action":"block",{one},"expires":1767225601}}'),
        "expires-now": ("over", f'{{"action":"block",{one},"expires":1767225600}}'),
        "action-unknown": ("bad-rules", f'{{"action":"allow",{one}}}'),
        "attributes-missing": ("bad-rules", '{"action":"block"}'),
        "not-json": ("bad-rules", f'{{"action":"block",{one}'),
        "canary-false": ("counts", f'{{"action":"block",{one},"canary":false}}'),
        "no-object": ("bad-rules", f'[{{"action":"block",{one}}}]'),
        "two-objects": ("bad-rules", f'{{"action":"block",{one}}}{{}}'),
        "attributes-empty": ("bad-rules", '{"action":"block","attributes":[]}'),
        "attribute-not-text": ("bad-rules", '{"action":"block","attributes":[{"uuid":1}]}'),
        "attribute-no-object": ("bad-rules", f'{{"action":"block","attributes":["{UUID}"]}}'),
        "action-missing": ("bad-rules", f"{{{one}}}"),
        "more-not-integer": ("bad-rules", f'{{"action":"block",{one},"more":1.5}}'),
        "expires-text": ("bad-rules", f'{{"action":"block",{one},"expires":"1767225601"}}'),
        "expires-null": ("bad-rules", f'{{"action":"block",{one},"expires":null}}'),
    }
    made = {
        name: {"now": 1767225600, "padded": _padded(text), "expected": expected}
        for name, (expected, text) in cases.items()
    }
    made["canary"]["canary"] = True
    lie = "ffffffff" + made["block"]["padded"][8:]
    made["length-lies"] = {"now": 1767225600, "padded": lie, "expected": "bad-rules"}
    return made


def networks(listed: dict[str, dict[int, int]], texts: tuple[str, ...]) -> dict[str, Any]:
    """Which prefix lengths stay, what becomes of networks of others, and which bits are set."""
    kept = {v: kept_lengths(counts, MOST_LENGTHS[v]) for v, counts in listed.items()}
    split: dict[str, Any] = {}
    values: dict[str, list[str]] = {}
    for text in texts:
        value = canonical_attribute("ip-dst", text)
        version, length = length_of(value.parts[0])
        longer = next_kept(length, gated_lengths(kept)[version])
        if longer != length:
            split[text] = {"length": longer, "networks": list(pieces(value.parts[0], longer))}
        else:
            record = make_record("ip-dst", value, "block", 0, {})
            gated = network_values(record, gated_lengths(kept))
            values[text] = [data.decode() for _, data in gated]
    return {
        "listed": {v: {str(n): c for n, c in counts.items()} for v, counts in listed.items()},
        "kept": {v: list(lengths) for v, lengths in kept.items()},
        "pieces": split,
        "gate_values": values,
    }


def canary_vector(token: bytes) -> dict[str, Any]:
    """A token and what a check asks for with it."""
    own = canaries(token)
    return {
        "token": token.hex(),
        "name": own.name,
        "url": own.url,
        "neighbour": own.neighbour,
        "neighbour_url": own.neighbour_url,
        "reply_port": own.reply_port,
        "body": own.body.hex(),
        "sha256": own.digest(),
    }


def main() -> None:
    """Write all vectors below the given folder."""
    folder = Path(sys.argv[1])
    vectors = {f"good/{n}": good(*v) for n, v in GOOD.items()}
    vectors |= {f"bad/{n}": v for n, v in bad_packs().items()}
    vectors |= {f"messages/{n}": v for n, v in messages().items()}
    vectors |= {f"canaries/{n}": canary_vector(token) for n, token in CANARY_TOKENS.items()}
    vectors |= {f"networks/{n}": networks(*v) for n, v in NETWORKS.items()}
    for name, vector in vectors.items():
        path = folder / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(vector, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
