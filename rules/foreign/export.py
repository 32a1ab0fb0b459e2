"""From the sources to a partner's rule folder: read, select, screen, seal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from inkgate.config.errors import Unreadable
from inkgate.config.progress import Progress
from inkgate.rules.canonical import Refused
from inkgate.rules.errors import RefreshError
from inkgate.rules.foreign.thesis_writer import Pbkdf2Cost, ThesisWriter
from inkgate.rules.foreign.url_versions import VERSIONS
from inkgate.rules.paths import PUBLISHER_MODE, RulesPaths, writer_lock
from inkgate.rules.refresh.reading import configured_false_positives
from inkgate.rules.select.false_positives import FalsePositives
from inkgate.rules.select.indicators import indicators_of
from inkgate.rules.select.report import Report, case_of
from inkgate.rules.select.selection import Selection
from inkgate.rules.settings import RulesSettings
from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.last_good import LastGood
from inkgate.rules.sources.registry import open_sources, read_entries
from inkgate.rules.sources.source import SourceContext

REPORT: Final = "last-export.tsv"
_TICK: Final = 1000


def export_thesis(
    config: Path,
    settings: RulesSettings,
    where: RulesPaths,
    folder: Path,
    token: bytes,
    cost: Pbkdf2Cost,
    progress: Progress,
    versions: Sequence[str] = tuple(VERSIONS),
) -> tuple[ThesisWriter, Report, list[Unreadable]]:
    """Seal what a refresh would seal, in the thesis's pbkdf2 format.

    Args:
        versions: of url-normalize that the partner may have.

    Raises:
        RefreshError: there are no sources, or a refresh is running.
        SettingsError: an entry of the sources is wrong.
        ForeignError: the folder is not empty.
        OSError: it cannot be written.
    """
    if not settings.sources:
        raise RefreshError(f"{config}: [rules] sources is empty; name files or folders to read")
    entries = read_entries(config, settings.sources)
    writer = ThesisWriter(folder, token, cost, _fields(settings), versions)
    report = Report(where.publisher / REPORT)
    faults: list[Unreadable] = []
    base = config.absolute().parent
    with writer_lock(where.publisher, PUBLISHER_MODE):
        selection = Selection(
            settings.select,
            settings.max_age_days,
            settings.actions,
            settings.action,
            datetime.now(UTC),
        )
        screen = configured_false_positives(base, settings, where, report)
        copies = LastGood(where.publisher / "last-good")
        context = SourceContext(
            base, where.publisher / "sources", copies, remark=report.remarks.append
        )
        progress.start("sealing", None)
        try:
            for source in open_sources(entries, context):
                for attribute in source.read(faults):
                    report.read += 1
                    _export(attribute, selection, screen, writer, report)
                    if report.read % _TICK == 0:
                        progress.advance(_TICK)
        finally:
            report.close()
        copies.flush()
        writer.finish()
    return writer, report, faults


def _export(
    attribute: Attribute,
    selection: Selection,
    screen: FalsePositives,
    writer: ThesisWriter,
    report: Report,
) -> None:
    reason = selection.skip_reason(attribute)
    if reason is None and selection.is_over(selection.expires(attribute)):
        reason = "too old"
    if reason is not None:
        report.skipped[reason] += 1
    elif _is_kept(attribute, screen, report):
        writer.add(attribute)


def _is_kept(attribute: Attribute, screen: FalsePositives, report: Report) -> bool:
    kept = True
    try:
        for name, value in indicators_of(attribute, domain_ip_by_domain=False):
            verdict = screen.judge(name, value)
            if verdict is not None:
                report.add(case_of(verdict.outcome, attribute, verdict.reason))
                kept = kept and verdict.outcome == "marked"
    except Refused as refused:
        report.add(case_of("refused", attribute, refused.reason))
        return False
    return kept


def _fields(settings: RulesSettings) -> tuple[str, ...]:
    # The thesis tells fields apart by their position, and has no position for these two.
    return tuple(name for name in settings.message if name not in ("source", "warninglist"))
