"""A plan run on all cores. Matches come in the order of the plan."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from typing import Final, NamedTuple

from inkgate.config.processes import end_with_parent
from inkgate.rules.foreign.plan import ForeignMatch, Plan, RuleGroup, try_password
from inkgate.rules.foreign.rule import SealedRule

_BLOCK_SECONDS: Final = 0.25
# In seconds. For less work, starting processes takes longer than it saves.
_WORTH_PROCESSES: Final = 2.0
_BLOCKS_PER_PROCESS: Final = 4

Opened = tuple[int, int, str]


class TrialBlock(NamedTuple):
    """Some rules of a group, and some passwords to try on each."""

    group: int
    first_rule: int
    last_rule: int
    passwords: tuple[bytes, ...]

    @property
    def size(self) -> int:
        """Pairs of rule and password."""
        return (self.last_rule - self.first_rule) * len(self.passwords)


def run_plan(
    plan: Plan, jobs: int, advance: Callable[[int], None]
) -> Generator[ForeignMatch, None, None]:
    """All matches.

    Args:
        jobs: processes; small batches need none.
        advance: called with the number of pairs of rule and value that are done.
    """
    yield from plan.listed
    rules = tuple(tuple(group.rules) for group in plan.groups)
    with ExitStack() as stack:
        submit = _submitter(rules, jobs, stack, worth=plan.seconds > _WORTH_PROCESSES)
        waiting: deque[tuple[TrialBlock, Future[list[Opened]]]] = deque()
        for block in _blocks(plan.groups):
            waiting.append((block, submit(block)))
            if len(waiting) > jobs * _BLOCKS_PER_PROCESS:
                yield from _finished(plan, *waiting.popleft(), advance)
        while waiting:
            yield from _finished(plan, *waiting.popleft(), advance)


def pairs(plan: Plan) -> int:
    """Steps of the progress bar."""
    return sum(len(group.rules) * len(group.owners) for group in plan.groups)


def _blocks(groups: list[RuleGroup]) -> Iterator[TrialBlock]:
    for number, group in enumerate(groups):
        most = max(1, int(_BLOCK_SECONDS / (group.seconds or 1)))
        rules = min(len(group.rules), most)
        width = max(1, most // rules)
        passwords = tuple(group.owners)
        for start in range(0, len(passwords), width):
            for first in range(0, len(group.rules), rules):
                last = min(first + rules, len(group.rules))
                yield TrialBlock(number, first, last, passwords[start : start + width])


def _submitter(
    rules: tuple[tuple[SealedRule, ...], ...], jobs: int, stack: ExitStack, *, worth: bool
) -> Callable[[TrialBlock], Future[list[Opened]]]:
    if jobs < 2 or not worth:

        def here(block: TrialBlock) -> Future[list[Opened]]:
            done: Future[list[Opened]] = Future()
            done.set_result(_try(rules, block))
            return done

        return here
    pool = ProcessPoolExecutor(
        jobs,
        # Not by fork: the progress bar's thread may hold a lock, which stays locked for
        # ever in a forked process.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(rules,),
    )
    stack.callback(pool.shutdown, cancel_futures=True)
    return lambda block: pool.submit(_try_in_worker, block)


def _finished(
    plan: Plan, block: TrialBlock, future: Future[list[Opened]], advance: Callable[[int], None]
) -> Iterator[ForeignMatch]:
    group = plan.groups[block.group]
    results = future.result()
    advance(block.size)
    for rule, password, message in results:
        for owner in group.owners[block.passwords[password]]:
            yield ForeignMatch(
                plan.observations[owner].query,
                group.attributes,
                message,
                certain=True,
                place=group.rules[rule].place,
            )


def _try(rules: tuple[tuple[SealedRule, ...], ...], block: TrialBlock) -> list[Opened]:
    found: list[Opened] = []
    for p, password in enumerate(block.passwords):
        for r in range(block.first_rule, block.last_rule):
            message = try_password(rules[block.group][r], password)
            if message is not None:
                found.append((r, p, message))
    return found


# The rules of this worker process, given when it starts.
_rules: tuple[tuple[SealedRule, ...], ...] = ()


def _start_worker(rules: tuple[tuple[SealedRule, ...], ...]) -> None:
    global _rules  # noqa: PLW0603 (the rules are sent once per process, not once per block)
    _rules = rules
    # Ctrl-C in a terminal sends SIGINT to all processes of the command. The parent
    # process decides when its workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def _try_in_worker(block: TrialBlock) -> list[Opened]:
    return _try(_rules, block)
