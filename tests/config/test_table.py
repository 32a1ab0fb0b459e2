"""Tables with and without the library that draws them, and bars only where they are seen."""

from __future__ import annotations

import io
import sys

import pytest

from inkgate.config.progress import NoProgress, progress_bar
from inkgate.config.table import print_table
from inkgate.config.terminal_bar import TerminalBar

ROWS = [("domain", "3", "[bold]a[/bold]"), ("ip", "12", "")]


def table(monkeypatch: pytest.MonkeyPatch, *, rich: bool) -> None:
    monkeypatch.setattr("inkgate.config.table.is_installed", lambda _: rich)
    print_table(("class", "rules", "note"), ROWS, title="All rules")


def test_without_rich_columns_are_aligned(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table(monkeypatch, rich=False)
    assert capsys.readouterr().out.splitlines() == [
        "All rules",
        "class   rules  note",
        "domain  3      [bold]a[/bold]",
        "ip      12",
    ]


def test_with_rich_the_same_cells_are_drawn(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table(monkeypatch, rich=True)
    shown = capsys.readouterr().out
    cells = [cell.strip() for cell in shown.replace("┃", "│").split("│")]
    assert {"class", "rules", "note", "domain", "3", "[bold]a[/bold]", "ip", "12"} <= set(cells)
    assert "All rules" in shown


def test_without_rows_there_are_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inkgate.config.table.is_installed", lambda _: False)
    print_table(("class", "rules"), [])
    assert capsys.readouterr().out == "class  rules\n"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "quiet", "rich", "expected"),
    [
        (_Terminal, False, True, TerminalBar),
        (_Terminal, False, False, NoProgress),
        (_Terminal, True, True, NoProgress),
        (io.StringIO, False, True, NoProgress),
    ],
)
def test_bar_is_drawn_only_where_it_is_seen(
    monkeypatch: pytest.MonkeyPatch,
    stream: type[io.StringIO],
    *,
    quiet: bool,
    rich: bool,
    expected: type,
) -> None:
    monkeypatch.setattr(sys, "stderr", stream())
    monkeypatch.setattr("inkgate.config.progress.is_installed", lambda _: rich)
    with progress_bar(quiet=quiet) as bar:
        assert isinstance(bar, expected)
        bar.start("reading", 10)
        bar.advance(10)
    assert bool(sys.stderr.getvalue()) == (expected is TerminalBar)  # type: ignore[attr-defined]
