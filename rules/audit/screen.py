"""The audit as tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import click

from inkgate.config.printable import printable
from inkgate.config.table import print_table
from inkgate.rules.audit.brute_force import Attack
from inkgate.rules.audit.durations import duration
from inkgate.rules.audit.findings import Audit, Finding


def print_audit(found: Audit) -> None:
    """All findings, with what they mean."""
    print_table(
        (
            "candidates",
            "profile",
            "attacker",
            "guesses/s",
            "all, one salt a set",
            "all, a salt a rule",
            "one rule, a salt a rule",
        ),
        [row for finding in found.findings for row in _rows(finding)],
        title="Time to try all candidates, for who has rules and token",
    )
    for line in statements(found):
        click.echo(line)
    click.echo("Sources of the figures:")
    for source in found.sources:
        click.echo(f"  {source}")


def statements(found: Audit) -> Iterator[str]:
    """What the numbers mean, and what the gates give away."""
    for finding in found.findings:
        each_salted = duration(finding.cpu_seconds * finding.rules)
        yield (
            f"{finding.kind}: one derivation costs {duration(finding.cpu_seconds)} of a core here "
            f"({duration(finding.wall_seconds)} by the clock now); {finding.rules:,} rules. With "
            f"a salt a rule, each look-up would cost {each_salted}."
        )
    slowest = min(a.years_without_token for f in found.findings for a in f.attackers)
    yield (
        f"Without the token: its 128 bits or more must be guessed first, {slowest:.0e} years for "
        "the fastest device above. Gates and tags say nothing until then."
    )
    if not found.gates:
        yield "There are no gates: they give nothing away, and every URL costs a derivation."
    for gate in found.gates:
        yield (
            f"Gate {gate.level}: {gate.passing:.2%} of unlisted values pass (epsilon "
            f"{found.epsilon:g}); each answer costs a derivation. Of all registered domains that "
            f"pass, {gate.listed_if_passed:.2g} are listed here; the rest is noise. Who is "
            "stopped is surely not listed."
        )
    for finding in found.findings:
        if finding.kind == "url" and found.gates:
            fastest = min(finding.attackers, key=lambda a: a.gated)
            yield (
                "The gates spare an attacker the URLs of hosts that do not pass: "
                f"{finding.population} takes {duration(fastest.gated)} instead of "
                f"{duration(fastest.seconds)} on {fastest.device}, besides one derivation "
                "for each host."
            )


def print_attack(made: Attack, predicted: float, *, show: bool) -> None:
    """What a real attack found, and how well its time was predicted."""
    tested = sum(made.tested.values())
    click.echo(
        f"Tried {tested:,} guesses: {sum(made.recovered.values()):,} rules recovered "
        f"({_counts(made.recovered.items()) or 'none'}) in {duration(made.wall)}, "
        f"{duration(made.cpu)} of the processor; predicted {duration(predicted)} "
        f"({made.cpu / predicted if predicted else 0:.2f} times)."
    )
    for name, text in made.values if show else ():
        click.echo(f"  {name}\t{printable(text)}")


def _rows(finding: Finding) -> Iterator[tuple[str, ...]]:
    for number, attacker in enumerate(finding.attackers):
        yield (
            finding.population if number == 0 else "",
            f"{finding.kind}: {finding.profile}" if number == 0 else "",
            attacker.device,
            f"{attacker.guesses_per_second:,.0f}",
            duration(attacker.seconds),
            duration(attacker.per_rule_sweep),
            duration(attacker.per_rule_one),
        )


def _counts(items: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(items))
