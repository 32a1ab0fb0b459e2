"""How messages travel: through files in a folder, or through Redis streams.

Nothing depends on trust in a mailbox: messages are signed by their senders, counts are
encrypted or masked, and the shares that open the sum are encrypted to the aggregator. Who can
read a mailbox learns who takes part. Who can write to it can delay an aggregation, no more.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final, Protocol

from inkgate.config.modes import make_folder
from inkgate.config.whole_file import write_whole
from inkgate.sightings.aggregation.errors import AggregationError
from inkgate.sightings.aggregation.session import Session

_SUFFIX: Final = ".msg"
_MOST_ENTRIES: Final = 10_000
_KEEP_SECONDS: Final = 60 * 24 * 3600
_PREFIX: Final = "inkgate:aggregation:"
_DIGESTS: Final = "digests"


class Mailbox(Protocol):
    """Boxes of messages: messages are added and read, and never removed."""

    def put(self, box: str, name: str, message: bytes) -> None:
        """Put a message into a box under a name; one that is there is not put again."""

    def get(
        self, box: str, *, most: int, skip: Collection[str] = ()
    ) -> Iterator[tuple[str, bytes]]:
        """Messages of at most so many bytes, with their names, except the names to skip.

        A message that was given before may be left out.
        """


def up_box(session: Session, number: int) -> str:
    """The box of what subscribers send in a round."""
    return f"{session.id.hex()}/{number}/up"


def down_box(session: Session, number: int, name: str) -> str:
    """The box of what a subscriber gets before a round."""
    return f"{session.id.hex()}/{number}/down/{name}"


class FileMailbox:
    """A folder a box, a file a message.

    Args:
        root: a folder that all parties can write to.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, box: str, name: str, message: bytes) -> None:
        """Write a temporary file, then rename it: readers never see an incomplete file."""
        folder = self._root / box
        self._make(folder)
        write_whole(folder / (name + _SUFFIX), message, 0o644)

    def get(
        self, box: str, *, most: int, skip: Collection[str] = ()
    ) -> Iterator[tuple[str, bytes]]:
        """Read the files of a box (Mailbox.get)."""
        folder = self._root / box
        paths = sorted(folder.glob("*" + _SUFFIX)) if folder.is_dir() else []
        for path in paths[:_MOST_ENTRIES]:
            if path.stem in skip or path.is_symlink() or not path.is_file():
                continue
            with path.open("rb") as file:
                message = file.read(most + 1)
            if len(message) <= most:
                yield path.stem, message

    def _make(self, folder: Path) -> None:
        # Whoever may write into the mailbox must be able to write into its boxes.
        make_folder(self._root, 0o755)
        mode = stat.S_IMODE(self._root.stat().st_mode)
        make_folder(folder, mode, parents=mode)


class RedisMailbox:
    """A Redis stream a box, an entry a message; a box is forgotten after 60 days.

    Args:
        url: without a password.
        user, password: of a Redis user.
    """

    def __init__(self, url: str, user: str | None = None, password: str | None = None) -> None:
        # Imported here: mailboxes in a folder do not need Redis.
        import redis  # noqa: PLC0415

        self._read: dict[str, str] = {}
        self._error: type[Exception] = redis.RedisError
        self._redis: Any = redis.Redis.from_url(
            url, username=user, password=password, socket_timeout=60, socket_connect_timeout=10
        )

    def put(self, box: str, name: str, message: bytes) -> None:
        """Add an entry, unless it was added before."""
        stream = _PREFIX + box
        known = f"{stream}:{_DIGESTS}"
        digest = hashlib.sha256(name.encode() + b"\0" + message).digest()
        try:
            if self._redis.sismember(known, digest) and self._redis.exists(stream):
                return
            with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.xadd(stream, {"name": name, "message": message})
                pipeline.sadd(known, digest)
                pipeline.expire(stream, _KEEP_SECONDS)
                pipeline.expire(known, _KEEP_SECONDS)
                pipeline.execute()
        except self._error as error:
            raise self._failed(error) from None

    def get(
        self, box: str, *, most: int, skip: Collection[str] = ()
    ) -> Iterator[tuple[str, bytes]]:
        """Read what is new in a stream (Mailbox.get), entry by entry: all may be gigabytes."""
        for _ in range(_MOST_ENTRIES):
            after = self._read.get(box, "-")
            try:
                entries = self._redis.xrange(_PREFIX + box, min=after, count=1)
            except self._error as error:
                raise self._failed(error) from None
            if not entries:
                return
            (number, fields) = entries[0]
            self._read[box] = "(" + number.decode()
            name = fields.get(b"name", b"").decode("ascii", "replace")
            message = fields.get(b"message", b"")
            if name not in skip and len(message) <= most:
                yield name, message

    def _failed(self, error: Exception) -> AggregationError:
        return AggregationError(
            "no-mailbox", f"Redis: {error}", "check mailbox in [aggregation], and try again"
        )
