"""Makes rule sets as other tools do, from their formats and not with our code.

Formats as in docs/foreign-rules.md; AES is PyCryptodome's, HKDF written out after
RFC 5869, so that no error of ours can cancel itself.
"""

from __future__ import annotations

import base64
import configparser
import csv
import hashlib
import hmac
import math
import os
import struct
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import bcrypt
from Crypto.Cipher import AES

from inkgate.rules.foreign.errors import Unread
from inkgate.rules.foreign.observations import Reader
from inkgate.rules.foreign.plan import Observation

TOKEN = "token-of-a-partner-kF9xQ2pL7vB3nM8w"

# Attribute types and values, joined by `||`, and the message.
Entry = tuple[str, str, str]
DeriveKey = Callable[[bytes, bytes, str], bytes]

ENTRIES: tuple[Entry, ...] = (
    ("domain", "listed.example", "uuid-1,7,20260101"),
    ("ip-dst", "198.51.100.66", "uuid-2,7,20260101"),
    ("url", "files.example/bad?x=1", "uuid-3,7,20260101"),
    ("domain||ip", "pair.example||192.0.2.7", "uuid-4,7,20260101"),
    ("email-recipient", "someone@listed.example", "uuid-5,7,20260101"),
    ("md5", "ab" * 16, "uuid-6,7,20260101"),
)


def observed(queries: Iterable[str]) -> list[Observation]:
    """Arguments `TYPE=VALUE` as the command reads them, all of them sound."""
    unread = Unread()
    seen = list(Reader(("email-recipient",), unread).arguments(queries))
    assert unread.count == 0, unread.first
    return seen


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def hkdf(hash_name: str, password: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    key, block, out = hmac.new(salt, password, hash_name).digest(), b"", b""
    for number in range(1, 256):
        block = hmac.new(key, block + info + bytes([number]), hash_name).digest()
        out += block
    return out[:length]


def aes_ctr(key: bytes, first: bytes, data: bytes) -> bytes:
    return AES.new(key, AES.MODE_CTR, nonce=b"", initial_value=first).encrypt(data)


def thesis_key(module: str, metadata: Mapping[str, str]) -> DeriveKey:
    token = TOKEN.encode()

    def derive(value: bytes, salt: bytes, types: str) -> bytes:
        if module == "pbkdf2":
            cost = metadata["ipiterations" if "ip" in types else "iterations"]
            length = int(metadata["dklen"])
            name = metadata["hash_name"]
            return hashlib.pbkdf2_hmac(name, value + token, salt, int(cost), length)
        if module == "bcrypt":
            addresses = ("ip-dst", "ip-src", "ip-dst||port", "ip-src||port")
            rounds = int(metadata["ipround" if types in addresses else "round"])
            password = hashlib.sha256(value + token).digest()
            return bcrypt.kdf(password, salt, 32, rounds, ignore_few_rounds=True)
        if module == "hkdf":
            return hkdf("sha256", value, salt, token, 32)
        return hashlib.new(module, value + token + salt).digest()[:32]

    return derive


PBKDF2 = {"hash_name": "sha256", "dklen": "32", "iterations": "3", "ipiterations": "5"}
METADATA: dict[str, dict[str, str]] = {
    "pbkdf2": PBKDF2,
    "bcrypt": {"round": "1", "ipround": "2"},
    "sha256": {},
    "sha384": {},
    "sha512": {},
    "hkdf": {},
    "bloom_filter": {"error_rate": "0.01"},
    "bloomy_pbkdf2": PBKDF2,
    "bloomy_sha256": {},
}


def thesis_folder(
    folder: Path,
    name: str,
    entries: Iterable[Entry] = ENTRIES,
    changed: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """A whole rule folder of a module, with changed metadata if need be."""
    metadata = {**METADATA[name], **changed}
    entries = list(entries)
    folder.mkdir()
    parser = configparser.ConfigParser()
    parser["crypto"] = {"name": name, **metadata}
    with (folder / "metadata").open("w") as file:
        parser.write(file)
    module = name.removeprefix("bloomy_")
    if module != name or name == "bloom_filter":
        values = [v for _, joined, _ in entries for v in {joined, *joined.split("||")}]
        rate = 0.01 if name == "bloom_filter" else 0.3
        (folder / "joker").write_bytes(bloom([v + TOKEN for v in values], rate))
    if name != "bloom_filter":
        derive = thesis_key(module, metadata)
        for types in {types for types, _, _ in entries}:
            rows = [thesis_row(e, derive) for e in entries if e[0] == types]
            with (folder / f"{'_'.join(types.split('||'))}.tsv").open("w") as file:
                writer = csv.DictWriter(file, rows[0].keys(), delimiter="\t")
                writer.writeheader()
                writer.writerows(rows)
    return folder


def thesis_row(entry: Entry, derive: DeriveKey) -> dict[str, str]:
    types, value, message = entry
    salt, nonce = os.urandom(16), os.urandom(16)
    sealed = aes_ctr(derive(value.encode(), salt, types), nonce, bytes(16) + message.encode())
    return {
        "salt": b64(salt),
        "attributes": types,
        "nonce": b64(nonce),
        "ciphertext-check": b64(sealed[:16]),
        "ciphertext": b64(sealed[16:]),
    }


def bloom(values: list[str], rate: float, capacity: int = 0) -> bytes:
    """A filter as pybloom 2.0 writes it."""
    capacity = capacity or len(values)
    slices = math.ceil(math.log2(1 / rate))
    width = math.ceil(capacity * abs(math.log(rate)) / (slices * math.log(2) ** 2))
    letter = "Q" if width >= 2**31 else "I" if width >= 2**15 else "H"
    size = struct.calcsize(letter)
    digest = "md5"
    for bits, name in ((128, "sha1"), (160, "sha256"), (256, "sha384"), (384, "sha512")):
        if slices * size * 8 > bits:
            digest = name
    ones, count = 0, 0
    for value in values:
        numbers: list[int] = []
        salt = 0
        while len(numbers) < slices:
            prefix = hashlib.new(digest, struct.pack("I", salt)).digest()
            data = hashlib.new(digest, prefix + value.encode()).digest()
            numbers += struct.unpack(letter * (len(data) // size), data)
            salt += 1
        mask = sum(1 << (i * width + n % width) for i, n in enumerate(numbers[:slices]))
        count += ones & mask != mask
        ones |= mask
    header = struct.pack("<dQQQQ", rate, slices, width, capacity, count)
    return header + ones.to_bytes((slices * width + 7) // 8, "little")


def paper_rule(
    path: Path, section: str, types: str, values: str, message: str, hash_name: str = "sha256"
) -> Path:
    """One rule file; types and values joined by commas."""
    salt, first = os.urandom(32), os.urandom(16)
    common = {"hash_name": hash_name, "salt": b64(salt), "dklen": "16"}
    if section == "hkdf":
        key = hkdf(hash_name, values.encode(), salt, path.name.encode(), 16)
    else:
        key = hashlib.pbkdf2_hmac(hash_name, values.encode(), salt, 7, 16)
        common["iterations"] = "7"
    parser = configparser.ConfigParser()
    parser[section] = common
    parser["ioc"] = {
        "id": path.name,
        "attributes": types,
        "iv": b64(first),
        "ciphertext": b64(aes_ctr(key, first, bytes(16) + message.encode())),
    }
    with path.open("w") as file:
        parser.write(file)
    return path
