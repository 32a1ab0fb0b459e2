"""From the sources to the spool, on all cores when there are many attributes.

Attributes are judged in batches: the first ones in this process, later ones in others.
Results are taken in the order of the attributes, so a spool is the same with any number of
processes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from inkgate.config.processes import Workers, processes_for, result_of, usable_cores
from inkgate.rules.canonical import Refused, Value, canonical_attribute
from inkgate.rules.select.false_positives import AllowList
from inkgate.rules.select.judge import Judge, Judged
from inkgate.rules.select.report import Report, case_of
from inkgate.rules.select.spool import Spool
from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.readers.list_file import read_list
from inkgate.rules.sources.readers.source_file import SourceFile

_BATCH: Final = 1000
# Up to so many attributes, starting processes costs more than they save.
_WORTH_PROCESSES: Final = 10_000
_AHEAD_EACH: Final = 8

_ENCODER = msgspec.msgpack.Encoder()
_ATTRIBUTES = msgspec.msgpack.Decoder(list[Attribute])
_JUDGED = msgspec.msgpack.Decoder(Judged)


class Collector:
    """Takes attributes, has them judged, and spools their records.

    Args:
        judge: decides on them.
        advance: told how many attributes are done.
    """

    def __init__(
        self, judge: Judge, spool: Spool, report: Report, advance: Callable[[int], None]
    ) -> None:
        self._judge = judge
        self._spool = spool
        self._report = report
        self._advance = advance
        self._batch: list[Attribute] = []
        self._given = 0
        self._cores = usable_cores()
        self._stack = ExitStack()
        self._workers: Workers[bytes, bytes] | None = None
        self._under_way: deque[Future[bytes]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            self._finish()

    def add(self, attribute: Attribute) -> None:
        """Take in one attribute."""
        self._batch.append(attribute)
        if len(self._batch) == _BATCH:
            self._hand_over()

    def _hand_over(self) -> None:
        batch, self._batch = self._batch, []
        self._given += len(batch)
        processes = processes_for(self._cores, self._given, _WORTH_PROCESSES + 1)
        if not processes:
            self._take(self._judge.judge(batch))
            return
        if self._workers is None:
            self._workers = self._stack.enter_context(Workers(processes, _judging, self._judge))
        self._under_way.append(self._workers.submit(_ENCODER.encode(batch)))
        if len(self._under_way) >= self._cores * _AHEAD_EACH:
            self._take_first()

    def _finish(self) -> None:
        if self._batch:
            self._hand_over()
        while self._under_way:
            self._take_first()

    def _take_first(self) -> None:
        self._take(_JUDGED.decode(result_of(self._under_way.popleft())))

    def _take(self, judged: Judged) -> None:
        self._report.read += judged.read
        self._report.more += judged.more
        self._report.records += judged.records
        self._report.fates.update(judged.fates)
        for name, (read, refused) in judged.lists.items():
            before = self._report.lists.get(name, (0, 0))
            self._report.lists[name] = before[0] + read, before[1] + refused
        self._report.skipped.update(judged.skipped)
        for case in judged.cases:
            self._report.add(case)
        self._spool.take(judged.portions)
        self._advance(judged.read)


def _judging(judge: Judge) -> AbstractContextManager[Callable[[bytes], bytes]]:
    return nullcontext(partial(_judged, judge))


def _judged(judge: Judge, data: bytes) -> bytes:
    return _ENCODER.encode(judge.judge(_ATTRIBUTES.decode(data)))


def read_allow_list(paths: Iterable[Path], report: Report) -> AllowList:
    """The operator's allow list: plain lists of what must never be blocked.

    Raises:
        Unreadable: one of the files; sealing without it could block what it allows.
    """
    entries = []
    for path in paths:
        for attribute in read_list(SourceFile(path)):
            if not attribute.skipped:
                try:
                    entries.append(_allowed(attribute))
                except Refused as refused:
                    report.add(case_of("refused", attribute, f"allow list: {refused.reason}"))
    return AllowList(entries)


def _allowed(attribute: Attribute) -> Value:
    if attribute.refused:
        raise Refused(attribute.refused)
    return canonical_attribute(attribute.type, attribute.value)
