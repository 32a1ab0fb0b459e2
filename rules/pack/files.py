"""Packs on disk: a TSV file per class, gates, signed manifest (docs/format.md, section 6)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from inkgate.config.modes import make_folder
from inkgate.config.whole_file import writing_new
from inkgate.rules.crypto.message import MAX_PADDED
from inkgate.rules.crypto.sealing import NONCE_BYTES, TAG_BYTES, Rule
from inkgate.rules.errors import PackError
from inkgate.rules.pack.manifest import (
    MAX_MANIFEST_BYTES,
    GateFile,
    Manifest,
    RuleFile,
    encode_manifest,
    file_stem,
)

MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.sig"
MAX_ROW_BYTES: Final = 96 * 1024
# Everybody may read a pack: without its token its rules cannot be opened.
FILE_MODE: Final = 0o644
_AUTHENTICATOR_BYTES: Final = 16
_GATE_LINE: Final = 57  # bytes that make 76 characters of base64


def rule_path(pack: Path, indicator_class: str) -> Path:
    """Where a class's rules lie in a pack."""
    return pack / "rules" / f"{file_stem(indicator_class)}.tsv"


def gate_path(pack: Path, level: str) -> Path:
    """Where a gate lies in a pack."""
    return pack / "gates" / f"{level}.b64"


def write_rules(
    pack: Path, indicator_class: str, rules: Iterable[tuple[bytes, bytes, bytes]]
) -> RuleFile:
    """Write one class's rules, which come sorted by tag, and flush them to disk."""
    count = 0

    def rows() -> Iterator[bytes]:
        nonlocal count
        for rule in rules:
            count += 1
            yield b"\t".join(map(base64.b64encode, rule)) + b"\n"

    size, digest = _write(rule_path(pack, indicator_class), rows())
    return RuleFile(rules=count, size=size, sha256=digest)


def write_gate(pack: Path, level: str, bitmap: bytes) -> GateFile:
    """Write one gate as lines of base64 and flush it to disk."""
    lines = (
        base64.b64encode(bitmap[i : i + _GATE_LINE]) + b"\n"
        for i in range(0, len(bitmap), _GATE_LINE)
    )
    size, digest = _write(gate_path(pack, level), lines)
    return GateFile(bits=len(bitmap) * 8, size=size, sha256=digest)


def write_manifest(pack: Path, manifest: Manifest) -> bytes:
    """Write the manifest and return its bytes, for signing."""
    data = encode_manifest(manifest)
    _write(pack / MANIFEST, [data])
    return data


def write_signature(pack: Path, line: bytes) -> None:
    """Write the signature over the manifest."""
    _write(pack / SIGNATURE, [line])


def read_small(path: Path) -> bytes:
    """Read a manifest or signature, at most 1 MiB.

    Raises:
        PackError: `too-large`, or `bad-digest` for a file that is not there.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise PackError("bad-digest", *_unreadable(path, error)) from None
    if len(data) > MAX_MANIFEST_BYTES:
        raise PackError("too-large", f"{path.name} is larger than 1 MiB", "this is no pack")
    return data


def _unreadable(path: Path, error: OSError) -> tuple[str, str]:
    """Problem and remedy: a file that may not be read is not made better by another pack."""
    if isinstance(error, PermissionError):
        return f"{path} cannot be read ({error.strerror})", "correct its owner and mode"
    return f"{path.name} cannot be read ({error.strerror})", "get the pack again"


def check_file(path: Path, entry: RuleFile | GateFile) -> None:
    """Check a file's size, then its digest: a file of 10 GB too much is not read.

    Raises:
        PackError: `bad-digest`.
    """
    try:
        with path.open("rb") as file:
            sound = os.fstat(file.fileno()).st_size == entry.size and (
                hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256
            )
    except OSError:
        sound = False
    if not sound:
        raise PackError(
            "bad-digest", f"{path.name} is not the file that was signed", "get the pack again"
        )


def read_rules(path: Path) -> Iterator[Rule]:
    """Read a TSV file's rules in order.

    Raises:
        PackError: `bad-rules`, naming file and line.
    """
    last = b""
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_ROW_BYTES + 1), b""), 1):
            rule = _parse_row(line)
            if rule is None or rule.tag <= last:
                raise PackError(
                    "bad-rules",
                    f"{path.name}, line {number} is not a rule or not in order",
                    "get the pack again",
                )
            last = rule.tag
            yield rule


def read_gate(path: Path, bits: int) -> bytes:
    """Read a gate's bitmap.

    Raises:
        PackError: `bad-rules`.
    """
    try:
        bitmap = b"".join(_decode(line.rstrip(b"\n")) for line in path.read_bytes().splitlines())
    except ValueError:
        bitmap = b""
    if len(bitmap) * 8 != bits:
        raise PackError("bad-rules", f"{path.name} is not a gate", "get the pack again")
    return bitmap


def _parse_row(line: bytes) -> Rule | None:
    fields = line[:-1].split(b"\t")
    if len(fields) != 3 or len(line) > MAX_ROW_BYTES or not line.endswith(b"\n"):
        return None
    try:
        rule = Rule(*map(_decode, fields))
    except ValueError:
        return None
    sealed = len(rule.ciphertext) - _AUTHENTICATOR_BYTES
    sound = (
        len(rule.tag) == TAG_BYTES
        and len(rule.nonce) == NONCE_BYTES
        and 128 <= sealed <= MAX_PADDED
    )
    return rule if sound else None


def _decode(text: bytes) -> bytes:
    data = binascii.a2b_base64(text, strict_mode=True)
    # Python accepts trailing bits that are not zero. A row must have one spelling only.
    if binascii.b2a_base64(data, newline=False) != text:
        raise ValueError("base64 is not canonical")
    return data


def _write(path: Path, chunks: Iterable[bytes]) -> tuple[int, str]:
    make_folder(path.parent, 0o755)
    digest = hashlib.sha256()
    size = 0
    with writing_new(path, FILE_MODE) as file:
        for chunk in chunks:
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()
