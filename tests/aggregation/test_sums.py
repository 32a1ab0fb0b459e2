"""Sums of both protocols, with and without subscribers dropping out."""

from __future__ import annotations

import random

import pytest

from inkgate.sightings.aggregation.errors import AggregationError
from inkgate.sightings.aggregation.shi.scheme import ShiAggregator
from support.aggregation import PROTOCOL_NAMES, Party, total_of

TRIALS = 1000
PARTS = 4


def random_vectors(party: Party, chance: random.Random) -> dict[str, list[int]]:
    length, most = len(party.session.labels), party.group.max_count
    pick = [0, 0, 0, 1, 2, most]
    return {n: [chance.choice([*pick, chance.randint(0, most)]) for _ in range(length)]
            for n in party.names}  # fmt: skip


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("protocol", PROTOCOL_NAMES)
@pytest.mark.slow
def test_thousand_random_trials(protocol: str, part: int) -> None:
    for trial in range(part, TRIALS, PARTS):
        chance = random.Random(trial)
        party = Party(protocol, chance.randint(3, 5), chance.randint(1, 6))
        vectors = random_vectors(party, chance)
        totals = party.run(vectors)
        assert totals.values == total_of(vectors), trial
        assert totals.contributors == len(party.names)


# A third is the most that the default threshold allows to drop out.
@pytest.mark.parametrize("percent", [1, 10, 30])
@pytest.mark.parametrize("number", range(5))
@pytest.mark.slow
def test_dropouts_at_every_round(number: int, percent: int) -> None:
    party = Party("masked", 20, 40)
    chance = random.Random(100 * number + percent)
    vectors = random_vectors(party, chance)
    gone = set(chance.sample(party.names, max(1, 20 * percent // 100)))
    totals = party.run(vectors, {number: gone})
    # Who drops out after the masked input is in the sum.
    left_out = sorted(gone) if number <= 2 else []
    assert totals.values == total_of(vectors, left_out)
    assert totals.contributors == 20 - len(left_out)


@pytest.mark.slow
def test_dropouts_at_all_rounds_together() -> None:
    party = Party("masked", 20, 40)
    vectors = random_vectors(party, random.Random(1))
    drops = {n: {party.names[7 * n % 20]} for n in range(5)}
    totals = party.run(vectors, drops)
    assert totals.values == total_of(vectors, [party.names[7 * n % 20] for n in range(3)])


@pytest.mark.parametrize("number", range(5))
def test_too_many_dropouts_give_no_totals(number: int) -> None:
    party = Party("masked", 9, 3, threshold=7)
    with pytest.raises(AggregationError, match="too-few"):
        party.run(random_vectors(party, random.Random(2)), {number: set(party.names[:3])})


def test_shi_needs_everybody() -> None:
    party = Party("shi", 4, 3)
    with pytest.raises(AggregationError, match="too-few"):
        party.run(random_vectors(party, random.Random(3)), {0: {party.names[0]}})


def test_more_subscribers_than_one_batch_of_points() -> None:
    party = Party("shi", 70, 2)
    vectors = random_vectors(party, random.Random(4))
    assert party.run(vectors).values == total_of(vectors)


def test_the_largest_total_is_found_and_one_more_is_not() -> None:
    party = Party("shi", 3, 3, max_count=5_592_405)
    vectors = {name: [5_592_405, 0, 5_592_405] for name in party.names}
    vectors[party.names[0]][2] += 1  # more than an honest subscriber counts
    assert party.run(vectors).values == [16_777_215, 0, None]
    assert isinstance(party.aggregator(), ShiAggregator)
