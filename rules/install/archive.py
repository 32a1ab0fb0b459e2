"""A pack as one file: a tar archive, checked member by member before anything is replaced."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from inkgate.config.modes import make_folder
from inkgate.config.whole_file import naming
from inkgate.rules.crypto.profiles import Caps
from inkgate.rules.errors import PackError
from inkgate.rules.install.install import ROOT_MODE, install_pack, verify_pack
from inkgate.rules.install.serials import highest_serial
from inkgate.rules.install.ustar import Member, read_members
from inkgate.rules.pack.files import MANIFEST, SIGNATURE, gate_path, read_small, rule_path
from inkgate.rules.pack.manifest import (
    MAX_MANIFEST_BYTES,
    Manifest,
    parse_manifest,
    verify_signature,
)


def export_pack(pack: Path, target: BinaryIO) -> Manifest:
    """Write a pack as one archive; the same pack gives the same bytes.

    Raises:
        PackError: it is not a pack.
    """
    data = read_small(pack / MANIFEST)
    manifest = parse_manifest(data, Caps())
    with tarfile.open(fileobj=target, mode="w|", format=tarfile.USTAR_FORMAT) as archive:
        for name in (MANIFEST, SIGNATURE, *_members(manifest)):
            path = pack / name
            info = tarfile.TarInfo(name)
            info.size = path.stat().st_size
            info.mtime = int(manifest.created.timestamp())
            info.mode = 0o644
            with path.open("rb") as file:
                archive.addfile(info, file)
    return manifest


def install_archive(
    source: BinaryIO,
    root: Path,
    *,
    key: Ed25519PublicKey,
    caps: Caps,
    token: bytes,
    now: datetime,
    accept_older: bool = False,
) -> Manifest:
    """Unpack an archive aside, verify all of it, and install it.

    Only the files that a signed manifest names are written, with at most the bytes that it
    declares, under names that are made here from its classes and gates.

    Args:
        accept_older: whatever was installed before, its serial is taken, and counts.

    Raises:
        PackError: the first check that fails; nothing was changed.
    """
    make_folder(root, ROOT_MODE)
    with _folder(root) as folder:
        try:
            with naming(folder):
                _unpack(source, folder, key, caps)
        except tarfile.TarError as error:
            raise PackError(
                "bad-digest", f"the archive is damaged ({error})", "get it again"
            ) from None
        manifest = verify_pack(
            folder,
            key=key,
            caps=caps,
            token=token,
            now=now,
            installed=lambda: None if accept_older else highest_serial(root, key),
        )
        install_pack(folder, manifest, root, key, accept_older=accept_older)
    return manifest


def _unpack(source: BinaryIO, folder: Path, key: Ed25519PublicKey, caps: Caps) -> None:
    members = read_members(source)
    data = _small(members, MANIFEST)
    signature = _small(members, SIGNATURE)
    verify_signature(data, signature, key)
    manifest = parse_manifest(data, caps)
    (folder / MANIFEST).write_bytes(data)
    (folder / SIGNATURE).write_bytes(signature)
    expected = _members(manifest)
    for member in members:
        if expected.pop(member.name, None) != member.size:
            raise PackError(
                "bad-digest", "the archive holds what its manifest does not name", "get it again"
            )
        target = folder / member.name
        target.parent.mkdir(exist_ok=True)
        with target.open("wb") as copy:
            for chunk in member.chunks:
                copy.write(chunk)


def _small(members: Iterator[Member], name: str) -> bytes:
    member = next(members, None)
    if member is None or member.name != name:
        raise PackError("bad-digest", f"the archive does not begin with {name}", "get it again")
    if member.size > MAX_MANIFEST_BYTES:
        raise PackError("too-large", f"{name} is larger than 1 MiB", "this is no pack")
    return b"".join(member.chunks)


def _members(manifest: Manifest) -> dict[str, int]:
    """Names and sizes of a pack's files besides the manifest and its signature."""
    here = Path()
    rules = {str(rule_path(here, name)): f.size for name, f in manifest.classes.items()}
    gates = {str(gate_path(here, level)): g.size for level, g in manifest.gates.items()}
    return {**rules, **gates}


@contextmanager
def _folder(root: Path) -> Iterator[Path]:
    for stale in root.glob(".unpacked-*"):
        shutil.rmtree(stale, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=".unpacked-", dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
