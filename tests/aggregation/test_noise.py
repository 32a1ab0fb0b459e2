"""The noise's distribution, the privacy budget, and the quotas, checked statistically."""

from __future__ import annotations

import math
import random
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy
import pytest

from inkgate.sightings.aggregation.contribution import contribution
from inkgate.sightings.aggregation.description import check_group, parse_group
from inkgate.sightings.aggregation.errors import AggregationError
from inkgate.sightings.aggregation.exchange.answer_record import AnswerRecord
from inkgate.sightings.aggregation.group import (
    AggregatorKeys,
    Group,
    NoiseSettings,
    default_threshold,
)
from inkgate.sightings.aggregation.noise import dilution, draw_noise, noise_quantile, thresholds
from inkgate.sightings.aggregation.protocol import Totals
from inkgate.sightings.aggregation.publish.publication import publishable
from inkgate.sightings.aggregation.session import Session
from support.aggregation import PROTOCOL_NAMES, Party, labels, total_of

DRAWS = 400_000


def group_of(subscribers: int, sensitivity: int, noise: NoiseSettings, **settings: Any) -> Group:
    keys = {f"org-{n}": f"{n:064x}" for n in range(subscribers)}
    aggregator = AggregatorKeys(signing="0" * 64, sealing="0" * 64)
    settings = {"protocol": "masked", "threshold": subscribers, "quota_subscribers": 3, **settings}
    return Group(name="isac", subscribers=keys, aggregator=aggregator, max_count=sensitivity,
                 noise=noise, **settings)  # fmt: skip


def probability(k: int, alpha: float) -> float:
    return (alpha - 1) / (alpha + 1) * alpha ** -abs(k)


def chi_squared(drawn: list[int], expected: dict[int, float]) -> tuple[float, int]:
    """Pearson's statistic over the values expected at least ten times, and its cells."""
    seen = Counter(drawn)
    cells = {k: len(drawn) * p for k, p in expected.items() if len(drawn) * p >= 10}
    rest = len(drawn) - sum(cells.values())
    others = sum(count for k, count in seen.items() if k not in cells)
    statistic = sum((seen[k] - e) ** 2 / e for k, e in cells.items())
    return statistic + (others - rest) ** 2 / max(rest, 1.0), len(cells)


def limit(cells: int) -> float:
    """What chi squared exceeds once in some 10^9 runs (Wilson and Hilferty)."""
    return cells * (1 - 2 / (9 * cells) + 6 * math.sqrt(2 / (9 * cells))) ** 3


@pytest.mark.parametrize(("epsilon", "sensitivity"), [(1.0, 1), (1.0, 5), (0.5, 10), (3.0, 2)])
def test_undiluted_noise_is_geometric(epsilon: float, sensitivity: int) -> None:
    noise = NoiseSettings(epsilon=epsilon, delta=1e-9, honest=0.5)
    group = group_of(3, sensitivity, noise)
    assert dilution(group) == 1
    drawn = draw_noise(group, DRAWS)
    alpha = math.exp(epsilon / sensitivity)
    expected = {k: probability(k, alpha) for k in range(-400, 401)}
    statistic, cells = chi_squared(drawn, expected)
    assert statistic < limit(cells)


@pytest.mark.parametrize("subscribers", [20, 50, 200])
def test_diluted_noise_is_added_with_probability_beta(subscribers: int) -> None:
    noise = NoiseSettings(epsilon=1.0, delta=1e-3)
    group = group_of(subscribers, 2, noise)
    beta = dilution(group)
    assert beta == pytest.approx(min(1, math.log(1e3) / (2 / 3 * subscribers)))
    alpha = math.exp(1 / 2)
    expected = {k: beta * probability(k, alpha) for k in range(-100, 101)}
    expected[0] += 1 - beta
    statistic, cells = chi_squared(draw_noise(group, DRAWS), expected)
    assert statistic < limit(cells)


def test_the_test_of_distributions_can_fail() -> None:
    noise = NoiseSettings(epsilon=1.0, delta=1e-9, honest=0.5)
    wrong = {k: probability(k, math.exp(1 / 5.2)) for k in range(-400, 401)}
    statistic, cells = chi_squared(draw_noise(group_of(3, 5, noise), DRAWS), wrong)
    assert statistic > limit(cells)


