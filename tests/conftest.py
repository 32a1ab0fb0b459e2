"""How hypothesis looks for examples, and fixtures that several folders of tests use."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from support.installation import Installation

# `python -m pytest` puts the working directory first in sys.path. In the root of the
# repository lie folders called `rules` and `helper`: whoever imports those by their bare
# names shall not get them.
_ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != _ROOT]

# No deadlines: a busy machine exceeds any. Hypothesis's own profile `ci` is the same, and
# makes the same examples each time, so that a red CI is the fault of the change that it
# tested; whoever runs the tests outside of CI looks for new examples.
settings.register_profile(
    "inkgate", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ci" if os.environ.get("CI") else "inkgate")


@pytest.fixture
def installation() -> Iterator[Installation]:
    """An installation with keys and no events."""
    made = Installation()
    yield made
    made.close()
