"""Tokens and signing keys: made once, kept in files that only their owner reads."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from inkgate.config.errors import InkgateError
from inkgate.config.modes import make_folder
from inkgate.config.owner import as_owner
from inkgate.config.whole_file import create_once
from inkgate.rules.crypto.weak_token import MIN_TOKEN_BYTES, weakness

SIGNING_KEY: Final = "signing.key"
KEYGEN: Final = "inkgate-rules keygen"
_MAX_KEY_BYTES: Final = 64 * 1024


class KeyFileError(InkgateError):
    """A key file is missing or not usable. Never holds any of its content."""

    def __init__(self, path: Path, problem: str, remedy: str) -> None:
        super().__init__(f"{path}: {problem}; {remedy}")


def read_token(path: Path, made_by: str = KEYGEN, *, is_judged: bool = True) -> bytes:
    """The subscriber's token: the file's text without white space around it.

    Args:
        made_by: the command that makes it, for the remedy.
        is_judged: False for another tool's token, which is as it is.

    Raises:
        KeyFileError: it cannot be read, is shorter than 16 bytes, or was not made at random.
    """
    token = _read(path, f"run {made_by}, or check the setting that names it").strip()
    problem = weakness(token)
    if problem and (is_judged or len(token) < MIN_TOKEN_BYTES):
        raise KeyFileError(path, f"the token {problem}", f"{_move_away(path)}, run {made_by}")
    return token


def read_public_key(path: Path) -> Ed25519PublicKey:
    """The publisher's public key (PEM).

    Raises:
        KeyFileError: it is not an Ed25519 public key.
    """
    # Imported here and below, where it is used: a helper reads the token and none of these
    # keys, and this module is an eighth of a helper's imports.
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    missing = "get it from the publisher, or on the publisher run inkgate-rules keygen"
    try:
        key = load_pem_public_key(_read(path, missing))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        remedy = f"put the publisher's over it; on the publisher {_move_away(path)}, run {KEYGEN}"
        raise KeyFileError(path, "is not an Ed25519 public key in PEM", remedy)
    return key


def read_signing_key(folder: Path) -> Ed25519PrivateKey:
    """The publisher's private key (PEM, PKCS #8).

    Raises:
        KeyFileError: it is not an Ed25519 private key.
    """
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    path = folder / SIGNING_KEY
    try:
        key = load_pem_private_key(_read(path, f"run {KEYGEN}"), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        remedy = f"restore it from a backup; without one, {_move_away(path)}, run {KEYGEN}"
        raise KeyFileError(path, "is not an Ed25519 private key in PEM", remedy)
    return key


def check_pair(folder: Path, public: Path) -> None:
    """See that the publisher's key and the public key that subscribers trust belong together.

    Raises:
        KeyFileError: they do not, or one cannot be read.
    """
    own = read_signing_key(folder).public_key().public_bytes_raw()
    if own != read_public_key(public).public_bytes_raw():
        raise KeyFileError(
            public,
            f"is not the public key of {folder / SIGNING_KEY}, so nobody would take what is "
            "sealed here",
            f"restore the signing key that it belongs to, or {_move_away(public)}, run {KEYGEN}, "
            "and give the new one to all proxies; a proxy that only installs needs no signing key: "
            f"there {_move_away(folder / SIGNING_KEY)}",
        )


def make_token(path: Path, made_by: str = KEYGEN) -> bool:
    """Make a random token (256 bits, mode 0640). Returns False if there is one already.

    Args:
        made_by: see `read_token`.

    Raises:
        KeyFileError: the one that is there is of no use.
    """
    made = _create(path, secrets.token_urlsafe(32).encode() + b"\n", 0o640)
    read_token(path, made_by)
    return made


def make_signing_key(folder: Path, public: Path) -> bool:
    """Make the publisher's key pair. Returns False if there is one already.

    Raises:
        KeyFileError: what is there does not belong together, or is of no use; nothing was
            made.
    """
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    path = folder / SIGNING_KEY
    if os.path.lexists(public) and not os.path.lexists(path):
        raise KeyFileError(
            public,
            f"is here, but {path}, to which it belongs, is not",
            "restore that from a backup; on a proxy whose publisher is another machine all is well "
            f"(run {KEYGEN} --token there); else {_move_away(public)}, run {KEYGEN}, and give the "
            "new public key to all proxies",
        )
    make_folder(folder, 0o700)
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with as_owner(folder):
        made = _create(path, pem, 0o600)
    key = read_signing_key(folder)
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    _create(public, pem, 0o644)
    check_pair(folder, public)
    return made


def _create(path: Path, data: bytes, mode: int) -> bool:
    # Never overwritten: perhaps only the old key opens what was sealed.
    make_folder(path.parent, 0o755)
    return create_once(path, data, mode)


def _read(path: Path, remedy: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_KEY_BYTES)
    except FileNotFoundError as error:
        raise KeyFileError(path, str(error.strerror), remedy) from None
    except OSError as error:
        # It is there, and another one would fit no rule set that was sealed with it.
        remedy = "correct its owner and mode, or those of its folders, for the user who runs this"
        raise KeyFileError(path, error.strerror or "cannot be read", remedy) from None


def _move_away(path: Path) -> str:
    return f"move it away (mv {path} {path}.old)"
