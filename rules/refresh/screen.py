"""What `inkgate-rules refresh` shows when it is done."""

from __future__ import annotations

import click
import msgspec

from inkgate.config.printable import printable_json, to_stderr
from inkgate.rules.refresh.refresh import Summary


def print_problems(summary: Summary, *, again: bool) -> None:
    """What an operator should look at, on standard error.

    Args:
        again: also the attributes that were left out by the last refresh already.
    """
    for fault in (*summary.unreadable, *summary.notes):
        _say(f"not read: {fault}")
    for remark in summary.report.remarks:
        _say(f"note: {remark}")
    report = summary.report
    if report.is_unchanged and not again:
        return
    for (outcome, reason), count in sorted(report.counts.items()):
        if outcome == "marked":
            continue
        examples = ", ".join(f"{c.type} {c.place}" for c in report.examples[outcome, reason])
        more = ", …" if count > len(report.examples[outcome, reason]) else ""
        _say(f"{outcome}: {count} ({reason}): {examples}{more}")
    if report.counts:
        _say(f"every case is in {report.path}")


def print_summary(summary: Summary) -> None:
    """What was done, a line a number."""
    report, done = summary.report, summary.done
    skipped = ", ".join(f"{n} {reason}" for reason, n in sorted(report.skipped.items()))
    more = f" ({report.more} of them further values of a line)" if report.more else ""
    lines = (
        ("read", f"{report.read}{more}"),
        ("skipped", f"{report.skipped.total()}" + (f" ({skipped})" if skipped else "")),
        ("refused", str(report.fates["refused"])),
        ("screened", f"{report.fates['screened']} (not sealed: allow list and warninglists)"),
        ("sealed", str(report.fates["sealed"])),
        ("values", f"{report.records + summary.pieces}, {summary.merged} of them merged"),
        *(
            [("unobserved", f"{_of_types(summary.unobserved)}: nothing shows a proxy such values")]
            if summary.unobserved
            else []
        ),
        ("allowed", f"{report.total('allowed')} (allow list)"),
        ("dropped", f"{report.total('dropped')} (warninglists)"),
        ("marked", f"{report.total('marked')} (sealed, but on a warninglist)"),
        ("derived", str(done.derived)),
        ("new", str(done.new)),
        ("sealed again", str(done.resealed)),
        ("removed", str(done.removed)),
        ("rules", f"{summary.rules} ({summary.canaries} of them canaries)"),
        ("serial", f"{summary.serial}" + ("" if summary.published else " (unchanged)")),
        ("time", f"{summary.seconds:.2f} s"),
        *((s.name, f"{s.seconds:.2f} s, {s.cpu:.2f} s of CPU") for s in summary.stages),
    )
    for name, value in lines:
        click.echo(f"{name:>12}  {value}")


def _of_types(counts: dict[str, int]) -> str:
    named = ", ".join(f"{count} {name}" for name, count in counts.items())
    return f"{sum(counts.values())} ({named})"


def print_figures(summary: Summary) -> None:
    """The same for programs, as JSON in one line."""
    click.echo(printable_json(msgspec.json.encode(summary.figures())))


def _say(text: str) -> None:
    to_stderr("inkgate-rules", text)