@pytest.mark.parametrize("ratio", [0.01, 0.1, 0.5, 1.0, 20.0])
def test_probabilities_keep_the_ratio_that_privacy_needs(ratio: float) -> None:
    """Neighbouring values differ by no more than exp(epsilon / sensitivity)."""
    table = thresholds(ratio)
    edges = [0, *table, 1 << 64]
    mass = [b - a for a, b in pairwise(edges)]
    assert min(mass) >= 0
    middle = [m for m in mass if m > 1 << 32]
    for a, b in pairwise(middle):
        assert max(a, b) / min(a, b) <= math.exp(ratio) * (1 + 1e-8)
    assert abs(sum(mass[: len(mass) // 2]) - sum(mass[len(mass) // 2 + 1 :])) <= 1


@pytest.mark.parametrize("protocol", PROTOCOL_NAMES)
def test_noisy_totals_are_off_by_the_noise_and_right_on_average(protocol: str) -> None:
    length = 300
    noise = NoiseSettings(epsilon=2.0, delta=0.01)
    party = Party(protocol, 6, length, max_count=4, noise=noise)
    counts = {n: [1] * length for n in party.names}
    vectors = {n: contribution(party.session, counts[n]) for n in party.names}
    totals = party.run(vectors).values
    assert totals == total_of(vectors)
    errors = numpy.array(totals) - 6
    beta, alpha = dilution(party.group), math.exp(2 / 4)
    variance = 6 * beta * 2 * alpha / (alpha - 1) ** 2
    assert abs(errors.mean()) < 6 * math.sqrt(variance / length)
    assert 0.4 * variance < errors.var() < 2.5 * variance
    assert (errors < -6).any()  # negative totals are believed when there is noise


@pytest.mark.parametrize("subscribers", [3, 30, 60, 100, 300, 1000])
@pytest.mark.parametrize("protocol", PROTOCOL_NAMES)
def test_delta_survives_an_aggregator_that_leaves_honest_subscribers_out(
    subscribers: int, protocol: str
) -> None:
    """The smallest sum, with all colluders in it, still has honest noise with 1 - delta."""
    noise = NoiseSettings(epsilon=1.0, delta=1e-6)
    threshold = default_threshold(subscribers)
    group = group_of(subscribers, 1, noise, protocol=protocol, threshold=threshold)
    smallest = {"shi": subscribers, "masked": max(threshold, 3)}[protocol]
    honest = smallest - math.floor(subscribers * (1 - noise.honest))
    assert honest >= 1
    assert (1 - dilution(group)) ** honest <= noise.delta * (1 + 1e-9)


def test_sampled_sum_without_honest_noise_is_as_rare_as_stated() -> None:
    """What a colluding aggregator sees of 100 of whom 67 are summed, 33 of them colluders."""
    noise = NoiseSettings(epsilon=5.0, delta=0.05)
    group = group_of(100, 1, noise, threshold=67)
    lengths, bare = 20_000, numpy.ones(20_000, bool)
    for _ in range(34):
        bare &= numpy.array(draw_noise(group, lengths)) == 0
    # Noise can be 0 as well, which the bound does not count as missing.
    zero = probability(0, math.exp(5))
    expected = (1 - dilution(group) * (1 - zero)) ** 34
    assert abs(bare.mean() - expected) < 6 * math.sqrt(expected / lengths)
    assert (1 - dilution(group)) ** 34 <= 0.05


@pytest.mark.parametrize(
    ("size", "threshold", "honest"), [(9, 5, 0.4), (9, 6, 1 / 3), (3, 2, 0.001)]
)
def test_group_whose_sum_may_be_of_colluders_only_has_no_noise(
    size: int, threshold: int, honest: float
) -> None:
    noise = NoiseSettings(epsilon=1.0, honest=honest)
    group = group_of(size, 1, noise, threshold=threshold)
    for use in (check_group, lambda group: draw_noise(group, 1), noise_quantile):
        with pytest.raises(ValueError, match="colluders only"):
            use(group)
    with pytest.raises(AggregationError, match=r"^bad-group: .*colluders only"):
        parse_group(group.encoded)


@pytest.mark.parametrize(("size", "sensitivity"), [(5, 10), (30, 1), (100, 5)])
def test_noise_alone_seldom_reaches_its_quantile(size: int, sensitivity: int) -> None:
    group = group_of(size, sensitivity, NoiseSettings(epsilon=1.0, delta=1e-3))
    lengths = 20_000
    total = sum(numpy.array(draw_noise(group, lengths)) for _ in range(size))
    quantile = noise_quantile(group)
    assert (total >= quantile).mean() <= 0.01
    assert (total >= quantile // 3).mean() > 0.01  # and is not far too high


def test_budget_is_kept_and_ends(tmp_path: Path) -> None:
    noise = NoiseSettings(epsilon=0.5, budget=1.0)
    party = Party("masked", 3, 2, max_count=5, noise=noise)
    record = AnswerRecord(tmp_path / "r.db")
    for n, period in enumerate(["2026-01-05", "2026-01-12"], 1):
        session = Session(party.group, period, labels(2))
        record.open_period(session, [1, 2])
        record.open_period(session, [1, 2])  # again costs nothing
        assert record.spent(session) == pytest.approx(0.5 * n)
    with pytest.raises(AggregationError, match="over-budget"):
        record.open_period(Session(party.group, "2026-01-19", labels(2)), [1, 2])


def test_quota_of_total_count() -> None:
    party = Party("masked", 5, 200, quota_subscribers=4, quota_total=10)
    chance = random.Random(5)
    values: list[int | None] = [chance.choice([None, -3, 0, 9, 10, 11, 500]) for _ in range(200)]
    published = dict(
        publishable(Totals(contributors=4, values=values), party.group, party.session.labels)
    )
    for label, value in zip(party.session.labels, values, strict=True):
        assert published.get(label) == (value if value is not None and value >= 10 else None)


def test_quota_of_subscribers() -> None:
    party = Party("masked", 5, 1, quota_subscribers=4)
    few = Totals(contributors=3, values=[100])
    with pytest.raises(AggregationError, match="too-few"):
        list(publishable(few, party.group, party.session.labels))


@pytest.mark.parametrize("left", range(3, 8))
@pytest.mark.slow
def test_quota_of_subscribers_holds_in_random_runs(left: int) -> None:
    party = Party("masked", 8, 3, threshold=5, quota_subscribers=6)
    chance = random.Random(left)
    for _ in range(5):
        gone = set(chance.sample(party.names, 8 - left))
        vectors = {n: [1, 2, 3] for n in party.names}
        if left < 6:
            with pytest.raises(AggregationError, match="too-few"):
                party.run(vectors, {2: gone})
        else:
            assert party.run(vectors, {2: gone}).values == [left, 2 * left, 3 * left]
