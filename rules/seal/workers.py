"""Sealing partitions on all cores."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Final

from inkgate.config.processes import end_with_parent
from inkgate.rules.seal.partition import Done, Epoch, Task, seal_partition

# Below this, starting processes costs more than they save.
_WORTH_PROCESSES: Final = 1000


def seal_partitions(
    epoch: Epoch, tasks: Sequence[tuple[Task, int]], advance: Callable[[int], None]
) -> Done:
    """Seal partitions, in processes if there are many records.

    Args:
        tasks: each with its number of records.
        advance: told how many records are done.
    """
    cores = min(len(os.sched_getaffinity(0)), len(tasks))
    total = Done()
    if cores < 2 or sum(records for _, records in tasks) < _WORTH_PROCESSES:
        for task, records in tasks:
            total = total.plus(seal_partition(epoch, task))
            advance(records)
        return total
    # Not forked: the progress bar's thread may hold any lock at that moment.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores, mp_context=context, initializer=end_with_parent) as pool:
        futures = {pool.submit(seal_partition, epoch, task): n for task, n in tasks}
        try:
            for future in as_completed(futures):
                total = total.plus(future.result())
                advance(futures[future])
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return total
