"""Attacks of docs/aggregation.md: messages of others, of other times, and second counts."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest

from inkgate.sightings.aggregation.errors import AggregationError
from inkgate.sightings.aggregation.exchange.answer_record import AnswerRecord
from inkgate.sightings.aggregation.exchange.participant import Participant
from inkgate.sightings.aggregation.labels import Labels
from inkgate.sightings.aggregation.masked.subscriber import SURVIVORS
from inkgate.sightings.aggregation.session import Session
from inkgate.sightings.aggregation.wire import (
    seal,
    unseal,
)
from support.aggregation import PERIOD, PROTOCOL_NAMES, Party, labels
from support.aggregation_course import HUGE, body_of, refused


@pytest.mark.parametrize("protocol", PROTOCOL_NAMES)
class TestMessages:
    def first(self, party: Party, name: str, session: Session | None = None) -> bytes:
        return party.contributor(name, session).answer([], [1] * len(party.session.labels))

    def test_replay_in_another_period(self, protocol: str) -> None:
        party = Party(protocol, 3, 2)
        old = Session(party.group, "2025-12-29", party.session.labels)
        with refused("wrong-period"):
            party.aggregator().accept(self.first(party, party.names[0], old))

    def test_replay_in_the_same_round_counts_once(self, protocol: str) -> None:
        party = Party(protocol, 3, 2)
        aggregator = party.aggregator()
        message = self.first(party, party.names[0])
        assert aggregator.accept(message) == aggregator.accept(message)
        assert len(aggregator.expected) == 2

    def test_replay_in_another_group(self, protocol: str) -> None:
        party = Party(protocol, 3, 2)
        twin = Party(protocol, 3, 2)
        with refused("wrong-group"):
            party.aggregator().accept(self.first(twin, party.names[0]))

    @pytest.mark.parametrize("other", [labels(2, serial=6), labels(3), Labels(7, [b"x" * 16])])
    def test_wrong_rule_set_serial_or_list(self, protocol: str, other: Labels) -> None:
        party = Party(protocol, 3, 2)
        session = Session(party.group, PERIOD, other)
        message = party.contributor(party.names[0], session).answer([], [1] * len(other))
        with refused("wrong-list"):
            party.aggregator().accept(message)

    def test_message_under_another_name(self, protocol: str) -> None:
        party = Party(protocol, 3, 2)
        a, b = (n.encode() for n in party.names[:2])
        message = self.first(party, party.names[0])
        with refused("bad-signature"):
            party.aggregator().accept(message.replace(a, b))

    def test_every_flipped_bit_is_refused(self, protocol: str) -> None:
        party = Party(protocol, 3, 2)
        aggregator = party.aggregator()
        message = self.first(party, party.names[0])
        for at in range(0, 8 * len(message), 7):
            broken = bytearray(message)
            broken[at // 8] ^= 1 << at % 8
            with pytest.raises(AggregationError):
                aggregator.accept(bytes(broken))
        for end in range(0, len(message), 13):
            with pytest.raises(AggregationError):
                aggregator.accept(message[:end])
        assert len(aggregator.expected) == 3

    def test_message_of_another_round(self, protocol: str) -> None:
        party = Party(protocol, 3, 2)
        message = seal(SURVIVORS, party.session, party.names[0], b"", party.identities["org-000"])
        with refused("wrong-round"):
            party.aggregator().accept(message)

    def test_second_different_message_in_one_round(self, protocol: str) -> None:
        party = Party(protocol, 3, 2)
        aggregator = party.aggregator()
        aggregator.accept(self.first(party, party.names[0]))
        party.secrets[party.names[0]] = os.urandom(32)
        second = party.contributor(party.names[0]).answer([], [2, 2])
        with refused("second-count"):
            aggregator.accept(second)


def test_swapped_identifiers() -> None:
    """Two indicators' points exchanged by their sender: neither total opens."""
    party = Party("shi", 3, 3)

    def swap(_round: int, name: str, message: bytes) -> bytes:
        if name != party.names[0]:
            return message
        body = body_of("shi-input", party, message)
        body = body[65:130] + body[:65] + body[130:]
        return seal("shi-input", party.session, name, body, party.identities[name])

    vectors = {n: [1, 2, 3] for n in party.names}
    assert party.run(vectors, tamper=swap).values == [None, None, 9]


