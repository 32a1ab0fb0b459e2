"""Gates: sizes, and what two gates of one epoch say together."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from inkgate.rules.crypto.gates import Gate, build_gate, gate_bits


@given(st.integers(0, 1 << 40), st.floats(0.0001, 0.9))
def test_gates_of_two_sizes_refine_each_other(values: int, epsilon: float) -> None:
    bits = gate_bits(values, epsilon)
    assert bits >= 64
    assert gate_bits(values + 1, epsilon) % bits == 0
    assert 1 - math.exp(-values / bits) <= epsilon * 1.0001


@given(st.sets(st.integers(0, 2**64 - 1), min_size=1, max_size=200))
def test_what_a_gate_stops_a_larger_one_of_the_same_values_stops(numbers: set[int]) -> None:
    small, large = (Gate(build_gate(numbers, count, 1 / 16)) for count in (20, 400))
    assert all(small.passes(n) and large.passes(n) for n in numbers)
    assert not any(large.passes(n) and not small.passes(n) for n in range(5000))
