"""The folder of a party: keys, pinned groups, lists, its record, totals."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from inkgate.config.modes import make_folder
from inkgate.config.whole_file import create_once, write_whole
from inkgate.rules.crypto.keys import KeyFileError, make_signing_key, read_signing_key
from inkgate.sightings.aggregation.description import parse_group
from inkgate.sightings.aggregation.errors import AggregationError
from inkgate.sightings.aggregation.group import MAX_GROUP_BYTES, Group
from inkgate.sightings.aggregation.labels import Labels, parse_labels

SCALAR_BYTES: Final = 32
_KEY_DIGITS: Final = 2 * SCALAR_BYTES


class StateFolder:
    """The state folder of one party.

    Args:
        state: made with mode 0700 if it is not there.
    """

    def __init__(self, state: Path) -> None:
        make_folder(state, 0o700)
        self._state = state

    @property
    def record(self) -> Path:
        """The subscriber's durable record."""
        return self._state / "record.db"

    def identity(self) -> Ed25519PrivateKey:
        """The subscriber's signing key; made when it is first asked for."""
        folder = self._state / "identity"
        make_signing_key(folder, folder / "signing.pub")
        return read_signing_key(folder)

    def sealing_key(self) -> bytes:
        """The aggregator's X25519 secret, raw; made when it is first asked for.

        Raises:
            KeyFileError: its file does not hold one.
        """
        path = self._state / "identity" / "sealing.key"
        with contextlib.suppress(FileExistsError):
            write_secret(path, os.urandom(SCALAR_BYTES))
        return read_scalar(path)

    def group_folder(self, name: str) -> Path:
        """The folder of one group, whether or not it is there."""
        return self._state / "groups" / name

    def group(self, name: str) -> Group:
        """A pinned group.

        Raises:
            AggregationError: there is none of that name (`bad-group`).
        """
        path = self.group_folder(name) / "group.json"
        if Path(name).name != name or not path.is_file():
            raise AggregationError("bad-group", f"no group {name[:64]!r}", "run join or setup")
        return parse_group(path.read_bytes())

    def pin(self, group: Group, encoded: bytes) -> None:
        """Keep a group's description; it never changes.

        Raises:
            AggregationError: another one is pinned under this name (`bad-group`).
        """
        folder = _made(self.group_folder(group.name))
        path = folder / "group.json"
        if path.exists() and self.group(group.name) != group:
            raise AggregationError(
                "bad-group",
                f"{path} describes another group of that name",
                "choose a new name: members of a group never change",
            )
        write_whole(path, encoded, 0o644)

    def keep_list(self, name: str, labels: Labels) -> Path:
        """Write a group's list of indicators."""
        path = _made(self.group_folder(name)) / f"list-{labels.serial}.txt"
        write_whole(path, labels.encode(), 0o644)
        return path

    def session_folder(self, group: Group, session: bytes) -> Path:
        """The aggregator's folder of one session."""
        return _made(self.group_folder(group.name) / "sessions" / session.hex())


def _made(folder: Path) -> Path:
    make_folder(folder, 0o700, parents=0o700)
    return folder


def read_list(path: Path) -> Labels:
    """A list of indicators from its file.

    Raises:
        AggregationError: it is not one.
    """
    return parse_labels(path.read_bytes())


def read_group(path: Path) -> tuple[Group, bytes]:
    """A group's description and its bytes.

    Raises:
        AggregationError: it is not one.
    """
    with path.open("rb") as file:
        data = file.read(MAX_GROUP_BYTES + 1)
    return parse_group(data), data


def read_scalar(path: Path) -> bytes:
    """A key from the dealer: 64 hexadecimal digits.

    Raises:
        KeyFileError: the file does not hold one.
    """
    try:
        text = path.read_text("ascii").strip()
        if len(text) == _KEY_DIGITS:
            return bytes.fromhex(text)
    except (OSError, ValueError):
        pass
    raise KeyFileError(
        path, "is not a key of 64 hexadecimal digits", "restore it, or get it from the dealer"
    )


def write_secret(path: Path, key: bytes) -> None:
    """Write a key, never over another one.

    Raises:
        FileExistsError: there is one.
    """
    _made(path.parent)
    if not create_once(path, f"{key.hex()}\n".encode(), 0o600):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
