"""What a terminal is shown is text, whatever a client or a proxy sent."""

from __future__ import annotations

import io
from unittest.mock import patch

import pytest
from rich.console import Console

from inkgate.sightings.commands.formatting import as_record, moment
from inkgate.sightings.commands.list_show import _print_table
from support.reporting import sighting


def test_markup_in_a_record_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    shown = io.StringIO()
    terminal = Console(file=shown, force_terminal=True, width=300, color_system=None)
    with patch("inkgate.sightings.commands.list_show.Console", return_value=terminal):
        _print_table([as_record(sighting(["u"], client="[/x]", method="[link=http://a.example]G"))])
    assert "[/x]" in shown.getvalue()
    assert "[link=http://a.example]G" in shown.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1e300, "9999-12-31T00:00:00.000Z"), (-1e300, "0001-01-01T00:00:00.000Z"),
     (0.0, "1970-01-01T00:00:00.000Z")],
)  # fmt: skip
def test_any_time_can_be_shown(seconds: float, text: str) -> None:
    assert moment(seconds) == text
