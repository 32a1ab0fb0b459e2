"""Attacks of docs/aggregation.md: whoever reads or writes the mailbox."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from inkgate.sightings.aggregation.exchange.answer_record import AnswerRecord
from inkgate.sightings.aggregation.exchange.mailbox import FileMailbox, down_box, up_box
from inkgate.sightings.aggregation.exchange.participant import Participant
from inkgate.sightings.aggregation.exchange.running import Aggregation, take_part
from inkgate.sightings.aggregation.masked.aggregator import MaskedAggregator
from inkgate.sightings.aggregation.masked.subscriber import INPUT, SHARES
from inkgate.sightings.aggregation.wire import (
    seal,
    seal_down,
    split_pairs,
)
from support.aggregation import Party, total_of
from support.aggregation_course import HUGE, refused, shares_of


def in_threads(work: Callable[[str], object], names: list[str]) -> list[threading.Thread]:
    threads = [threading.Thread(target=work, args=(name,), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    return threads


def member(
    party: Party, vectors: dict[str, list[int]], folder: Path, wait: float
) -> Callable[[str], None]:
    """A subscriber over the mailbox in a folder."""

    def run(name: str) -> None:
        record = AnswerRecord(folder / f"{name}.db")
        record.open_period(party.session, vectors[name])
        subscriber = Participant(name, party.identities[name], record)
        take_part(subscriber, party.session, name, FileMailbox(folder / "box"), wait)
        record.close()

    return run


@pytest.mark.slow
def test_reader_of_the_mailbox_learns_no_totals(tmp_path: Path) -> None:
    """Nor does one who has all subscribers' public keys, the group and the list."""
    party = Party("masked", 5, 4)
    vectors = {n: [i + j for j in range(4)] for i, n in enumerate(party.names)}
    threads = in_threads(member(party, vectors, tmp_path, 20), party.names)
    mailbox, log = FileMailbox(tmp_path / "box"), []  # type: ignore[var-annotated]
    running = Aggregation(
        party.session, party.aggregator(), tmp_path / "state", mailbox, party.signing, log.append
    )
    assert running.run(20).values == total_of(vectors)  # type: ignore[arg-type]
    for thread in threads:
        thread.join()
    eavesdropper = MaskedAggregator(party.session, os.urandom(32))
    for number in range(4):
        for _, message in mailbox.get(up_box(party.session, number), most=HUGE):
            eavesdropper.accept(message)
        eavesdropper.close()
    answers = [m for _, m in mailbox.get(up_box(party.session, 4), most=HUGE)]
    for message in answers:
        with refused("bad-message"):
            eavesdropper.accept(message)
    # The shares themselves are nowhere in the mailbox.
    everything = b"".join(p.read_bytes() for p in (tmp_path / "box").rglob("*.msg"))
    for name, message in zip(party.names, answers, strict=True):
        for share in split_pairs(shares_of(party, name, message), most=9).values():
            assert share not in everything
    with refused("too-few"):
        eavesdropper.close()


def test_writer_to_the_mailbox_cannot_play_the_aggregator(tmp_path: Path) -> None:
    """It signs with a key of its own, and with the key of a subscriber."""
    party = Party("masked", 4, 2)
    vectors = {n: [1, 2] for n in party.names}
    for thread in in_threads(member(party, vectors, tmp_path, 0), party.names):
        thread.join()
    mailbox, rogue = FileMailbox(tmp_path / "box"), party.aggregator()
    for _, message in mailbox.get(up_box(party.session, 0), most=HUGE):
        rogue.accept(message)
    victim = party.names[0]
    body = rogue.close()[victim]
    own, colluder = Ed25519PrivateKey.generate(), party.identities[party.names[1]]
    forged = [
        body,
        seal_down(SHARES, party.session, victim, body, own),
        seal_down(SHARES, party.session, victim, body, colluder),
        seal(SHARES, party.session, victim, body, party.signing),
        seal_down(INPUT, party.session, victim, body, party.signing),
        seal_down(SHARES, party.session, party.names[1], body, party.signing),
    ]
    box = down_box(party.session, 1, victim)
    for n, message in enumerate(forged):
        mailbox.put(box, f"forged{n}", message)
    member(party, vectors, tmp_path, 0)(victim)
    assert list(mailbox.get(up_box(party.session, 1), most=HUGE)) == []
    # The aggregator's own message is found among them.
    mailbox.put(box, victim, seal_down(SHARES, party.session, victim, body, party.signing))
    member(party, vectors, tmp_path, 0)(victim)
    assert [n for n, _ in mailbox.get(up_box(party.session, 1), most=HUGE)] == [victim]
