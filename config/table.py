"""Tables for people, whatever the cells hold: names and messages come from the network."""

from __future__ import annotations

from collections.abc import Sequence

import click

from inkgate.config.extras import is_installed
from inkgate.config.printable import printable

_BETWEEN = "  "


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    title: str = "",
    soft_wrap: bool = False,
) -> None:
    """Print rows below their columns' names, drawn by rich or, without it, in plain columns.

    Args:
        columns: their names.
        rows: each has a cell a column.
        title: of the table.
        soft_wrap: leave it to the terminal to break cells that are too long.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    if is_installed("rich"):
        _print_rich(columns, rows, title, soft_wrap=soft_wrap)
        return
    if title:
        click.echo(title)
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        line = _BETWEEN.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())


def _print_rich(
    columns: Sequence[str], rows: Sequence[Sequence[str]], title: str, *, soft_wrap: bool
) -> None:
    # Imported here: it takes a while, and a proxy does not have it.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(*columns, title=title or None)
    for row in rows:
        # Not strings: those may hold markup.
        table.add_row(*map(Text, row))
    Console(soft_wrap=soft_wrap).print(table)
