"""Rule sets of any size, written straight into a generation.

A few indicators are sealed as a refresh does it. The rest are dummies, as padding
makes them (docs/format.md, section 4): who does not know the value cannot tell
them from others, so a look-up cannot either. Gates are filled with random bits
for as many values.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import lmdb
import msgspec
import numpy as np

from inkgate.config.whole_file import swap_link
from inkgate.rules.crypto.gates import LEVELS, gate_bits
from inkgate.rules.crypto.keys import read_signing_key
from inkgate.rules.install.generation import RULES
from inkgate.rules.install.serials import CURRENT
from inkgate.rules.pack.files import MANIFEST, SIGNATURE
from inkgate.rules.pack.manifest import GateFile, Manifest, RuleFile, encode_manifest, sign_manifest
from inkgate.rules.refresh.refresh import SEALED
from inkgate.rules.seal.gate_values import NETWORKS, level_of
from inkgate.rules.seal.runs import Run
from support.installation import SETTINGS, Installation, attribute

LISTED = 1000
_CLASSES = {"domain": 0.60, "url": 0.25, "ip-dst": 0.10, "hostname": 0.05}
_ROW_BYTES = 12 + 128 + 16  # nonce, the smallest padded message, authenticator
_CHUNK = 200_000
_RANDOM = np.random.default_rng(2016)


class Peers(NamedTuple):
    """The indicators in clear, for programs that keep them so."""

    domains: list[str]
    urls: list[str]


def listed_domain(number: int) -> str:
    return f"listed{number}.example"


def make(rules: int, *, profiles: str = "", helper: str = "") -> Installation:
    """An installation with so many rules, of which 1,000 domains can be matched.

    Args:
        profiles: the value of `profiles` in inkgate.toml; the defaults without.
        helper: more lines for section `[helper]`.
    """
    text = SETTINGS.replace(
        'profiles = { name = "test", ip = "test", url = "test", text = "test" }',
        f"profiles = {profiles}" if profiles else "",
    ).replace("[helper]", f"[helper]\n{helper}")
    made = Installation(text)
    made.add("listed", *(attribute("domain", listed_domain(n)) for n in range(LISTED)))
    made.add(
        "others",
        attribute("url", "http://files.example/bad"),
        attribute("ip-dst", "198.51.100.66"),
        attribute("hostname", "login.bank.test"),
    )
    made.refresh()
    enlarge(made, rules)
    return made


def enlarge(installation: Installation, rules: int) -> None:
    """Make the installed set one of so many rules, as a new generation of the same epoch."""
    root = installation.places.installed
    old = (root / CURRENT).resolve()
    manifest = msgspec.json.decode((old / MANIFEST).read_bytes(), type=Manifest)
    more = {
        name: max(0, int(rules * part) - manifest.classes[name].rules)
        for name, part in _CLASSES.items()
    }
    new = old.with_name(f"{manifest.serial + 1:010d}-{os.urandom(8).hex()}")
    new.mkdir(mode=0o2750)
    _write_rules(old / RULES, new / RULES, sorted(manifest.classes), more)
    gates = {level: _write_gate(installation, new, level, manifest, rules) for level in LEVELS}
    classes = {
        name: RuleFile(rules=file.rules + more.get(name, 0), size=0, sha256="0" * 64)
        for name, file in manifest.classes.items()
    }
    data = encode_manifest(
        msgspec.structs.replace(manifest, serial=manifest.serial + 1, classes=classes, gates=gates)
    )
    (new / MANIFEST).write_bytes(data)
    key = read_signing_key(installation.places.publisher)
    (new / SIGNATURE).write_bytes(sign_manifest(data, key))
    swap_link(root / CURRENT, new)


def clear_text(rules: int) -> Peers:
    """As many indicators in clear, with the same 1,000 domains among them."""
    domains = int(rules * (_CLASSES["domain"] + _CLASSES["hostname"]))
    return Peers(
        [listed_domain(n) for n in range(LISTED)]
        + [f"bad{n}.test" for n in range(domains - LISTED)],
        [f"files{n}.test/bad/path{n}" for n in range(int(rules * _CLASSES["url"]))],
    )


def _write_rules(source: Path, target: Path, names: list[str], more: dict[str, int]) -> None:
    size = (sum(more.values()) + 2 * LISTED) * 512 + (16 << 20)
    with (
        lmdb.open(str(source), subdir=False, readonly=True, lock=False) as old,
        lmdb.open(
            str(target), subdir=False, map_size=size, lock=False, sync=False, mode=0o640
        ) as env,
    ):
        for number, name in enumerate(names):
            prefix = number.to_bytes(2)
            for rows in _dummies(prefix, more.get(name, 0)):
                with env.begin(write=True) as txn:
                    txn.cursor().putmulti(rows, append=True)
        with env.begin(write=True) as txn, old.begin() as before:
            txn.cursor().putmulti(list(before.cursor()))
        env.sync(True)


def _dummies(prefix: bytes, count: int) -> Iterator[list[tuple[bytes, bytes]]]:
    starts = np.sort(_RANDOM.integers(0, 1 << 64, count, dtype=np.uint64)).astype(">u8")
    for chunk in (starts[i : i + _CHUNK] for i in range(0, count, _CHUNK)):
        noise = _RANDOM.bytes(24 * len(chunk))
        bodies = _RANDOM.bytes(_ROW_BYTES * len(chunk))
        heads = chunk.tobytes()
        yield [
            (
                prefix + heads[8 * i : 8 * i + 8] + noise[24 * i : 24 * i + 24],
                bodies[_ROW_BYTES * i : _ROW_BYTES * (i + 1)],
            )
            for i in range(len(chunk))
        ]


def _write_gate(
    installation: Installation, new: Path, level: str, manifest: Manifest, rules: int
) -> GateFile:
    values = int(rules * (1.2 if level == "suffix" else _CLASSES["url"]))
    bits = gate_bits(values, manifest.epsilon)
    passing = 1 - math.exp(-values / bits)
    bitmap = bytearray()
    while len(bitmap) * 8 < bits:
        random = _RANDOM.random(min(bits, 1 << 22), np.float32)
        bitmap += np.packbits(random < passing, bitorder="little").tobytes()
    sealed = installation.places.publisher / SEALED / manifest.set_id
    for path in sealed.glob("*.run"):
        run = Run(path)
        networks = run.numbers(NETWORKS) if level == level_of(NETWORKS) else ()
        for number in chain(run.numbers(level), networks):
            bitmap[number % bits >> 3] |= 1 << (number % bits & 7)
    (new / f"{level}.gate").write_bytes(bitmap)
    return GateFile(bits=bits, size=0, sha256="0" * 64)
