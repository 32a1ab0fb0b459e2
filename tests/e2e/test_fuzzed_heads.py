"""Odd heads from clients and servers through a real Squid; `make trials` sends many more."""

from __future__ import annotations

import random

import pytest

from inkgate.icap_server.settings import Fail
from support.fuzzed_squid import fuzzed_squid

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.mark.parametrize("fail", ["open", "closed"])
@pytest.mark.parametrize("front_end", ["helper", "icap"])
def test_attack_odd_heads_let_nothing_listed_pass_and_stop_nobody(
    front_end: str, fail: Fail
) -> None:
    with fuzzed_squid(front_end, fail) as squid:
        assert squid.round(random.Random(f"{front_end} {fail}"), 100) == []
