"""Fixtures that several folders of tests use."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.installation import Installation

# `python -m pytest` puts the working directory first in sys.path. In the root of the
# repository lie folders called `rules` and `helper`: whoever imports those by their bare
# names shall not get them.
_ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != _ROOT]


@pytest.fixture
def installation() -> Iterator[Installation]:
    """An installation with keys and no events."""
    made = Installation()
    yield made
    made.close()
