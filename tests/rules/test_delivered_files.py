"""Files that web servers deliver: whatever they were asked for, the listed URL is looked up."""

from __future__ import annotations

import random
from itertools import islice

import pytest

from inkgate.rules.canonical import Refused, canonical_url
from support.delivered_files import given_files, url_of, values
from support.file_servers import SERVERS
from support.request_targets import targets

pytestmark = pytest.mark.slow


def one_reading(target: bytes) -> tuple[str, ...]:
    try:
        return (canonical_url(url_of(target)).value,)
    except Refused:
        return ()


@pytest.mark.parametrize("server", SERVERS)
def test_attack_listed_file_is_asked_for_as_each_server_reads_paths(server: str) -> None:
    """tests/trials/request_targets.py does so with many more."""
    given = given_files(server, list(islice(targets(random.Random(22)), 2_000)))
    assert [target for target, listed in given if listed not in values(target)] == []
    # With the reading of browsers alone such files went through.
    assert [target for target, listed in given if listed not in one_reading(target)] != []
