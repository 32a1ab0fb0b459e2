"""Attacks of docs/aggregation.md: subscribers that submit nonsense."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from inkgate.sightings.aggregation.exchange.answer_record import AnswerRecord
from inkgate.sightings.aggregation.group import MAX_TOTAL
from inkgate.sightings.aggregation.masked import masks
from inkgate.sightings.aggregation.masked.subscriber import KEYS, UNMASK
from inkgate.sightings.aggregation.shi.discrete_log import logarithm
from inkgate.sightings.aggregation.shi.scheme import curve
from inkgate.sightings.aggregation.wire import (
    join_pairs,
    seal,
    split_fields,
    split_pairs,
)
from support.aggregation import PROTOCOL_NAMES, Party
from support.aggregation_course import Course, refused, shares_of


@pytest.mark.parametrize("exponent", [-1, -2, -20_000, -65_536, -65_537, 0x10001 - 2**20])
def test_logarithm_of_a_negative_point_is_none(exponent: int) -> None:
    assert logarithm(curve.base_times(-exponent), MAX_TOTAL) == -exponent
    assert logarithm(curve.base_times(exponent), MAX_TOTAL) is None


@pytest.mark.parametrize("protocol", PROTOCOL_NAMES)
def test_liar_is_bounded_by_the_total_only(protocol: str) -> None:
    """As docs/aggregation.md says: any number goes as long as the total stays believable."""
    party = Party(protocol, 5, 2, max_count=100)
    vectors = {n: [80, 0] for n in party.names}
    vectors[party.names[0]] = [-317, 500]
    assert party.run(vectors).values == [3, 500]
    vectors[party.names[0]] = [-321, 501]
    assert party.run(vectors).values == [None, None]


@pytest.mark.parametrize("protocol", PROTOCOL_NAMES)
@pytest.mark.parametrize("count", [-1, -1000, 1001, 2**40])
def test_own_huge_or_negative_count_is_refused(tmp_path: Path, protocol: str, count: int) -> None:
    party = Party(protocol, 3, 2)
    with refused("bad-count"):
        AnswerRecord(tmp_path / "r.db").open_period(party.session, [1, count])


@pytest.mark.parametrize("protocol", PROTOCOL_NAMES)
@pytest.mark.parametrize("count", [-10, -(2**40), 2**24, 2**62])
def test_submitted_huge_or_negative_count_spoils_its_own_total_only(
    protocol: str, count: int
) -> None:
    party = Party(protocol, 4, 3)
    vectors = {n: [1, 2, 3] for n in party.names}
    vectors[party.names[0]] = [1, count, 3]
    assert party.run(vectors).values == [4, None, 12]


P = 2**256 - 2**32 - 977
Y_OF_ONE = pow(8, (P + 1) // 4, P)  # x = 1 is on y^2 = x^3 + 7
GOOD = curve.encode_point(curve.base_times(1))
X, Y = GOOD[1:33], GOOD[33:]
MALFORMED = {
    "zeros": bytes(65),
    "origin": b"\x04" + bytes(64),
    "not on the curve": GOOD[:64] + bytes([GOOD[64] ^ 1]),
    "x not reduced": b"\x04" + (P + 1).to_bytes(32) + (Y_OF_ONE).to_bytes(32),
    "y not reduced": b"\x04" + X + b"\xff" * 32,
    "all ones": b"\x04" + b"\xff" * 64,
    "hybrid form": bytes([6 + (GOOD[64] & 1)]) + X + Y,
    "compressed form": bytes([2 + (GOOD[64] & 1)]) + X + bytes(32),
}


@pytest.mark.parametrize("bad", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_points_are_refused(bad: bytes) -> None:
    party = Party("shi", 3, 3)
    name = party.names[0]
    body = GOOD + bad + GOOD
    aggregator = party.aggregator()
    with refused("bad-point"):
        aggregator.accept(seal("shi-input", party.session, name, body, party.identities[name]))
    assert name in aggregator.expected


@pytest.mark.parametrize("protocol", PROTOCOL_NAMES)
@pytest.mark.parametrize("change", [-65, -64, -1, 1, 65, 1 << 16])
def test_wrong_lengths_are_refused(protocol: str, change: int) -> None:
    party = Party(protocol, 3, 9)
    run = Course(party, {name: [0] * 9 for name in party.names})
    # Up to the round whose messages are as long as the list of indicators.
    for _ in range({"masked": 2, "shi": 0}[protocol]):
        run.round()
    aggregator, name = run.aggregator, party.names[0]
    body = bytes(aggregator.most + change)
    kind = party.protocol.rounds[len(run.messages)]
    with refused("wrong-length"):
        aggregator.accept(seal(kind, party.session, name, body, party.identities[name]))


@pytest.mark.parametrize("key", [bytes(32), b"\x01" + bytes(31)])
def test_keys_of_low_order_are_refused(key: bytes) -> None:
    party = Party("masked", 3, 2)
    name = party.names[0]
    good = masks.Secrets(party.session.id, bytes(32)).public[:32]
    for body in (key + good, good + key):
        with refused("bad-point"):
            party.aggregator().accept(seal(KEYS, party.session, name, body, party.identities[name]))


def lie_about_shares(party: Party, liars: list[str]) -> list[int | None]:
    def lie(number: int, name: str, message: bytes) -> bytes:
        if number != 4 or name not in liars:
            return message
        body = split_pairs(shares_of(party, name, message), most=99)
        false = {n: hashlib.sha256(share).digest() for n, share in body.items()}
        sealed = masks.seal_unmask(
            party.session.id,
            os.urandom(32),
            masks.public_of(party.sealing),
            name,
            join_pairs(false),
        )
        return seal(UNMASK, party.session, name, sealed, party.identities[name])

    return party.run({n: [1, 2] for n in party.names}, tamper=lie).values


def test_false_shares_are_noticed_and_outvoted() -> None:
    assert lie_about_shares(Party("masked", 6, 2), ["org-002"]) == [6, 12]


def test_too_many_false_shares_give_no_totals_rather_than_wrong_ones() -> None:
    with refused("bad-share"):
        lie_about_shares(Party("masked", 6, 2), ["org-001", "org-004"])


def test_fields_that_claim_gigabytes_are_refused() -> None:
    with refused("bad-message"):
        split_fields(b"\xff\xff\xff\xff" + bytes(100), most=8)
    with refused("bad-message"):
        split_fields(bytes(4 * 9), most=8)
