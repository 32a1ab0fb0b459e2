"""An installation that lists a host, and helpers that serve from it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.helper_faults import Start
from support.helper_process import HelperProcess
from support.installation import SETTINGS, Installation, attribute


@pytest.fixture
def listed(installation: Installation) -> Installation:
    """One that lists `listed.example`, and lets `fail` block what it cannot tell."""
    installation.config.write_text(SETTINGS.replace('fail = "open"', 'fail = "closed"'))
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    return installation


@pytest.fixture
def start(listed: Installation) -> Iterator[Start]:
    """Starts helpers, and ends them after the test."""
    helpers: list[HelperProcess] = []

    def started() -> HelperProcess:
        helpers.append(HelperProcess(listed))
        return helpers[-1]

    yield started
    for helper in helpers:
        if helper.process.poll() is None:
            helper.kill()
