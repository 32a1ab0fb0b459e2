"""Fixtures of the tests that read from a simulated MISP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.installation import Installation
from support.linked import link
from support.misp import MispServer


@pytest.fixture
def server() -> Iterator[MispServer]:
    with MispServer() as made:
        yield made


@pytest.fixture
def linked(installation: Installation, server: MispServer) -> Installation:
    link(installation, server)
    return installation
