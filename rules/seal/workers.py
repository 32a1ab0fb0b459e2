"""Sealing partitions on all cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Final

from inkgate.config.processes import Workers, processes_for, usable_cores
from inkgate.rules.seal.partition import Epoch, SealCounts, Task, seal_partition

# Below so many records, starting processes costs more than they save.
_WORTH_PROCESSES: Final = 1000


def seal_partitions(
    epoch: Epoch, tasks: Sequence[tuple[Task, int]], advance: Callable[[int], None]
) -> SealCounts:
    """Seal partitions, in processes if there are many records.

    Args:
        tasks: each with its number of records.
        advance: told how many records are done.
    """
    total = SealCounts()
    jobs = min(usable_cores(), len(tasks))
    records = sum(count for _, count in tasks)
    with Workers(processes_for(jobs, records, _WORTH_PROCESSES), _sealing, epoch) as workers:
        for count, done in workers.results((count, task) for task, count in tasks):
            total = total.plus(done)
            advance(count)
    return total


def _sealing(epoch: Epoch) -> AbstractContextManager[Callable[[Task], SealCounts]]:
    return nullcontext(partial(seal_partition, epoch))
