"""A subscriber's durable record of its answers: it never gives two different ones.

The difference of two answers for one period could tell the counts. So each answer is on disk
before it is sent, and a second request gets the same bytes. When a period is over, or a later
one begins, its secrets and counts are erased.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from inkgate.config.whole_file import create_once
from inkgate.sightings.aggregation.contribution import contribution
from inkgate.sightings.aggregation.errors import AggregationError
from inkgate.sightings.aggregation.session import Session

_CREATE: Final = """
CREATE TABLE IF NOT EXISTS periods (
    name TEXT, period TEXT, session BLOB NOT NULL, serial INTEGER NOT NULL,
    epsilon REAL NOT NULL, counts BLOB, secret BLOB, vector BLOB,
    PRIMARY KEY (name, period)
) STRICT;
CREATE TABLE IF NOT EXISTS answers (
    name TEXT, period TEXT, round INTEGER, received BLOB NOT NULL, sent BLOB NOT NULL,
    PRIMARY KEY (name, period, round)
) STRICT;
"""
_WORD: Final = 8


class AnswerRecord:
    """The record of one subscriber, for all its groups.

    Args:
        path: a SQLite file; made with mode 0600 if it is not there.

    Raises:
        AggregationError: from `open_period` and `answer`, when something would be said twice.
    """

    def __init__(self, path: Path) -> None:
        create_once(path, b"", 0o600)
        self._connection = sqlite3.connect(path, timeout=30, isolation_level=None)
        # After a power cut, every answer that was sent must still be in the record.
        self._connection.execute("PRAGMA synchronous = FULL")
        # Erased counts must not remain in the free pages of the file.
        self._connection.execute("PRAGMA secure_delete = ON")
        self._connection.executescript(_CREATE)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def has_period(self, session: Session) -> bool:
        """Whether counts were committed to for this group and period."""
        return self._period(session) is not None

    def open_period(self, session: Session, counts: Sequence[int]) -> None:
        """Commit to the counts of a period, and draw its secret and its noise.

        Raises:
            AggregationError: other counts were committed to, or another session for this period
                (`second-count`); the list is older than one used before (`wrong-list`); the
                privacy budget is spent (`over-budget`); the counts are not valid.
        """
        with self._transaction():
            row = self._period(session)
            if row is None:
                self._check_serial(session)
                self._insert(session, counts)
                return
            _check_session(row[0], session)
            salt = row[1]
            if salt is not None and _digest(salt, counts) != row[2]:
                raise _second("other counts were submitted for this period")

    def answer(
        self,
        session: Session,
        received: bytes,
        number: int,
        make: Callable[[bytes, list[bytes], list[int]], bytes],
    ) -> bytes:
        """The answer of a round: made once, then always the same bytes.

        Args:
            session: one that was opened.
            received: what the aggregator sent before this round.
            number: of the round.
            make: takes the secret, what was received before each round so far, and the vector.

        Raises:
            AggregationError: the round was answered for another message (`replay`), or an earlier
                one was not answered (`wrong-round`).
        """
        with self._transaction():
            row = self._period(session)
            if row is None:
                raise AggregationError("wrong-period", "no counts for it", "count first")
            _check_session(row[0], session)
            history = self._history(session)
            if number < len(history):
                return self._again(session, number, received, history)
            if row[1] is None:
                raise AggregationError(
                    "wrong-period", "its secrets are erased", "it has ended, or a later one began"
                )
            if number > len(history):
                raise AggregationError(
                    "wrong-round", "an earlier round was not answered", "answer it first"
                )
            seen = [*history[1:], received] if number else []
            sent = make(row[1], seen, _unpack(row[3]))
            self._connection.execute(
                "INSERT INTO answers VALUES (?, ?, ?, ?, ?)",
                (*_key(session), number, received, sent),
            )
            return sent

    def answered(self, session: Session) -> int:
        """How many rounds of a session were answered."""
        return len(self._history(session))

    def erase(self, session: Session) -> None:
        """Forget secret and counts of a period; its answers can still be sent again."""
        with self._transaction():
            self._connection.execute(
                "UPDATE periods SET secret = NULL, vector = NULL, counts = NULL "
                "WHERE name = ? AND period = ?",
                _key(session),
            )

    def spent(self, session: Session) -> float:
        """The sum of the epsilons of all periods of this group."""
        sql = "SELECT coalesce(sum(epsilon), 0) FROM periods WHERE name = ?"
        total: float = self._connection.execute(sql, _key(session)[:1]).fetchone()[0]
        return total

    def _insert(self, session: Session, counts: Sequence[int]) -> None:
        noise = session.group.noise
        epsilon = noise.epsilon if noise else 0.0
        if noise and self.spent(session) + epsilon > noise.budget * (1 + 1e-9):
            raise AggregationError(
                "over-budget",
                f"the privacy budget of {noise.budget:g} is spent",
                "agree on a new group, or end this one",
            )
        self._erase_before(session)
        vector = contribution(session, counts)
        secret = os.urandom(32)
        self._connection.execute(
            "INSERT INTO periods VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *_key(session),
                session.id,
                session.labels.serial,
                epsilon,
                _digest(secret, counts),
                secret,
                _pack(vector),
            ),
        )

    def _erase_before(self, session: Session) -> None:
        """Forget what earlier periods still hold: those never got totals and will get none."""
        self._connection.execute(
            "UPDATE periods SET secret = NULL, vector = NULL, counts = NULL "
            "WHERE name = ? AND period < ?",
            _key(session),
        )

    def _check_serial(self, session: Session) -> None:
        sql = "SELECT max(serial) FROM periods WHERE name = ?"
        newest = self._connection.execute(sql, _key(session)[:1]).fetchone()[0]
        if newest is not None and session.labels.serial < newest:
            raise AggregationError(
                "wrong-list", f"list {newest} was used before this one", "get the newest list"
            )

    def _again(self, session: Session, number: int, received: bytes, history: list[bytes]) -> bytes:
        if history[number] != received:
            raise AggregationError(
                "replay",
                f"round {number} was answered already, after another message",
                "this aggregator changes its word: do not trust it",
            )
        sql = "SELECT sent FROM answers WHERE name = ? AND period = ? AND round = ?"
        sent: bytes = self._connection.execute(sql, (*_key(session), number)).fetchone()[0]
        return sent

    def _period(self, session: Session) -> tuple[bytes, bytes | None, bytes, bytes] | None:
        sql = "SELECT session, secret, counts, vector FROM periods WHERE name = ? AND period = ?"
        row: tuple[bytes, bytes | None, bytes, bytes] | None = self._connection.execute(
            sql, _key(session)
        ).fetchone()
        return row

    def _history(self, session: Session) -> list[bytes]:
        sql = "SELECT received FROM answers WHERE name = ? AND period = ? ORDER BY round"
        return [row[0] for row in self._connection.execute(sql, _key(session))]

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


def _key(session: Session) -> tuple[str, str]:
    return session.group.name, session.period


def _digest(salt: bytes, counts: Sequence[int]) -> bytes:
    return hashlib.sha256(salt + _pack(counts)).digest()


def _pack(numbers: Sequence[int]) -> bytes:
    return b"".join(n.to_bytes(_WORD, signed=True) for n in numbers)


def _unpack(data: bytes) -> list[int]:
    starts = range(0, len(data), _WORD)
    return [int.from_bytes(data[at : at + _WORD], signed=True) for at in starts]


def _check_session(recorded: bytes, session: Session) -> None:
    if recorded != session.id:
        raise _second("this period was counted for another list or other members")


def _second(problem: str) -> AggregationError:
    return AggregationError(
        "second-count", problem, "wait for the next period: their difference would leak"
    )
