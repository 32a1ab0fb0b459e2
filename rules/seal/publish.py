"""From the runs of all partitions to a signed pack: one merge a class, one rename at the end."""

from __future__ import annotations

import heapq
import shutil
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from inkgate.config.modes import make_folder
from inkgate.config.whole_file import new_folder, remove_unfinished, swap_link, writing_new
from inkgate.rules.crypto.gates import LEVELS, build_gate
from inkgate.rules.crypto.profiles import Caps
from inkgate.rules.pack.files import write_gate, write_manifest, write_rules, write_signature
from inkgate.rules.pack.manifest import Manifest, parse_manifest, sign_manifest
from inkgate.rules.seal.gate_values import NETWORKS, level_of
from inkgate.rules.seal.padding import Padding
from inkgate.rules.seal.runs import Run

PACK: Final = "pack"
# Beside the pack's own files, not part of them: what it was made from.
CONTENT: Final = ".content"


def publish(
    workspace: Path,
    base: Manifest,
    runs: Sequence[Run],
    key: Ed25519PrivateKey,
    content: bytes,
    padding: Padding | None,
    caps: Caps,
) -> tuple[Path, Manifest]:
    """Write a new pack and point the workspace's `pack` at it.

    Args:
        base: the manifest without its files.
        content: digest of everything the pack was made from.
        caps: what the manifest must keep to.

    Returns:
        The pack's folder and its manifest.

    Raises:
        PackError: no subscriber would take it; the last pack stays.
    """
    packs = workspace / "packs"
    make_folder(packs, 0o700)
    remove_unfinished(packs)
    final = packs / f"{base.serial:010d}"
    with new_folder(final, 0o700) as work:
        manifest = _write(work, base, runs, padding)
        data = write_manifest(work, manifest)
        parse_manifest(data, caps)
        write_signature(work, sign_manifest(data, key))
        with writing_new(work / CONTENT, 0o600) as file:
            file.write(content)
    swap_link(workspace / PACK, final)
    for old in sorted(p for p in packs.iterdir() if p != final)[:-1]:
        shutil.rmtree(old, ignore_errors=True)
    return final, manifest


def last_serial(workspace: Path) -> int:
    """The highest serial of the packs that are here, whatever their state; 0 if there are none."""
    names = (path.name for path in (workspace / "packs").glob("[0-9]*"))
    return max((int(name) for name in names if name.isdecimal()), default=0)


def published_content(workspace: Path) -> bytes:
    """Digest of what the current pack was made from; empty if there is none."""
    try:
        return (workspace / PACK / CONTENT).read_bytes()
    except OSError:
        return b""


def _write(work: Path, base: Manifest, runs: Sequence[Run], padding: Padding | None) -> Manifest:
    classes = {}
    names = sorted({name for run in runs for name in run.header.rules})
    for name in names:
        parts = [run.rows(name) for run in runs if name in run.header.rules]
        if padding:
            parts.append(padding.rows(name, [run.header for run in runs]))
        classes[name] = write_rules(work, name, heapq.merge(*parts))
    gates = (
        {}
        if base.epsilon == 1
        else {
            level: write_gate(work, level, _gate(level, base.epsilon, runs, padding))
            for level in LEVELS
        }
    )
    return msgspec.structs.replace(base, prefixes=_prefixes(runs), classes=classes, gates=gates)


def _gate(level: str, epsilon: float, runs: Sequence[Run], padding: Padding | None) -> bytes:
    values = sum(run.number_count(level) for run in runs)
    numbers: Iterator[int] = chain.from_iterable(run.numbers(level) for run in runs)
    if level == level_of(NETWORKS):
        # Addresses of one network lie in several partitions.
        networks = {number for run in runs for number in run.numbers(NETWORKS)}
        values += len(networks)
        numbers = chain(numbers, networks)
    if padding:
        dummies = padding.numbers(level, values, [run.header for run in runs])
        values += len(dummies)
        numbers = chain(numbers, dummies)
    return build_gate(numbers, values, epsilon)


def _prefixes(runs: Sequence[Run]) -> dict[str, tuple[int, ...]]:
    lengths: dict[str, set[int]] = {}
    for run in runs:
        for version, found in run.header.prefixes.items():
            lengths.setdefault(version, set()).update(found)
    return {version: tuple(sorted(found)) for version, found in sorted(lengths.items())}
