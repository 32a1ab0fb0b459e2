"""The signed manifest of a pack, and the checks on it as pure functions.

Nothing here reads a file or the clock: what is checked is given, so that every
attack can be a test (docs/format.md, section 6).
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import datetime
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from inkgate.rules.canonical.fields import length_prefixed
from inkgate.rules.crypto.gates import LEVELS, MAX_BITS
from inkgate.rules.crypto.profiles import DEFAULT_PROFILES, Caps, Profile, check_profile
from inkgate.rules.errors import PackError

FORMAT: Final = 1
MAX_MANIFEST_BYTES: Final = 1 << 20
MAX_FILE_BYTES: Final = 16 << 30
MAX_CLASSES: Final = 1024
# Whole numbers up to here are exact in every JSON reader (RFC 8259, section 6).
MAX_SERIAL: Final = 2**53 - 1
# How far a pack may be ahead of what is installed: whoever numbers by dates gets no nearer to
# the end, and a slip or a key in wrong hands cannot use all serials up at once.
MAX_SERIAL_STEP: Final = 10**12
_CLASS_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9|_./ -]{0,63}")
_HEX_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_SIGNED = length_prefixed(b"inkgate/v1 manifest")


class RuleFile(msgspec.Struct, frozen=True):
    """Rows, bytes and SHA-256 (hex) of one class's TSV file."""

    rules: int
    size: int
    sha256: str


class GateFile(msgspec.Struct, frozen=True):
    """Bits of a gate; bytes and SHA-256 (hex) of its base64 file."""

    bits: int
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a pack holds and for whom (docs/format.md, section 6).

    Attributes:
        networks_gated: whether the suffix gate knows networks, too. In packs of 0.1.0 it
            does not, and the member is missing.
        pairs_gated: whether the suffix gate knows the addresses of hosts with an address. In
            packs of before it does not, and the member is missing.
    """

    format: int
    set_id: str
    set_salt: str
    token_check: str
    subscriber: str
    serial: int
    created: datetime
    expires: datetime
    profiles: dict[str, Profile]
    epsilon: float
    prefixes: dict[str, tuple[int, ...]]
    classes: dict[str, RuleFile]
    gates: dict[str, GateFile]
    networks_gated: bool = False
    pairs_gated: bool = False

    def set_id_bytes(self) -> bytes:
        """The set's 16-byte id."""
        return bytes.fromhex(self.set_id)

    def set_salt_bytes(self) -> bytes:
        """The set's 32-byte salt."""
        return base64.b64decode(self.set_salt, validate=True)

    def rule_count(self) -> int:
        """Rules of all classes together."""
        return sum(file.rules for file in self.classes.values())


def file_stem(indicator_class: str) -> str:
    """A class's name as a file name: MISP types hold `|` and `/`."""
    return indicator_class.replace("|", "+").replace("/", "=")


def encode_manifest(manifest: Manifest) -> bytes:
    """The manifest as indented JSON, so that two of them can be compared by eye."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=1) + b"\n"


def sign_manifest(data: bytes, key: Ed25519PrivateKey) -> bytes:
    """The base64 signature line over the manifest's bytes (RFC 8032)."""
    return base64.b64encode(key.sign(_SIGNED + length_prefixed(data))) + b"\n"


def verify_signature(data: bytes, line: bytes, key: Ed25519PublicKey) -> None:
    """Check the publisher's signature before anything in the manifest is believed.

    Raises:
        PackError: `bad-signature`.
    """
    try:
        signature = base64.b64decode(line.strip(), validate=True)
        key.verify(signature, _SIGNED + length_prefixed(data))
    except (InvalidSignature, ValueError, binascii.Error):
        raise PackError(
            "bad-signature",
            "the manifest is not signed by the publisher this machine trusts",
            "get the pack again; if the publisher has a new key, put its publisher.pub over the "
            "file that public_key_file names",
        ) from None


def parse_manifest(data: bytes, caps: Caps) -> Manifest:
    """Decode a manifest whose signature was checked, and check its form and costs.

    Raises:
        PackError: `bad-manifest` or `too-costly`.
    """
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
        fault = _fault(manifest)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _bad(f"the manifest cannot be read ({error})") from None
    if fault:
        raise _bad(fault)
    for kind, profile in manifest.profiles.items():
        check_profile(kind, profile, caps)
    return manifest


