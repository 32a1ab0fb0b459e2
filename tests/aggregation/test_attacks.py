"""Every attack that docs/aggregation.md speaks of, each by name."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.aggregation import PERIOD, Party, labels, total_of

from rules.canonical.fields import length_prefixed
from sightings.aggregation import curve, masks
from sightings.aggregation.discrete_log import logarithm
from sightings.aggregation.errors import AggregationError
from sightings.aggregation.group import MAX_TOTAL
from sightings.aggregation.keystream import add_stream
from sightings.aggregation.labels import Labels
from sightings.aggregation.mailbox import FileMailbox, down_box, up_box
from sightings.aggregation.masked_aggregator import MaskedCollector
from sightings.aggregation.masked_subscriber import INPUT, KEYS, SHARES, SURVIVORS, UNMASK
from sightings.aggregation.record import Record
from sightings.aggregation.running import Aggregation, take_part
from sightings.aggregation.secret_sharing import combine_shares
from sightings.aggregation.session import Session
from sightings.aggregation.subscriber import Subscriber
from sightings.aggregation.wire import (
    join_pairs,
    seal,
    seal_down,
    split_fields,
    split_pairs,
    unseal,
)

HUGE = 1 << 20


def refused(refusal: str) -> pytest.RaisesExc[AggregationError]:
    return pytest.raises(AggregationError, match=f"^{refusal}: ")


def body_of(kind: str, party: Party, message: bytes) -> bytes:
    return unseal(kind, party.session, message, most=HUGE)[1]


def shares_of(party: Party, name: str, message: bytes) -> bytes:
    """What a subscriber handed out, for the aggregator."""
    sealed = body_of(UNMASK, party, message)
    return masks.open_unmask(party.session.id, party.sealing, name, sealed)


class Course:
    """A masked aggregation, step by step, all of whose messages the aggregator keeps."""

    def __init__(self, party: Party, vectors: dict[str, list[int]]) -> None:
        self.party, self.vectors = party, vectors
        self.messages: list[dict[str, bytes]] = []
        self.sent: list[dict[str, bytes]] = []
        self.collector = party.collector()
        self.recorded: dict[str, Subscriber] = {}

    def answer(self, name: str, number: int, *histories: bytes) -> bytes:
        if name in self.recorded:
            received = self.sent[number - 1][name] if number else b""
            return self.recorded[name].answer(self.party.session, number, received)
        history = list(histories) or [sent[name] for sent in self.sent[:number]]
        return self.party.contributor(name).answer(history, self.vectors[name])

    def round(self, drops: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        number = len(self.messages)
        there = self.sent[-1].keys() if self.sent else self.party.names
        self.messages.append({n: self.answer(n, number) for n in there if n not in drops})
        for message in self.messages[-1].values():
            self.collector.accept(message)
        self.sent.append(self.collector.close())

    def opened(self, holder: str, owner: str) -> bytes:
        """What a colluding holder knows of an owner's secrets."""
        party = self.party
        secrets = masks.Secrets(party.session.id, party.secrets[holder])
        keys = body_of(KEYS, party, self.messages[0][owner])
        sealed = split_pairs(body_of(SHARES, party, self.messages[1][owner]), most=999)
        shares = masks.open_shares(
            party.session.id, secrets.channel_key, keys[:32], owner, holder, sealed[holder]
        )
        assert shares
        return shares

    def unmasked(self, victim: str, mask_key: bytes, self_mask: bytes) -> list[int]:
        """The victim's counts, for somebody who knows both of its secrets."""
        party, session = self.party, self.party.session.id
        body = body_of(INPUT, party, self.messages[2][victim])
        vector = numpy.frombuffer(body, "<u8", offset=32).copy()
        keys = {n: body_of(KEYS, party, m)[32:] for n, m in self.messages[0].items()}
        for other in self.messages[1].keys() - {victim}:
            pair = masks.pair_mask(session, mask_key, victim, other, keys)
            add_stream(vector, pair, negative=other > victim)
        add_stream(vector, masks.self_mask(session, self_mask), negative=True)
        return list(vector.astype(numpy.int64))


def course(subscribers: int = 6, **settings: int) -> Course:
    party = Party("masked", subscribers, 5, **settings)
    vectors = {n: [(7 * i + j) % 9 for j in range(5)] for i, n in enumerate(party.names)}
    return Course(party, vectors)


