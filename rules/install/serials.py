"""The highest serial that was installed from each publisher: what no roll-back goes below.

It lies beside `current`, since the installed manifest cannot remember it alone: a disk that
damages the manifest would let any older pack in. A publisher is known by its key, so that
a new one, which begins at serial 1, is not measured by its predecessor.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from inkgate.config.whole_file import write_whole
from inkgate.rules.errors import PackError
from inkgate.rules.pack.files import MANIFEST, SIGNATURE, read_small
from inkgate.rules.pack.manifest import verify_signature

SERIALS: Final = "serials.json"
CURRENT: Final = "current"
_MODE: Final = 0o640
_MOST_BYTES: Final = 64 * 1024
# `generation_name`: serial, and the beginning of the manifest's digest.
_NAME: Final = re.compile(r"(\d{10,20})-([0-9a-f]{16})(?:-.*)?")


def current_folder(root: Path) -> Path | None:
    """The current generation's folder, or None if nothing is installed."""
    try:
        return root / (root / CURRENT).readlink()
    except OSError:
        return None


def generation_name(serial: int, manifest: bytes) -> str:
    """The name of a generation's folder, without what tells it from a damaged one."""
    return f"{serial:010d}-{_digest(manifest)}"


def highest_serial(root: Path, key: Ed25519PublicKey) -> int:
    """The highest serial that was installed from a publisher; 0 if there was none.

    Both the memory and what is installed count, whichever is higher. What is installed has
    its serial in the folder's name, so a damaged manifest counts, too.

    Raises:
        PackError: `rolled-back`, since the memory is damaged.
    """
    known = _read(root)
    serials = [known[name] for name in (_fingerprint(key),) if name in known]
    installed = _installed(root, key, is_remembered=bool(known))
    if installed is not None:
        serials.append(installed)
    return max(serials, default=0)


def highest_of_all(root: Path) -> int:
    """The highest serial that was installed from any publisher, for who goes on numbering."""
    folder = current_folder(root)
    named = _NAME.fullmatch(folder.name) if folder else None
    return max((0, *_read(root).values(), int(named[1]) if named else 0))


def remember_serial(root: Path, key: Ed25519PublicKey, serial: int, *, anew: bool) -> None:
    """Note the serial that is installed next.

    Args:
        anew: also if it is below the one that was noted, or that cannot be read.

    Raises:
        PackError: `rolled-back`, since the memory is damaged, and not `anew`.
        OSError: it cannot be written.
    """
    try:
        known = _read(root)
    except PackError:
        if not anew:
            raise
        known = {}
    name = _fingerprint(key)
    if anew or known.get(name, 0) < serial:
        data = msgspec.json.encode({**known, name: serial}, order="sorted") + b"\n"
        write_whole(root / SERIALS, data, _MODE)


def _installed(root: Path, key: Ed25519PublicKey, *, is_remembered: bool) -> int | None:
    folder = current_folder(root)
    named = _NAME.fullmatch(folder.name) if folder else None
    if folder is None or named is None:
        return None
    try:
        manifest, signature = read_small(folder / MANIFEST), read_small(folder / SIGNATURE)
        is_whole = _digest(manifest) == named[2]
        verify_signature(manifest, signature, key)
    except PackError as error:
        # Another publisher's, and the memory says what is to be known of this one.
        if error.error_class == "bad-signature" and is_whole and is_remembered:
            return None
    return int(named[1])


def _read(root: Path) -> dict[str, int]:
    try:
        with (root / SERIALS).open("rb") as file:
            return msgspec.json.decode(file.read(_MOST_BYTES), type=dict[str, int])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is damaged"
        raise PackError(
            "rolled-back",
            f"{root / SERIALS}, which tells old packs from new ones, cannot be read ({why})",
            "if you are sure that the pack is the newest, accept it once: inkgate-rules install "
            "--accept-older FILE, or inkgate-rules refresh --accept-older where rules are made",
        ) from None


def _fingerprint(key: Ed25519PublicKey) -> str:
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()


def _digest(manifest: bytes) -> str:
    return hashlib.sha256(manifest).hexdigest()[:16]