def test_swapped_periods() -> None:
    """A point of one period, signed again for another by its sender, opens nothing."""
    party = Party("shi", 3, 2)
    old = Session(party.group, "2025-12-29", party.session.labels)

    def other_period(_round: int, name: str, message: bytes) -> bytes:
        if name != party.names[0]:
            return message
        stale = party.contributor(name, old).answer([], [1, 1])
        body = unseal("shi-input", old, stale, most=HUGE)[1]
        return seal("shi-input", party.session, name, body, party.identities[name])

    assert party.run({n: [1, 1] for n in party.names}, tamper=other_period).values == [None, None]


def opened_record(party: Party, path: Path, counts: list[int]) -> tuple[AnswerRecord, Participant]:
    record = AnswerRecord(path)
    record.open_period(party.session, counts)
    name = party.names[0]
    return record, Participant(name, party.identities[name], record, party.dealt.get(name))


@pytest.mark.parametrize("protocol", PROTOCOL_NAMES)
def test_retry_sends_the_same_bytes_even_after_a_restart(tmp_path: Path, protocol: str) -> None:
    party = Party(protocol, 3, 2)
    record, subscriber = opened_record(party, tmp_path / "r.db", [1, 2])
    first = subscriber.answer(party.session, 0, b"")
    record.close()
    again = AnswerRecord(tmp_path / "r.db")
    name = party.names[0]
    revived = Participant(name, party.identities[name], again, party.dealt.get(name))
    assert revived.answer(party.session, 0, b"") == first
    assert (tmp_path / "r.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("protocol", PROTOCOL_NAMES)
def test_second_count_for_a_period_is_refused(tmp_path: Path, protocol: str) -> None:
    party = Party(protocol, 3, 2)
    record, subscriber = opened_record(party, tmp_path / "r.db", [1, 2])
    record.open_period(party.session, [1, 2])
    with refused("second-count"):
        record.open_period(party.session, [1, 3])
    # Nor under another list, nor in a group of the same name with other members.
    for session in (
        Session(party.group, PERIOD, labels(2, serial=8)),
        Party(protocol, 4, 2).session,
    ):
        with refused("second-count"):
            record.open_period(session, [1, 2])
        with refused("second-count"):
            subscriber.answer(session, 0, b"")


def test_older_list_is_refused(tmp_path: Path) -> None:
    party = Party("masked", 3, 2)
    record, _ = opened_record(party, tmp_path / "r.db", [1, 2])
    with refused("wrong-list"):
        record.open_period(Session(party.group, "2026-01-12", labels(2, serial=6)), [1, 2])


@pytest.mark.parametrize("period", ["2026-01-06", "2026-1-5", "20260105", "", "2026-W02"])
def test_overlapping_periods_do_not_exist(period: str) -> None:
    with refused("wrong-period"):
        Session(Party("shi", 3, 2).group, period, labels(2))


def test_secrets_of_a_period_that_never_finished_go_with_the_next(tmp_path: Path) -> None:
    party = Party("masked", 3, 2)
    path = tmp_path / "r.db"
    record, subscriber = opened_record(party, path, [123456 % 999, 2])
    first = subscriber.answer(party.session, 0, b"")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        secret, vector = connection.execute("SELECT secret, vector FROM periods").fetchone()
    assert secret in path.read_bytes()
    record.open_period(Session(party.group, "2026-01-12", party.session.labels), [1, 2])
    assert secret not in path.read_bytes()
    assert vector not in path.read_bytes()
    assert subscriber.answer(party.session, 0, b"") == first
    with refused("wrong-period"):
        subscriber.answer(party.session, 1, b"anything")


def test_serial_of_more_than_64_bits_is_refused() -> None:
    assert Session(Party("shi", 3, 1).group, PERIOD, Labels(2**64 - 1, [b"x" * 16])).id
    for serial in (-1, 2**64):
        with refused("bad-message"):
            Labels(serial, [b"x" * 16])
