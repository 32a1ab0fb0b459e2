"""A plan run on all cores. Matches come in the order of the plan."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Final, NamedTuple

from inkgate.config.processes import Workers, processes_for
from inkgate.rules.foreign.plan import ForeignMatch, Plan, RuleGroup, try_password
from inkgate.rules.foreign.rule import SealedRule

_BLOCK_SECONDS: Final = 0.25
# In seconds. For less work, starting processes takes longer than it saves.
_WORTH_PROCESSES: Final = 2.0

Opened = tuple[int, int, str]
# Of each group.
Rules = tuple[tuple[SealedRule, ...], ...]


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
    processes = processes_for(jobs, plan.seconds, _WORTH_PROCESSES)
    with Workers(processes, _trying, rules) as workers:
        for block, opened in workers.results((block, block) for block in _blocks(plan.groups)):
            advance(block.size)
            yield from _matches(plan, block, opened)


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


def _matches(plan: Plan, block: TrialBlock, opened: list[Opened]) -> Iterator[ForeignMatch]:
    group = plan.groups[block.group]
    for rule, password, message in opened:
        for owner in group.owners[block.passwords[password]]:
            yield ForeignMatch(
                plan.observations[owner].query,
                group.attributes,
                message,
                certain=True,
                place=group.rules[rule].place,
            )


def _trying(rules: Rules) -> AbstractContextManager[Callable[[TrialBlock], list[Opened]]]:
    return nullcontext(partial(_try, rules))


def _try(rules: Rules, block: TrialBlock) -> list[Opened]:
    found: list[Opened] = []
    for p, password in enumerate(block.passwords):
        for r in range(block.first_rule, block.last_rule):
            message = try_password(rules[block.group][r], password)
            if message is not None:
                found.append((r, p, message))
    return found
