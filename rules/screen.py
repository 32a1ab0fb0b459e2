"""What `inkgate-rules refresh` shows: progress while it runs, then what it did."""

from __future__ import annotations

from typing import Self

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from inkgate.rules.refresh import Summary


class _Rate(ProgressColumn):
    """Steps a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "")


class Bar:
    """A progress bar on a terminal, silence in a pipe."""

    def __init__(self, *, quiet: bool) -> None:
        console = Console(stderr=True, quiet=quiet)
        self._bar = Progress(
            TextColumn("{task.description:>10}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=quiet or not console.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def start(self, stage: str, total: int | None) -> None:
        """A stage begins."""
        self._finish()
        self._task = self._bar.add_task(stage, total=total)

    def advance(self, count: int) -> None:
        """So many steps of it are done."""
        if self._task is not None:
            self._bar.advance(self._task, count)

    def _finish(self) -> None:
        if self._task is not None:
            task = self._bar.tasks[-1]
            self._bar.update(self._task, total=task.completed)


def print_problems(summary: Summary) -> None:
    """What an operator should look at, on standard error."""
    for fault in summary.unreadable:
        click.echo(f"inkgate-rules: not read: {fault}", err=True)
    report = summary.report
    for (outcome, reason), count in sorted(report.counts.items()):
        if outcome == "marked":
            continue
        examples = ", ".join(f"{c.type} {c.place}" for c in report.examples[outcome, reason])
        more = ", …" if count > len(report.examples[outcome, reason]) else ""
        click.echo(f"inkgate-rules: {outcome}: {count} ({reason}): {examples}{more}", err=True)
    if report.counts:
        click.echo(f"inkgate-rules: every case is in {report.path}", err=True)


def print_summary(summary: Summary) -> None:
    """What was done, a line a number."""
    report, done = summary.report, summary.done
    skipped = ", ".join(f"{n} {reason}" for reason, n in sorted(report.skipped.items()))
    lines = (
        ("read", str(report.read)),
        ("skipped", f"{report.skipped.total()}" + (f" ({skipped})" if skipped else "")),
        ("refused", str(report.total("refused"))),
        ("allowed", f"{report.total('allowed')} (not sealed: allow list)"),
        ("dropped", f"{report.total('dropped')} (not sealed: warninglists)"),
        ("marked", f"{report.total('marked')} (sealed, but on a warninglist)"),
        ("derived", str(done.derived)),
        ("new", str(done.new)),
        ("sealed again", str(done.resealed)),
        ("removed", str(done.removed)),
        ("rules", str(summary.rules)),
        ("serial", f"{summary.serial}" + ("" if summary.published else " (unchanged)")),
        ("time", f"{summary.seconds:.2f} s"),
        *((s.name, f"{s.seconds:.2f} s, {s.cpu:.2f} s of CPU") for s in summary.stages),
    )
    for name, value in lines:
        click.echo(f"{name:>12}  {value}")
