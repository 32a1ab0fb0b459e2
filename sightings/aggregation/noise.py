"""Diluted geometric noise (Shi et al., NDSS 2011).

With alpha = exp(epsilon / sensitivity), Geom(alpha) gives k the probability
(alpha - 1) / (alpha + 1) * alpha^-|k|. Each subscriber adds such a number with probability
beta = min(1, ln(1/delta) / (honest * n)) and 0 otherwise: with probability 1 - delta at least
one honest subscriber adds one, and the total is not much noisier than with one.

Numbers are drawn by comparing 64 random bits with a table of the distribution function, so
there is no floating-point arithmetic whose rounding an observer could use (Mironov, CCS 2012).
"""

from __future__ import annotations

import math
import os
from decimal import Decimal, localcontext
from functools import lru_cache
from typing import Final

from sightings.aggregation.group import NoiseSettings
from sightings.aggregation.keystream import words
from sightings.aggregation.optional import need

_ONE: Final = 1 << 64
_DIGITS: Final = 60


def dilution(noise: NoiseSettings, subscribers: int) -> float:
    """The probability beta with which one subscriber adds noise to one count."""
    return min(1.0, math.log(1 / noise.delta) / (noise.honest * subscribers))


def draw_noise(noise: NoiseSettings, subscribers: int, sensitivity: int, length: int) -> list[int]:
    """One subscriber's part of the noise for a vector.

    Args:
        noise: what the group agreed on.
        subscribers: in the group.
        sensitivity: the most that one subscriber changes a count by (`max_count`).
        length: of the vector.
    """
    numpy = need("numpy")
    table = thresholds(noise.epsilon / sensitivity)
    reach = len(table) // 2
    random = words(os.urandom(32), 2 * length)
    drawn = numpy.searchsorted(numpy.array(table, numpy.uint64), random[:length], side="right")
    beta = dilution(noise, subscribers)
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
