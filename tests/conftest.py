"""Fixtures that several folders of tests use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.installation import Installation


@pytest.fixture
def installation() -> Iterator[Installation]:
    """An installation with keys and no events."""
    made = Installation()
    yield made
    made.close()