def collude(run: Course, victim: str, colluders: list[str]) -> list[int] | None:
    """What an aggregator and colluding subscribers make of all that they have of a victim.

    They follow the rounds, then take the shares that they hold, and those that honest
    subscribers hand out for the self mask, which an aggregator is entitled to.
    """
    threshold = run.party.group.threshold
    holders = {run.party.names.index(n) + 1: run.opened(n, victim) for n in colluders}
    if len(holders) < threshold:
        return None
    chosen = dict(list(holders.items())[:threshold])
    mask_key = combine_shares({n: share[:32] for n, share in chosen.items()})
    self_mask = combine_shares({n: share[32:] for n, share in chosen.items()})
    return run.unmasked(victim, mask_key, self_mask)


# --- collusion


def test_masked_aggregator_with_all_but_two_learns_only_the_sum_of_the_two() -> None:
    run = course(6, threshold=6)
    for _ in range(5):
        run.round()
    victim, other, *colluders = run.party.names
    assert collude(run, victim, colluders) is None
    # What it has of the mask key are n - 2 shares; any guess of the missing two fits.
    shares = {run.party.names.index(n) + 1: run.opened(n, victim)[:32] for n in colluders}
    true = masks.Secrets(run.party.session.id, run.party.secrets[victim]).mask_key
    for guess in range(8):
        assert combine_shares({**shares, 1: bytes([guess]) * 32, 2: bytes(32)}) != true
    # It does learn the sum of the two, as from any sum.
    totals = run.collector.totals().values
    known = total_of({n: run.vectors[n] for n in colluders})
    both = [t - k for t, k in zip(totals, known, strict=True) if t is not None]
    assert both == total_of({n: run.vectors[n] for n in (victim, other)})


def test_masked_bound_on_colluders_is_exact() -> None:
    """One colluder fewer than the threshold learns nothing, as many as the threshold all."""
    run = course(6, threshold=4)
    for _ in range(3):
        run.round()
    victim, *others = run.party.names
    assert collude(run, victim, others[:3]) is None
    assert collude(run, victim, others[:4]) == run.vectors[victim]


def test_shi_aggregator_with_all_but_two_learns_only_the_sum_of_the_two() -> None:
    party = Party("shi", 6, 2)
    vectors = {n: [i, 3 * i] for i, n in enumerate(party.names, 1)}
    victim, other, *colluders = party.names
    point = {n: curve.parse_point(body_of("shi-input", party,
             party.contributor(n).answer([], vectors[n]))[:65]) for n in party.names}  # fmt: skip
    known = [party.aggregator_key, *(party.shi_keys[n] for n in colluders)]
    key = curve.scalar(sum(int.from_bytes(k) for k in known))
    label = next(iter(party.session.labels))
    own = curve.hash_to_point(party.session.id, label).multiply(key)
    assert logarithm(curve.add_points([point[victim], point[other], own]), MAX_TOTAL) == 3
    # One alone stays a point without a small logarithm, whatever is taken from it.
    assert logarithm(curve.add_points([point[victim], own]), MAX_TOTAL) is None
    assert logarithm(point[victim], MAX_TOTAL) is None


def test_shi_aggregator_cannot_leave_a_subscriber_out() -> None:
    party = Party("shi", 4, 2)
    collector = party.collector()
    for name in party.names[:3]:
        collector.accept(party.contributor(name).answer([], [1, 2]))
    with refused("too-few"):
        collector.close()
    assert collector.totals().values == [None, None]


def same_secret(public: bytes, how: str) -> bytes:
    """Another X25519 public key with the same shared secrets (RFC 7748)."""
    if how == "top bit":
        return public[:31] + bytes([public[31] | 0x80])
    # Adding the point of order 2, which clamped scalars kill, takes u to 1 / u.
    return pow(int.from_bytes(public, "little"), -1, 2**255 - 19).to_bytes(32, "little")


