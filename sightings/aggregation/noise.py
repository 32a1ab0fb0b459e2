"""Diluted geometric noise (Shi et al., NDSS 2011).

With alpha = exp(epsilon / sensitivity), Geom(alpha) gives k the probability
(alpha - 1) / (alpha + 1) * alpha^-|k|. Each subscriber adds such a number with probability
beta = min(1, ln(1/delta) / h) and 0 otherwise, where h is the least number of honest subscribers
in a sum (`honest_contributors`): with probability 1 - delta at least one of them adds one.
The paper has h = honest * n, since its sums always include all subscribers.

Numbers are drawn by comparing 64 random bits with a table of the distribution function, so
there is no floating-point arithmetic whose rounding an observer could use (Mironov, CCS 2012).
"""

from __future__ import annotations

import math
import os
from decimal import Decimal, localcontext
from functools import lru_cache
from typing import Final

from inkgate.sightings.aggregation.group import Group, NoiseSettings
from inkgate.sightings.aggregation.keystream import words
from inkgate.sightings.aggregation.optional import need
from inkgate.sightings.aggregation.registry import protocol_of

_ONE: Final = 1 << 64
_DIGITS: Final = 60
_RARE: Final = 0.01
# A smaller bound on honest contributors counts as none: it may be a rounding error.
_LEAST_HONEST: Final = 0.01
_STEPS: Final = 1000


def honest_contributors(group: Group, noise: NoiseSettings) -> float:
    """At least so many honest subscribers are in each sum of a group with noise.

    The aggregator may choose who is in a sum, and then chooses colluders first.

    Raises:
        ValueError: a sum may have none.
    """
    colluders = (1 - noise.honest) * len(group.subscribers)
    honest = protocol_of(group).least_contributors(group) - colluders
    if honest < _LEAST_HONEST:
        raise ValueError("noise: a sum may be of colluders only; raise honest or quota_subscribers")
    return honest


def dilution(group: Group) -> float:
    """The probability beta with which one subscriber adds noise to one count; 0 without noise."""
    if group.noise is None:
        return 0.0
    return min(1.0, math.log(1 / group.noise.delta) / honest_contributors(group, group.noise))


def noise_quantile(group: Group) -> int:
    """What the noise in one total reaches with a probability of 1 % at most.

    Chernoff's bound on the sum of all subscribers' noise, so a little more than needed.
    """
    if group.noise is None:
        return 0
    beta, ratio = dilution(group), group.noise.epsilon / group.max_count
    size, decay = len(group.subscribers), math.exp(-ratio)

    def bound(share: float) -> float:
        at = share * ratio
        mean = (1 - decay) ** 2 / ((1 - decay * math.exp(at)) * (1 - decay * math.exp(-at)))
        return (size * math.log(1 - beta + beta * mean) - math.log(_RARE)) / at

    return math.ceil(min(bound(step / _STEPS) for step in range(1, _STEPS)))


def draw_noise(group: Group, length: int) -> list[int]:
    """One subscriber's part of the noise for a vector; zeros in a group without noise.

    Args:
        group: what was agreed on; `max_count` is the most that one subscriber changes a count by.
        length: of the vector.
    """
    if group.noise is None:
        return [0] * length
    numpy = need("numpy")
    table = thresholds(group.noise.epsilon / group.max_count)
    reach = len(table) // 2
    random = words(os.urandom(32), 2 * length)
    drawn = numpy.searchsorted(numpy.array(table, numpy.uint64), random[:length], side="right")
    beta = dilution(group)
    adds = random[length:] < numpy.uint64(min(_ONE - 1, int(beta * _ONE)))
    values: list[int] = numpy.where(adds, drawn.astype(numpy.int64) - reach, 0).tolist()
    return values


@lru_cache(maxsize=8)
def thresholds(ratio: float) -> list[int]:
    """P(k <= -reach), P(k <= -reach + 1), … in units of 2^-64, without the last, which is 1.

    The tails beyond `reach` have less than 2^-64 and count as `reach`.
    """
    with localcontext() as context:
        context.prec = _DIGITS
        decay = (-Decimal(ratio)).exp()
        reach = math.ceil(64 * math.log(2) / ratio)
        # P(k <= -j) = decay^j / (1 + decay) for j >= 0, and the distribution is symmetric.
        tail = [int(_ONE * decay**j / (1 + decay)) for j in range(reach + 1)]
    below = [tail[j] for j in range(reach, -1, -1)]
    # P(k <= j) = 1 - P(k <= -j - 1)
    above = [min(_ONE - 1, _ONE - tail[j + 1]) for j in range(1, reach)]
    return below + above