def check_expiry(manifest: Manifest, now: datetime) -> None:
    """Refuse a pack that is out of date: whoever holds back new ones (a freeze) gains nothing.

    Raises:
        PackError: `expired`.
    """
    if manifest.expires <= now:
        raise PackError(
            "expired", f"the pack expired at {manifest.expires:%Y-%m-%d}", "refresh the rule set"
        )


def check_serial(manifest: Manifest, installed: int | None) -> None:
    """Refuse a pack that is older than the installed one (a roll-back), or far ahead of it.

    Args:
        installed: the highest serial that was installed, 0 if there was none; None to accept
            any.

    Raises:
        PackError: `rolled-back` or `too-far-ahead`.
    """
    if installed is None:
        return
    if manifest.serial < installed:
        is_end = installed - manifest.serial > MAX_SERIAL_STEP
        raise PackError(
            "rolled-back",
            f"the pack's serial is {manifest.serial}, but {installed} was installed from this "
            "publisher: the pack is old, or its publisher was restored from a backup",
            # What was numbered by mistake nobody should number on.
            "if this is the newest pack, accept it here once with inkgate-rules install "
            "--accept-older FILE (inkgate-rules refresh --accept-older where rules are made)"
            if is_end
            else "get the newest pack; if there is no newer one, have the publisher number on "
            f"(inkgate-rules publish --for NAME --serial {installed + 1}), or accept it here "
            "once with inkgate-rules install --accept-older FILE",
        )
    if manifest.serial - installed > MAX_SERIAL_STEP:
        raise PackError(
            "too-far-ahead",
            f"the pack's serial is {manifest.serial}, and {installed} is installed here: after it "
            "few or no others could follow",
            "ask the publisher for a pack that goes on from there (docs/publisher-and-proxies.md); "
            "if it is right, accept it once with inkgate-rules install --accept-older FILE",
        )


def _fault(manifest: Manifest) -> str | None:
    checks = (
        (manifest.format == FORMAT, f"format {manifest.format} is not known here"),
        (len(manifest.set_id_bytes()) == 16, "set_id is not 16 bytes"),
        (len(manifest.set_salt_bytes()) == 32, "set_salt is not 32 bytes"),
        (len(base64.b64decode(manifest.token_check, validate=True)) == 16, "token_check"),
        (1 <= manifest.serial <= MAX_SERIAL, f"serial is not between 1 and {MAX_SERIAL}"),
        (manifest.expires.tzinfo is not None, "expires has no time zone"),
        (manifest.created.tzinfo is not None, "created has no time zone"),
        (set(manifest.profiles) == set(DEFAULT_PROFILES), "profiles are not those of the kinds"),
        (0 < manifest.epsilon <= 1, "epsilon is not above 0 and at most 1"),
        (_sound_prefixes(manifest.prefixes), "prefixes are not those of IPv4 and IPv6"),
        (len(manifest.classes) <= MAX_CLASSES, "there are too many classes"),
        (all(map(_CLASS_NAME.fullmatch, manifest.classes)), "a class has an impossible name"),
        (_distinct_stems(manifest.classes), "two classes share a file"),
        (set(manifest.gates) <= set(LEVELS), "a gate has an unknown level"),
        (all(_sound_file(f, f.rules) for f in manifest.classes.values()), "a rule file's numbers"),
        (all(_sound_gate(g) for g in manifest.gates.values()), "a gate's numbers"),
    )
    return next((text for sound, text in checks if not sound), None)


def _sound_prefixes(prefixes: dict[str, tuple[int, ...]]) -> bool:
    longest = {"4": 32, "6": 128}
    return set(prefixes) <= set(longest) and all(
        0 <= length <= longest[version]
        for version, lengths in prefixes.items()
        for length in lengths
    )


def _distinct_stems(classes: dict[str, RuleFile]) -> bool:
    # ".." can't occur between two slashes, since slashes are replaced.
    return len({file_stem(name) for name in classes}) == len(classes)


def _sound_file(file: RuleFile | GateFile, count: int) -> bool:
    return (
        count >= 0 and 0 <= file.size <= MAX_FILE_BYTES and bool(_HEX_DIGEST.fullmatch(file.sha256))
    )


def _sound_gate(gate: GateFile) -> bool:
    return _sound_file(gate, gate.bits) and gate.bits % 8 == 0 and 0 < gate.bits <= MAX_BITS


def _bad(problem: str) -> PackError:
    return PackError("bad-manifest", problem, "ask the publisher for a new pack")