def cancel_masks(subscribers: int, copies: dict[int, int], how: str, **settings: int) -> bool:
    """Whether colluders who register the honest mask keys again learn the victim's counts.

    The victim is the last honest subscriber; `copies` says whose key each colluder copies. What
    is left of its input is its self mask, which an aggregator is entitled to.
    """
    run = course(subscribers, **settings)
    party, names, session = run.party, run.party.names, run.party.session
    copied = {names[c]: names[h] for c, h in copies.items()}
    victim = next(n for n in reversed(names) if n not in (*copied, *copied.values()))
    keys = {n: run.answer(n, 0) for n in names if n not in copied}
    for name, honest in copied.items():
        channel = masks.Secrets(session.id, party.secrets[name]).public[:32]
        alias = same_secret(body_of(KEYS, party, keys[honest])[32:], how)
        keys[name] = seal(KEYS, session, name, channel + alias, party.identities[name])
    for message in keys.values():
        run.collector.accept(message)
    roster = run.collector.close()[victim]
    sealed = {n: bytes(masks.SEALED_BYTES) for n in names}
    received = [roster, join_pairs(sealed)]
    message = party.contributor(victim).answer(received, run.vectors[victim])
    vector = numpy.frombuffer(body_of(INPUT, party, message), "<u8", offset=32).copy()
    own = masks.Secrets(session.id, party.secrets[victim]).self_mask
    add_stream(vector, masks.self_mask(session.id, own), negative=True)
    return list(vector.astype(numpy.int64)) == run.vectors[victim]


