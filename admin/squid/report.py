"""What a check found: printed, and kept for `inkgate status`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import click
import msgspec

from inkgate.config.printable import printable, printable_json
from inkgate.health.log import dated_log
from inkgate.squid_conf.check_result import (
    CheckLevel,
    CheckResult,
    check_result_file,
    write_check_result,
)
from inkgate.squid_conf.finding import Finding, exit_status

_LEVELS: Final[tuple[CheckLevel, ...]] = ("ok", "warning", "critical")


class Report(msgspec.Struct, frozen=True):
    """What `--json` prints.

    Attributes:
        status: the level of all findings together.
        findings: each with its level, what is wrong and what to change.
    """

    status: CheckLevel
    findings: Sequence[Finding]


def show(findings: Sequence[Finding], *, as_json: bool = False) -> None:
    """Print findings, the worst first, each on one line."""
    worst_first = _worst_first(findings)
    if as_json:
        report = Report(_LEVELS[exit_status(findings)], worst_first)
        named = msgspec.to_builtins(report)
        named["findings"] = [finding._asdict() for finding in worst_first]
        click.echo(printable_json(msgspec.json.format(msgspec.json.encode(named), indent=2)))
        return
    for finding in worst_first:
        line = f"{finding.level.upper():9} {finding.fault} -> {finding.remedy}"
        click.echo(printable(line))
    if not exit_status(findings):
        click.echo("OK        what is listed is refused before a server is asked, the rest passes")


def _worst_first(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: -exit_status([finding]))


def keep(config: Path, findings: Sequence[Finding]) -> list[Finding]:
    """Write the result for `inkgate status`; what hindered that is a finding, too.

    What is critical is also said in the log (standard error), with its date.

    Raises:
        SettingsError: the settings do not say where.
    """
    texts = tuple(
        printable(f"{finding.fault}; {finding.remedy}")
        for finding in _worst_first(findings)
        if finding.level != "note"
    )
    critical = [finding.fault for finding in findings if finding.level == "critical"]
    if critical:
        # Counted nowhere: root writes nothing into the counters' folder, which is Squid's
        # user's. The result's file has the date and all findings.
        dated_log("inkgate")(f"critical: canary: {critical[0]} ({len(critical)} findings)")
    file = check_result_file(config)
    try:
        write_check_result(
            file, CheckResult(time.time(), _LEVELS[exit_status(findings)], texts[:100])
        )
    except OSError as error:
        fault = f"{file}: {error.strerror}: inkgate status cannot show this result"
        return [Finding("warning", fault, "run the check as root")]
    return []
