"""Attacks of docs/aggregation.md: an aggregator that lies."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from inkgate.rules.canonical.fields import length_prefixed
from inkgate.sightings.aggregation.exchange.answer_record import AnswerRecord
from inkgate.sightings.aggregation.exchange.participant import Participant
from inkgate.sightings.aggregation.masked import masks
from inkgate.sightings.aggregation.masked.subscriber import KEYS
from inkgate.sightings.aggregation.wire import (
    join_pairs,
    seal,
    split_pairs,
)
from support.aggregation_course import course, refused, shares_of


def test_lying_about_dropouts_to_some_subscribers() -> None:
    """The aggregator tells half of them that the victim dropped out."""
    run = course(6)
    for _ in range(3):
        run.round()
    names = run.party.names
    victim = names[5]
    truth = run.sent[2][victim]
    lie = length_prefixed(*(n.encode() for n in names if n != victim))
    told = {n: (truth if n in (*names[:2], victim) else lie) for n in names}
    signed = {n: run.answer(n, 3, run.sent[0][n], run.sent[1][n], told[n]) for n in names}
    for name in names:
        history = (run.sent[0][name], run.sent[1][name], told[name])
        same = length_prefixed(*(signed[n] for n in names if told[n] == told[name]))
        with refused("too-few"):
            run.answer(name, 4, *history, same)
        with refused("bad-message"):
            run.answer(name, 4, *history, length_prefixed(*signed.values()))


def test_lying_about_dropouts_a_second_time(tmp_path: Path) -> None:
    """A subscriber signs one set of survivors, and only one."""
    run = course(6)
    victim, name, *_ = run.party.names
    record = AnswerRecord(tmp_path / "record.db")
    record.open_period(run.party.session, run.vectors[name])
    subscriber = Participant(name, run.party.identities[name], record)
    run.recorded[name] = subscriber
    for _ in range(4):
        run.round()
    lie = length_prefixed(*(n.encode() for n in run.party.names if n != victim))
    with refused("replay"):
        subscriber.answer(run.party.session, 3, lie)


def test_both_kinds_of_shares_of_one_subscriber_are_never_handed_out() -> None:
    run = course(6)
    run.round()
    run.round()
    dropped = run.party.names[0]
    run.round({dropped})
    run.round()
    run.round()
    session = run.party.session.id
    for name, message in run.messages[4].items():
        handed = split_pairs(shares_of(run.party, name, message), most=99)
        assert set(handed) == set(run.party.names)
        for owner, share in handed.items():
            both = run.opened(name, owner)
            assert share == (both[:32] if owner == dropped else both[32:])
            assert len(share) == 32
    # With the mask key alone, a late input of the dropped one stays hidden.
    late = run.answer(dropped, 2, *(s[dropped] for s in run.sent[:2]))
    run.messages[2][dropped] = late
    mask_key = masks.Secrets(session, run.party.secrets[dropped]).mask_key
    assert run.unmasked(dropped, mask_key, bytes(32)) != run.vectors[dropped]


def test_aggregator_that_makes_up_subscribers() -> None:
    run = course(4)
    run.round()
    stranger = Ed25519PrivateKey.generate()
    keys = masks.Secrets(run.party.session.id, os.urandom(32)).public
    made_up = seal(KEYS, run.party.session, "org-999", keys, stranger)
    name = run.party.names[0]
    roster = run.sent[0][name] + length_prefixed(made_up)
    with refused("unknown-sender"):
        run.answer(name, 1, roster)


def test_aggregator_that_replaces_keys() -> None:
    run = course(4)
    run.round()
    name, victim, *_ = run.party.names
    keys = masks.Secrets(run.party.session.id, os.urandom(32)).public
    forged = seal(KEYS, run.party.session, victim, keys, Ed25519PrivateKey.generate())
    messages = [forged if n == victim else m for n, m in run.messages[0].items()]
    with refused("bad-signature"):
        run.answer(name, 1, length_prefixed(*messages))


def test_aggregator_that_shrinks_the_sum_below_the_quota() -> None:
    run = course(9, threshold=5, quota_subscribers=7)
    for _ in range(3):
        run.round()
    name = run.party.names[0]
    six = length_prefixed(*(n.encode() for n in run.party.names[:6]))
    with refused("too-few"):
        run.answer(name, 3, run.sent[0][name], run.sent[1][name], six)


def test_aggregator_that_swaps_encrypted_shares() -> None:
    """Shares of one subscriber, passed on as another's, do not open."""
    run = course(4)
    run.round()
    run.round()
    a, b, *_ = run.party.names
    sealed = split_pairs(run.sent[1][a], most=9)
    run.sent[1][a] = join_pairs({**sealed, b: sealed[a], a: sealed[b]})
    for _ in range(3):
        run.round()
    handed = split_pairs(shares_of(run.party, a, run.messages[4][a]), most=9)
    assert not {a, b} & handed.keys()
