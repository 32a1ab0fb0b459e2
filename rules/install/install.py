"""Installing a pack: verify it, compile it beside the old generation, replace one link.

At every moment, also after a power cut, `current` names one whole generation.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from inkgate.config.modes import make_folder
from inkgate.config.whole_file import new_folder, remove_folder, remove_unfinished, swap_link
from inkgate.rules.crypto.derive import derive_set_key, token_check
from inkgate.rules.crypto.profiles import Caps
from inkgate.rules.errors import PackError
from inkgate.rules.install.foreign_hint import looks_foreign
from inkgate.rules.install.generation import (
    FOLDER_MODE,
    Generation,
    compile_generation,
    is_sound,
)
from inkgate.rules.install.serials import (
    CURRENT,
    current_folder,
    generation_name,
    remember_serial,
)
from inkgate.rules.pack.files import (
    MANIFEST,
    SIGNATURE,
    check_file,
    gate_path,
    read_small,
    rule_path,
)
from inkgate.rules.pack.manifest import (
    Manifest,
    check_expiry,
    check_serial,
    parse_manifest,
    verify_signature,
)

GENERATIONS: Final = "generations"
# As the README makes it: read by the group of the folder above, Squid's, as generations are.
ROOT_MODE: Final = 0o750
_KEPT: Final = 2


def verify_pack(
    pack: Path,
    *,
    key: Ed25519PublicKey,
    caps: Caps,
    token: bytes,
    now: datetime,
    installed: Callable[[], int | None],
) -> Manifest:
    """Check a pack in the order of docs/format.md, section 6; changes nothing.

    Args:
        installed: gives what `check_serial` measures by; asked when its turn comes.

    Raises:
        PackError: the first check that fails.
    """
    data = read_small(pack / MANIFEST)
    verify_signature(data, read_small(pack / SIGNATURE), key)
    manifest = parse_manifest(data, caps)
    check_expiry(manifest, now)
    check_serial(manifest, installed())
    check_token(manifest, token)
    check_files(pack, manifest)
    return manifest


def check_files(pack: Path, manifest: Manifest) -> None:
    """Check that a pack's files are those that its manifest names.

    Raises:
        PackError: `bad-digest`.
    """
    for name, file in manifest.classes.items():
        check_file(rule_path(pack, name), file)
    for level, gate in manifest.gates.items():
        check_file(gate_path(pack, level), gate)


def check_token(manifest: Manifest, token: bytes) -> bytes:
    """Check that a set was sealed for this token, and return its set_key.

    Raises:
        PackError: `wrong-token`.
    """
    set_key = derive_set_key(token, manifest.set_salt_bytes())
    if not hmac.compare_digest(token_check(set_key), base64.b64decode(manifest.token_check)):
        raise PackError(
            "wrong-token",
            "these rules were sealed for another token",
            "check token_file, or ask the publisher for rules sealed for yours",
        )
    return set_key


def install_pack(
    pack: Path,
    manifest: Manifest,
    root: Path,
    key: Ed25519PublicKey,
    *,
    accept_older: bool = False,
) -> Path:
    """Compile a verified pack into a generation and make it the current one.

    Args:
        key: the publisher's, by which the serial is remembered.
        accept_older: the serial may be below that one, and counts from now on.

    Returns:
        The generation's folder.

    Raises:
        PackError: `bad-rules`, or another tool's rules lie there; the old generation
            stays current.
        OSError: the disk is full or not writable; likewise.
    """
    if current_folder(root) is None:
        _refuse_foreign(root)
    generations = root / GENERATIONS
    make_folder(root, ROOT_MODE)
    make_folder(generations, ROOT_MODE)
    data = read_small(pack / MANIFEST)
    final = generations / generation_name(manifest.serial, data)
    current = current_folder(root)
    if current is not None and current.name.startswith(final.name):
        if _read_or_nothing(current / MANIFEST) == data and is_sound(current):
            remember_serial(root, key, manifest.serial, anew=accept_older)
            return current
        # A damaged generation is not repaired: helpers may have it open. Another is made.
        final = final.with_name(f"{final.name}-{os.urandom(4).hex()}")
    # A folder of this name may be left of an installation that was killed before
    # `current` named it. Nobody uses it, and it is replaced.
    with new_folder(final, FOLDER_MODE) as work:
        compile_generation(pack, manifest, work)
    # Before the swap: after a kill in between, the same pack can be installed again.
    remember_serial(root, key, manifest.serial, anew=accept_older)
    swap_link(root / CURRENT, final)
    _prune(generations, final)
    return final


def open_current(root: Path, caps: Caps) -> Generation:
    """Open the current generation.

    Raises:
        PackError: there is none, or it cannot be read.
    """
    folder = current_folder(root)
    if folder is None:
        _refuse_closed(root)
        _refuse_foreign(root)
        raise PackError(
            "bad-rules",
            f"no rule set is installed in {root}",
            "run inkgate-rules refresh, or on a proxy inkgate-rules install with a pack",
        )
    return Generation(folder, caps)


def _refuse_closed(root: Path) -> None:
    """A folder that this user may not look into is not one without rules."""
    try:
        (root / CURRENT).lstat()
    except PermissionError as error:
        raise PackError(
            "bad-rules",
            f"{root}: {error.strerror}",
            "run this as the user who owns it, or make it readable to the user who runs this",
        ) from None
    except OSError:
        return


def _refuse_foreign(root: Path) -> None:
    tool = looks_foreign(root)
    if tool is not None:
        raise PackError(
            "bad-rules",
            f"{root} holds rules of {tool}, which cost one derivation per rule for every value: "
            "too slow for requests that wait",
            f"match them in batch with inkgate-rules match --foreign {root}, and let "
            "[rules] installed name inkgate's own folder",
        )


def _read_or_nothing(path: Path) -> bytes:
    try:
        return read_small(path)
    except PackError:
        return b""


def _prune(generations: Path, current: Path) -> None:
    """Remove old generations. A helper that has one open can use it until it closes it."""
    remove_unfinished(generations)
    old = sorted(p for p in generations.iterdir() if p != current and p.name[0] != ".")
    for path in old[: 1 - _KEPT]:
        with contextlib.suppress(OSError):
            remove_folder(path)
