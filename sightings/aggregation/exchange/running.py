"""Both sides of an aggregation over a mailbox; each can be stopped and taken up again."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from inkgate.config.modes import make_folder
from inkgate.config.printable import Log
from inkgate.config.whole_file import write_whole
from inkgate.sightings.aggregation.errors import AggregationError
from inkgate.sightings.aggregation.exchange.mailbox import Mailbox, down_box, up_box
from inkgate.sightings.aggregation.exchange.participant import Participant
from inkgate.sightings.aggregation.protocol import Aggregator, Totals
from inkgate.sightings.aggregation.session import Session
from inkgate.sightings.aggregation.wire import MAX_FRAME, seal_down, unseal_down

_PAUSE: Final = 0.2
_MOST_DOWN: Final = 1 << 20
_CLOSED: Final = "closed"


def take_part(
    subscriber: Participant, session: Session, name: str, mailbox: Mailbox, wait: float
) -> bool:
    """Answer all rounds that can be answered; returns whether the last one was.

    Args:
        subscriber: with the session's counts in its record.
        session: the aggregation.
        name: the subscriber's.
        mailbox: where the aggregator's messages are.
        wait: seconds to wait for each of them.
    """
    for number in range(len(subscriber.rounds(session))):
        received = b""
        if number:
            kind = subscriber.rounds(session)[number]
            box = down_box(session, number, name)
            take = partial(_from_aggregator, kind, session, name)
            found = _wait_for(mailbox, box, take, wait)
            if found is None:
                return False
            received = found
        mailbox.put(up_box(session, number), name, subscriber.answer(session, number, received))
    return True


class Aggregation:
    """The aggregator's side of one session.

    Args:
        session: the aggregation.
        aggregator: the aggregator's side of its protocol, new.
        folder: where accepted messages are kept, so that a restart changes nothing.
        mailbox: where the subscribers' messages are.
        key: what the aggregator signs with.
        log: takes a line for each message that is refused.
    """

    def __init__(
        self,
        session: Session,
        aggregator: Aggregator,
        folder: Path,
        mailbox: Mailbox,
        key: Ed25519PrivateKey,
        log: Log,
    ) -> None:
        self._session = session
        self._aggregator = aggregator
        self._folder = folder
        self._mailbox = mailbox
        self._key = key
        self._log = log

    def run(self, wait: float) -> Totals:
        """Run all rounds that are left.

        Args:
            wait: seconds for each round. Subscribers that have not sent by then have dropped out.

        Raises:
            AggregationError: too few subscribers were heard; may be run again.
        """
        for number in range(len(self._aggregator.rounds)):
            folder = self._folder / str(number)
            make_folder(folder, 0o700)
            self._gather(number, folder, wait)
            send = self._aggregator.close()
            write_whole(folder / _CLOSED, b"", 0o600)
            for name, body in send.items():
                self._send(number + 1, name, body)
        return self._aggregator.totals()

    def _send(self, number: int, name: str, body: bytes) -> None:
        kind = self._aggregator.rounds[number]
        message = seal_down(kind, self._session, name, body, self._key)
        self._mailbox.put(down_box(self._session, number, name), name, message)

    def _gather(self, number: int, folder: Path, wait: float) -> None:
        for path in sorted(folder.glob("*.msg")):
            self._aggregator.accept(path.read_bytes())
        if (folder / _CLOSED).exists():
            return
        refused: set[bytes] = set()
        deadline = time.monotonic() + wait
        while self._aggregator.expected:
            self._take(number, folder, refused)
            if not self._aggregator.expected or time.monotonic() >= deadline:
                return
            time.sleep(_PAUSE)

    def _take(self, number: int, folder: Path, refused: set[bytes]) -> None:
        members = frozenset(self._session.group.subscribers)
        there = members - self._aggregator.expected
        most = self._aggregator.most + MAX_FRAME
        for name, message in self._mailbox.get(
            up_box(self._session, number), most=most, skip=there
        ):
            digest = hashlib.sha256(message).digest()
            if digest in refused:
                continue
            try:
                sender = self._aggregator.accept(message)
            except AggregationError as error:
                self._log(f"refused a message of {name[:64]!r}: {error}")
                refused.add(digest)
                continue
            path = folder / f"{sender}.msg"
            if not path.exists():
                write_whole(path, message, 0o600)


def _from_aggregator(kind: str, session: Session, name: str, message: bytes) -> bytes | None:
    """The body of a message, or None: anybody may have put it there."""
    try:
        return unseal_down(kind, session, name, message, most=_MOST_DOWN)
    except AggregationError:
        return None


def _wait_for(
    mailbox: Mailbox, box: str, take: Callable[[bytes], bytes | None], wait: float
) -> bytes | None:
    deadline = time.monotonic() + wait
    while True:
        for _, message in mailbox.get(box, most=_MOST_DOWN + MAX_FRAME):
            if (body := take(message)) is not None:
                return body
        if time.monotonic() >= deadline:
            return None
        time.sleep(_PAUSE)
