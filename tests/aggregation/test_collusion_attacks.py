"""Attacks of docs/aggregation.md: subscribers and an aggregator who pool what they have."""

from __future__ import annotations

import hashlib

import numpy
import pytest
from coincurve import PublicKey

from inkgate.rules.canonical.fields import length_prefixed
from inkgate.sightings.aggregation.errors import AggregationError
from inkgate.sightings.aggregation.group import MAX_TOTAL
from inkgate.sightings.aggregation.keystream import add_stream
from inkgate.sightings.aggregation.masked import masks
from inkgate.sightings.aggregation.masked.secret_sharing import combine_shares
from inkgate.sightings.aggregation.masked.subscriber import INPUT, KEYS
from inkgate.sightings.aggregation.shi.discrete_log import logarithm
from inkgate.sightings.aggregation.shi.scheme import curve
from inkgate.sightings.aggregation.wire import (
    join_pairs,
    seal,
    split_pairs,
)
from support.aggregation import Party, total_of
from support.aggregation_course import Course, body_of, collude, course, refused, shares_of


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
    totals = run.aggregator.totals().values
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
    point = {n: PublicKey(body_of("shi-input", party,
             party.contributor(n).answer([], vectors[n]))[:65]) for n in party.names}  # fmt: skip
    known = [party.aggregator_key, *(party.dealt[n] for n in colluders)]
    key = curve.scalar(sum(int.from_bytes(k) for k in known))
    label = next(iter(party.session.labels))
    own = curve.hash_to_point(party.session.id, label).multiply(key)
    assert logarithm(curve.add_points([point[victim], point[other], own]), MAX_TOTAL) == 3
    # One alone stays a point without a small logarithm, whatever is taken from it.
    assert logarithm(curve.add_points([point[victim], own]), MAX_TOTAL) is None
    assert logarithm(point[victim], MAX_TOTAL) is None


def test_shi_aggregator_cannot_leave_a_subscriber_out() -> None:
    party = Party("shi", 4, 2)
    aggregator = party.aggregator()
    for name in party.names[:3]:
        aggregator.accept(party.contributor(name).answer([], [1, 2]))
    with refused("too-few"):
        aggregator.close()
    assert aggregator.totals().values == [None, None]


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
        run.aggregator.accept(message)
    roster = run.aggregator.close()[victim]
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
        party.aggregator().accept(seal(KEYS, party.session, name, body, party.identities[name]))


def test_copy_of_anothers_keys_is_refused_and_the_others_go_on() -> None:
    party = Party("masked", 4, 2)
    aggregator = party.aggregator()
    liar, victim, *_ = party.names
    messages = {n: party.contributor(n).answer([], []) for n in party.names if n != liar}
    for message in messages.values():
        aggregator.accept(message)
    stolen = body_of(KEYS, party, messages[victim])
    with refused("bad-message"):
        aggregator.accept(seal(KEYS, party.session, liar, stolen, party.identities[liar]))
    roster = aggregator.close()[victim]
    assert party.contributor(victim).answer([roster], [])


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
