"""Epochs: when a rule set gets a new salt, and with it new keys for everything.

The epoch is written to the disk before anything is sealed in it. So a refresh that was
killed after hours goes on in the same epoch, with what it has derived.
"""

from __future__ import annotations

import base64
import hmac
import os
from pathlib import Path
from typing import Final

import msgspec

from inkgate.config.whole_file import write_whole
from inkgate.rules.crypto.derive import derive_set_key, token_check
from inkgate.rules.crypto.profiles import Profile

EPOCH: Final = "epoch.json"


class EpochRecord(msgspec.Struct, frozen=True):
    """An epoch's public values, as they stand in manifests, too."""

    set_id: str
    set_salt: str
    token_check: str
    profiles: dict[str, Profile]

    def set_key(self, token: bytes) -> bytes:
        """The secret that all of the epoch's keys come from."""
        return derive_set_key(token, base64.b64decode(self.set_salt))

    def fits(self, token: bytes, profiles: dict[str, Profile]) -> bool:
        """Whether rules for this token at these costs can be sealed in this epoch."""
        check = base64.b64encode(token_check(self.set_key(token))).decode()
        return self.profiles == profiles and hmac.compare_digest(check, self.token_check)


def choose_epoch(
    workspace: Path,
    token: bytes,
    profiles: dict[str, Profile],
    *,
    published: str | None,
    new_epoch: bool,
) -> EpochRecord:
    """The epoch to seal in: the last one while it fits, else a new one.

    Args:
        published: set id of the published pack.
        new_epoch: seal in another epoch than the published pack's. An epoch that was begun
            by a refresh that was killed is used.
    """
    last = _read(workspace / EPOCH)
    if (
        last is not None
        and last.fits(token, profiles)
        and not (new_epoch and last.set_id == published)
    ):
        return last
    salt = os.urandom(32)
    record = EpochRecord(
        os.urandom(16).hex(),
        base64.b64encode(salt).decode(),
        base64.b64encode(token_check(derive_set_key(token, salt))).decode(),
        profiles,
    )
    write_whole(workspace / EPOCH, msgspec.json.encode(record), 0o600)
    return record


def _read(path: Path) -> EpochRecord | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=EpochRecord)
    except (OSError, msgspec.MsgspecError):
        return None
