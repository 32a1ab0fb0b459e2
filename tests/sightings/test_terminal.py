"""What a terminal is shown is text, whatever a client or a proxy sent."""

from __future__ import annotations

import sys

import pytest

from inkgate.sightings.commands.formatting import as_record, moment
from inkgate.sightings.commands.list_show import _print_table
from support.reporting import sighting


@pytest.mark.parametrize("library", ["rich", "none"])
def test_markup_in_a_record_is_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr("inkgate.config.table.is_installed", lambda _: library == "rich")
    _print_table([as_record(sighting(["u"], client="[/x]", method="[link=http://a.example]G"))])
    shown = capsys.readouterr().out
    assert ("┃" in shown) == (library == "rich")
    assert "[/x]" in shown
    assert "[link=http://a.example]G" in shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1e300, "9999-12-31T00:00:00.000Z"), (-1e300, "0001-01-01T00:00:00.000Z"),
     (0.0, "1970-01-01T00:00:00.000Z")],
)  # fmt: skip
def test_any_time_can_be_shown(seconds: float, text: str) -> None:
    assert moment(seconds) == text
