"""The first half of a refresh: from the sources that the settings name to the spool."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from inkgate.config.errors import Unreadable
from inkgate.config.progress import Progress
from inkgate.rules.errors import RefreshError
from inkgate.rules.paths import RulesPaths
from inkgate.rules.refresh.collect import Collector, read_allow_list
from inkgate.rules.select.false_positives import FalsePositives
from inkgate.rules.select.judge import Judge, refusal_of
from inkgate.rules.select.network_budget import NetworkBudget
from inkgate.rules.select.report import Report
from inkgate.rules.select.selection import Selection
from inkgate.rules.select.spool import Spool
from inkgate.rules.select.warninglists import WarningLists, packaged_lists
from inkgate.rules.settings import RulesSettings, SelectSettings
from inkgate.rules.sources.last_good import LastGood
from inkgate.rules.sources.registry import open_sources
from inkgate.rules.sources.source import Origin, SourceContext


class Options(NamedTuple):
    """What one refresh does differently.

    Attributes:
        allow_empty: publish even a set without any indicator: it holds canaries only; and
            believe a source that has lost what it had.
        new_epoch: new salt, and so new keys for everything.
        only: read sources of this origin only; of all others their last reading counts.
        full: read all of every source, however fresh its mirror is.
        subscriber: seal for this one, and install nothing here.
        serial: the lowest that a new pack may have.
        accept_older: install here whatever the serial of what was installed before.
    """

    allow_empty: bool = False
    new_epoch: bool = False
    only: Origin | None = None
    full: bool = False
    subscriber: str | None = None
    serial: int = 1
    accept_older: bool = False


def collect(
    config: Path,
    settings: RulesSettings,
    entries: Sequence[str | msgspec.Struct],
    where: RulesPaths,
    select: SelectSettings,
    spool: Spool,
    report: Report,
    progress: Progress,
    options: Options,
) -> list[Unreadable]:
    """Read the sources and spool what becomes rules; what could not be read.

    Args:
        entries: `[rules] sources`, as `read_entries` gives them.

    Raises:
        RefreshError, Unreadable, OSError: there is nothing to read, or no list.
    """
    folder = config.absolute().parent
    copies = LastGood(
        where.publisher / "last-good",
        may_be_empty=options.allow_empty,
        refused_share=settings.refused_share,
        refusal=functools.partial(refusal_of, more_types=frozenset(settings.more_types)),
        full=options.full,
    )
    context = SourceContext(
        folder,
        where.publisher / "sources",
        copies,
        options.full,
        settings.source_seconds,
        options.allow_empty,
        report.remarks.append,
    )
    sources = open_sources(entries, context)
    chosen = [s for s in sources if options.only in (None, s.origin)]
    if not chosen:
        raise RefreshError(f"{config}: [rules] sources names nothing to read from {options.only}")
    # The first time, MISP's warninglists are compiled: that takes longer than all the rest.
    progress.start("warninglists", None)
    selection = Selection(
        select, settings.max_age_days, settings.actions, settings.action, datetime.now(UTC)
    )
    budget = NetworkBudget(selection)
    judge = _judge(settings, selection, configured_false_positives(folder, settings, where, report))
    faults: list[Unreadable] = []
    progress.start("reading", None)
    with Collector(judge, spool, report, progress.advance) as collector, _without_collection():
        for source in sources:
            # A source that is not read this time counts with its last good reading.
            read = source.read if source in chosen else source.remembered
            for attribute in read(faults):
                collector.add(budget.checked(attribute))
            if (fault := budget.fault()) is not None:
                faults.append(fault)
    copies.forget_others()
    copies.flush()
    said = {os.fsencode(fault.path).decode("utf-8", "replace") for fault in faults}
    faults += (f for f in _refused_lists(report, settings.refused_share) if str(f.path) not in said)
    return faults


def _judge(settings: RulesSettings, selection: Selection, false_positives: FalsePositives) -> Judge:
    return Judge(
        selection,
        false_positives,
        settings.message,
        domain_ip_by_domain=settings.domain_ip_by_domain,
        more_types=settings.more_types,
    )


def _refused_lists(report: Report, share: float) -> Iterator[Unreadable]:
    """Lists most of whose values turned out, one by one, to have no canonical form."""
    for name, (read, refused) in sorted(report.lists.items()):
        if refused > read * share:
            yield Unreadable(
                Path(name), None, f"{refused} of {read} values cannot be used",
                "correct it, or its type or format in [[rules.sources]]",
            )  # fmt: skip


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Without Python's cycle collector, which would cost a tenth of the time.

    Attributes are made by the million, and none of them is part of a cycle.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def configured_false_positives(
    folder: Path, settings: RulesSettings, where: RulesPaths, report: Report
) -> FalsePositives:
    """The allow list and the warninglists that the settings name.

    Raises:
        RefreshError, Unreadable: they name one that is not there.
    """
    allowed = read_allow_list((folder / path for path in settings.allow), report)
    lists = None
    if set(settings.warninglists.values()) != {"off"} or "default" not in settings.warninglists:
        given = folder / settings.warninglists_folder if settings.warninglists_folder else None
        source = given or packaged_lists()
        if source is not None:
            lists = WarningLists(source, where.publisher / "warninglists")
            unknown = settings.warninglists.keys() - lists.names - {"default"}
            if unknown:
                raise RefreshError(
                    f"[rules.warninglists] there is no list {', '.join(sorted(unknown))}"
                )
    return FalsePositives(allowed, lists, settings.warninglists)