@pytest.mark.parametrize("how", ["top bit", "point of order two"])
@pytest.mark.parametrize(
    ("subscribers", "copies", "threshold"),
    [(3, {2: 0}, 3), (5, {4: 0, 1: 3}, 4), (5, {4: 0, 1: 3}, 5)],
)
def test_registering_an_equivalent_key_does_not_cancel_the_masks_of_others(
    subscribers: int,
    copies: dict[int, int],
    threshold: int,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(masks, "check_public", lambda _key: None)  # the aggregator colludes
    assert not cancel_masks(subscribers, copies, how, threshold=threshold)


def test_masks_that_do_not_bind_names_and_keys_are_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The attack above works on what it is aimed at."""

    def unbound(session: bytes, own: bytes, _a: str, other: str, keys: dict[str, bytes]) -> bytes:
        return hashlib.sha256(session + masks._agree(own, keys[other])).digest()

    monkeypatch.setattr(masks, "pair_mask", unbound)
    assert cancel_masks(3, {2: 0}, "point of order two")


def test_key_written_in_a_second_way_is_refused() -> None:
    party = Party("masked", 3, 2)
    name = party.names[0]
    keys = masks.Secrets(party.session.id, bytes(32)).public
    body = keys[:32] + same_secret(keys[32:], "top bit")
    with refused("bad-point"):
        party.collector().accept(seal(KEYS, party.session, name, body, party.identities[name]))


def test_copy_of_anothers_keys_is_refused_and_the_others_go_on() -> None:
    party = Party("masked", 4, 2)
    collector = party.collector()
    liar, victim, *_ = party.names
    messages = {n: party.contributor(n).answer([], []) for n in party.names if n != liar}
    for message in messages.values():
        collector.accept(message)
    stolen = body_of(KEYS, party, messages[victim])
    with refused("bad-message"):
        collector.accept(seal(KEYS, party.session, liar, stolen, party.identities[liar]))
    roster = collector.close()[victim]
    assert party.contributor(victim).answer([roster], [])


# --- an aggregator that lies


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
    record = Record(tmp_path / "record.db")
    record.open_period(run.party.session, run.vectors[name])
    subscriber = Subscriber(name, run.party.identities[name], record)
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


# --- the mailbox


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
        record = Record(folder / f"{name}.db")
        record.open_period(party.session, vectors[name])
        subscriber = Subscriber(name, party.identities[name], record)
        take_part(subscriber, party.session, name, FileMailbox(folder / "box"), wait)
        record.close()

    return run


def test_reader_of_the_mailbox_learns_no_totals(tmp_path: Path) -> None:
    """Nor does one who has all subscribers' public keys, the group and the list."""
    party = Party("masked", 5, 4)
    vectors = {n: [i + j for j in range(4)] for i, n in enumerate(party.names)}
    threads = in_threads(member(party, vectors, tmp_path, 20), party.names)
    mailbox, log = FileMailbox(tmp_path / "box"), []  # type: ignore[var-annotated]
    running = Aggregation(
        party.session, party.collector(), tmp_path / "state", mailbox, party.signing, log.append
    )
    assert running.run(20).values == total_of(vectors)  # type: ignore[arg-type]
    for thread in threads:
        thread.join()
    eavesdropper = MaskedCollector(party.session, os.urandom(32))
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
    mailbox, rogue = FileMailbox(tmp_path / "box"), party.collector()
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


# --- messages of others, of other times and other lists


@pytest.mark.parametrize("protocol", ["masked", "shi"])
class TestMessages:
    def first(self, party: Party, name: str, session: Session | None = None) -> bytes:
        return party.contributor(name, session).answer([], [1] * len(party.session.labels))

    def test_replay_in_another_period(self, protocol: str) -> None:
        party = Party(protocol, 3, 2)
        old = Session(party.group, "2025-12-29", party.session.labels)
        with refused("wrong-period"):
            party.collector().accept(self.first(party, party.names[0], old))

    def test_replay_in_the_same_round_counts_once(self, protocol: str) -> None:
        party = Party(protocol, 3, 2)
        collector = party.collector()
        message = self.first(party, party.names[0])
        assert collector.accept(message) == collector.accept(message)
        assert len(collector.expected) == 2

    def test_replay_in_another_group(self, protocol: str) -> None:
        party = Party(protocol, 3, 2)
        twin = Party(protocol, 3, 2)
        with refused("wrong-group"):
            party.collector().accept(self.first(twin, party.names[0]))

    @pytest.mark.parametrize("other", [labels(2, serial=6), labels(3), Labels(7, [b"x" * 16])])
    def test_wrong_rule_set_serial_or_list(self, protocol: str, other: Labels) -> None:
        party = Party(protocol, 3, 2)
        session = Session(party.group, PERIOD, other)
        message = party.contributor(party.names[0], session).answer([], [1] * len(other))
        with refused("wrong-list"):
            party.collector().accept(message)

    def test_message_under_another_name(self, protocol: str) -> None:
        party = Party(protocol, 3, 2)
        a, b = (n.encode() for n in party.names[:2])
        message = self.first(party, party.names[0])
        with refused("bad-signature"):
            party.collector().accept(message.replace(a, b))

    def test_every_flipped_bit_is_refused(self, protocol: str) -> None:
        party = Party(protocol, 3, 2)
        collector = party.collector()
        message = self.first(party, party.names[0])
        for at in range(0, 8 * len(message), 7):
            broken = bytearray(message)
            broken[at // 8] ^= 1 << at % 8
            with pytest.raises(AggregationError):
                collector.accept(bytes(broken))
        for end in range(0, len(message), 13):
            with pytest.raises(AggregationError):
                collector.accept(message[:end])
        assert len(collector.expected) == 3

    def test_message_of_another_round(self, protocol: str) -> None:
        party = Party(protocol, 3, 2)
        message = seal(SURVIVORS, party.session, party.names[0], b"", party.identities["org-000"])
        with refused("wrong-round"):
            party.collector().accept(message)

    def test_second_different_message_in_one_round(self, protocol: str) -> None:
        party = Party(protocol, 3, 2)
        collector = party.collector()
        collector.accept(self.first(party, party.names[0]))
        party.secrets[party.names[0]] = os.urandom(32)
        second = party.contributor(party.names[0]).answer([], [2, 2])
        with refused("second-count"):
            collector.accept(second)


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


# --- a second count


def opened_record(party: Party, path: Path, counts: list[int]) -> tuple[Record, Subscriber]:
    record = Record(path)
    record.open_period(party.session, counts)
    name = party.names[0]
    return record, Subscriber(name, party.identities[name], record, party.shi_keys[name])


@pytest.mark.parametrize("protocol", ["masked", "shi"])
def test_retry_sends_the_same_bytes_even_after_a_restart(tmp_path: Path, protocol: str) -> None:
    party = Party(protocol, 3, 2)
    record, subscriber = opened_record(party, tmp_path / "r.db", [1, 2])
    first = subscriber.answer(party.session, 0, b"")
    record.close()
    again = Record(tmp_path / "r.db")
    name = party.names[0]
    revived = Subscriber(name, party.identities[name], again, party.shi_keys[name])
    assert revived.answer(party.session, 0, b"") == first
    assert (tmp_path / "r.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("protocol", ["masked", "shi"])
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


# --- subscribers that submit nonsense


@pytest.mark.parametrize("exponent", [-1, -2, -20_000, -65_536, -65_537, 0x10001 - 2**20])
def test_logarithm_of_a_negative_point_is_none(exponent: int) -> None:
    assert logarithm(curve.base_times(-exponent), MAX_TOTAL) == -exponent
    assert logarithm(curve.base_times(exponent), MAX_TOTAL) is None


@pytest.mark.parametrize("protocol", ["masked", "shi"])
def test_liar_is_bounded_by_the_total_only(protocol: str) -> None:
    """As docs/aggregation.md says: any number goes as long as the total stays believable."""
    party = Party(protocol, 5, 2, max_count=100)
    vectors = {n: [80, 0] for n in party.names}
    vectors[party.names[0]] = [-317, 500]
    assert party.run(vectors).values == [3, 500]
    vectors[party.names[0]] = [-321, 501]
    assert party.run(vectors).values == [None, None]


@pytest.mark.parametrize("protocol", ["masked", "shi"])
@pytest.mark.parametrize("count", [-1, -1000, 1001, 2**40])
def test_own_huge_or_negative_count_is_refused(tmp_path: Path, protocol: str, count: int) -> None:
    party = Party(protocol, 3, 2)
    with refused("bad-count"):
        Record(tmp_path / "r.db").open_period(party.session, [1, count])


@pytest.mark.parametrize("protocol", ["masked", "shi"])
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
    collector = party.collector()
    with refused("bad-point"):
        collector.accept(seal("shi-input", party.session, name, body, party.identities[name]))
    assert name in collector.expected


@pytest.mark.parametrize("protocol", ["masked", "shi"])
@pytest.mark.parametrize("change", [-65, -64, -1, 1, 65, 1 << 16])
def test_wrong_lengths_are_refused(protocol: str, change: int) -> None:
    run = course(3) if protocol == "masked" else Course(Party("shi", 3, 3), {})
    if protocol == "masked":
        run.round()
        run.round()
    collector, party = run.collector, run.party
    name = party.names[0]
    body = bytes(collector.most + change)
    kind = INPUT if protocol == "masked" else "shi-input"
    with refused("wrong-length"):
        collector.accept(seal(kind, party.session, name, body, party.identities[name]))


@pytest.mark.parametrize("key", [bytes(32), b"\x01" + bytes(31)])
def test_keys_of_low_order_are_refused(key: bytes) -> None:
    party = Party("masked", 3, 2)
    name = party.names[0]
    good = masks.Secrets(party.session.id, bytes(32)).public[:32]
    for body in (key + good, good + key):
        with refused("bad-point"):
            party.collector().accept(seal(KEYS, party.session, name, body, party.identities[name]))


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


def split_world(colluders: int) -> tuple[Course, str, list[int] | None]:
    """Honest subscribers are told two truths; colluders sign both, and give all they have."""
    run = course(6, threshold=4)
    for _ in range(3):
        run.round()
    party, names = run.party, run.party.names
    victim, honest, liars = names[0], names[: 6 - colluders], names[6 - colluders :]
    everybody = length_prefixed(*(n.encode() for n in names))
    without = length_prefixed(*(n.encode() for n in names if n != victim))
    half = (len(honest) + 1) // 2
    shares: dict[int, dict[int, bytes]] = {}
    for side, (told, group) in enumerate(((everybody, honest[:half]), (without, honest[half:]))):
        history = {n: (run.sent[0][n], run.sent[1][n], told) for n in names}
        signed = length_prefixed(*(run.answer(n, 3, *history[n]) for n in sorted([*group, *liars])))
        shares[side] = {names.index(n) + 1: run.opened(n, victim) for n in liars}
        shares[side] = {h: s[32:] if side == 0 else s[:32] for h, s in shares[side].items()}
        for name in group:
            try:
                answer = run.answer(name, 4, *history[name], signed)
            except AggregationError:
                continue
            handed = split_pairs(shares_of(party, name, answer), most=9)
            shares[side][names.index(name) + 1] = handed[victim]
    if any(len(found) < 4 for found in shares.values()):
        return run, victim, None
    self_mask, mask_key = (combine_shares(dict(list(shares[s].items())[:4])) for s in (0, 1))
    return run, victim, run.unmasked(victim, mask_key, self_mask)


def test_active_bound_on_colluders_is_exact() -> None:
    """n = 6, t = 4: with c < 2t - n = 2 lies are refused, with c = 2 they succeed."""
    for colluders in (0, 1):
        assert split_world(colluders)[2] is None
    run, victim, learnt = split_world(2)
    assert learnt == run.vectors[victim]
