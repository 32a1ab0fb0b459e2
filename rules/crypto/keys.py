"""Tokens and signing keys: made once, kept in files that only their owner reads."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from inkgate.config.errors import InkgateError
from inkgate.config.modes import make_folder
from inkgate.config.whole_file import create_once
from inkgate.rules.crypto.derive import MIN_TOKEN_BYTES

SIGNING_KEY: Final = "signing.key"
_MAX_KEY_BYTES: Final = 64 * 1024


class KeyFileError(InkgateError):
    """A key file is missing or not usable. Never holds any of its content."""

    def __init__(self, path: Path, problem: str, remedy: str) -> None:
        super().__init__(f"{path}: {problem}; {remedy}")


def read_token(path: Path) -> bytes:
    """The subscriber's token: the file's text without white space around it.

    Raises:
        KeyFileError: it cannot be read or is shorter than 16 bytes.
    """
    token = _read(path, "run inkgate-rules keygen, or check token_file").strip()
    if len(token) < MIN_TOKEN_BYTES:
        raise KeyFileError(
            path, f"the token is shorter than {MIN_TOKEN_BYTES} bytes", "run inkgate-rules keygen"
        )
    return token


def read_public_key(path: Path) -> Ed25519PublicKey:
    """The publisher's public key (PEM).

    Raises:
        KeyFileError: it is not an Ed25519 public key.
    """
    # Imported here and below, where it is used: a helper reads the token and none of these
    # keys, and this module is an eighth of a helper's imports.
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    remedy = "get it from the publisher, or run inkgate-rules keygen"
    try:
        key = load_pem_public_key(_read(path, remedy))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
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
        key = load_pem_private_key(_read(path, "run inkgate-rules keygen"), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(path, "is not an Ed25519 private key in PEM", "run inkgate-rules keygen")
    return key


def make_token(path: Path) -> bool:
    """Make a random token (256 bits, mode 0640). Returns False if there is one already."""
    return _create(path, secrets.token_urlsafe(32).encode() + b"\n", 0o640)


def make_signing_key(folder: Path, public: Path) -> bool:
    """Make the publisher's key pair. Returns False if there is one already."""
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    make_folder(folder, 0o700)
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    made = _create(folder / SIGNING_KEY, pem, 0o600)
    key = read_signing_key(folder)
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    _create(public, pem, 0o644)
    return made


def _create(path: Path, data: bytes, mode: int) -> bool:
    # Never overwritten: perhaps only the old key opens what was sealed.
    make_folder(path.parent, 0o755)
    return create_once(path, data, mode)


def _read(path: Path, remedy: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_KEY_BYTES)
    except PermissionError as error:
        # It is there, and another one would fit no rule set that was sealed with it.
        remedy = "correct its owner and mode for the user who runs this"
        raise KeyFileError(path, error.strerror or "cannot be read", remedy) from None
    except OSError as error:
        raise KeyFileError(path, error.strerror or "cannot be read", remedy) from None
