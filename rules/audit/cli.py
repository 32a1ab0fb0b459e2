"""`inkgate-rules audit` and `inkgate-rules calibrate`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import msgspec

from inkgate.config.printable import printable_json
from inkgate.config.table import print_table
from inkgate.rules.audit.brute_force import Attack, Guess, LastOnly, addresses, attack, words
from inkgate.rules.audit.costs import describe, measure
from inkgate.rules.audit.durations import duration, parse_duration
from inkgate.rules.audit.figures import Figures, load_figures
from inkgate.rules.audit.findings import as_json, audit
from inkgate.rules.audit.ladder import Rung, best, fastest, ladder
from inkgate.rules.audit.plot import check_plot, draw
from inkgate.rules.audit.screen import print_attack, print_audit
from inkgate.rules.audit.traffic import Traffic, traffic_of
from inkgate.rules.crypto.keys import read_token
from inkgate.rules.foreign.cli import CommandSettings
from inkgate.rules.install.generation import Generation
from inkgate.rules.install.install import open_current
from inkgate.rules.lookup.matcher import Matcher
from inkgate.rules.settings import RulesSettings

_LONGEST_RUNG = 0.03
_KINDS = ("name", "url", "text", "ip")


@click.command("audit")
@click.option("--json", "as_json_", is_flag=True, help="Everything as one JSON object.")
@click.option("--plot", type=click.Path(path_type=Path), help="Draw to a .svg or .png.")
@click.option("--range", "ranges", multiple=True, metavar="NET", help="Really try a network.")
@click.option(
    "--wordlist",
    "wordlists",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Really try a file's names, URLs, addresses and digests.",
)
@click.option("--limit", default=100_000, show_default=True, help="Most guesses of each.")
@click.option("--show", is_flag=True, help="Print what was recovered, in clear.")
@click.pass_obj
def audit_command(
    settings: CommandSettings,
    /,
    *,
    as_json_: bool,
    plot: Path | None,
    ranges: tuple[str, ...],
    wordlists: tuple[Path, ...],
    limit: int,
    show: bool,
) -> None:
    """What the installed rules resist: the cost of guessing, and a real attack if asked for.

    Exit status: 0 done, 2 error. What is recovered is counted, and named with --show only.
    """
    if plot is not None:
        check_plot(plot)
    where, figures = settings.paths, load_figures()
    with closing(open_current(where.installed, settings.rules.caps)) as generation:
        matcher = Matcher(generation, read_token(where.token_file), LastOnly)
        found = audit(generation, figures)
        costs = _costs(generation) if ranges or wordlists else {}
        made = _attacked(matcher, ranges, wordlists, limit)
        if plot is not None:
            rungs = ladder(settings.rules.caps, _LONGEST_RUNG)
            draw(plot, rungs, list(_today(generation, figures)), figures)
    predicted = sum(n * costs[kind] for kind, n in made.tested.items()) if made else 0.0
    if as_json_:
        attacked = made and _attack_json(made, predicted, show=show)
        click.echo(printable_json(as_json(found, attack=attacked)))
        return
    print_audit(found)
    if made:
        print_attack(made, predicted, show=show)


@click.command("calibrate")
@click.option("--budget", required=True, help="Time for a new name, for instance 2ms.")
@click.option("--log", type=click.Path(), help="A log of the proxy's traffic.")
@click.option("--json", "as_json_", is_flag=True, help="One JSON object.")
@click.pass_obj
def calibrate_command(
    settings: CommandSettings, /, *, budget: str, log: str | None, as_json_: bool
) -> None:
    """Propose KDF profiles for this machine and traffic, and say what they buy."""
    try:
        seconds = parse_duration(budget)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--budget") from None
    figures = load_figures()
    rungs = ladder(settings.rules.caps, seconds)
    # A new name costs a derivation, and one more when it passes the gate by chance.
    each = seconds / (1 + settings.rules.epsilon)
    chosen = best(rungs, each, figures)
    if chosen is None:
        raise click.UsageError(
            f"no profile is that cheap here: the cheapest takes "
            f"{duration(min(rung.cost.cpu for rung in rungs))}"
        )
    traffic = traffic_of(log) if log else None
    if as_json_:
        click.echo(printable_json(_calibration_json(rungs, chosen, traffic, figures)))
    else:
        _print_calibration(settings.rules, rungs, chosen, traffic, figures)


def _attacked(
    matcher: Matcher, ranges: tuple[str, ...], wordlists: tuple[Path, ...], limit: int
) -> Attack | None:
    if not ranges and not wordlists:
        return None
    lengths = matcher.generation.manifest.prefixes
    # All checked before anything is tried.
    sources: list[Iterator[Guess]] = [
        addresses(text, lengths.get("6" if ":" in text else "4", ()), limit) for text in ranges
    ]
    sources += [words(path, limit) for path in wordlists]
    return attack(matcher, itertools.chain.from_iterable(sources))


def _costs(generation: Generation) -> dict[str, float]:
    """Seconds of the processor for a guess of each kind."""
    return {kind: measure(p).cpu for kind, p in generation.manifest.profiles.items()}


def _attack_json(made: Attack, predicted: float, *, show: bool) -> dict[str, Any]:
    return {
        "tested": sum(made.tested.values()),
        "recovered": made.recovered,
        "seconds": made.wall,
        "cpu_seconds": made.cpu,
        "predicted_seconds": predicted,
        **({"values": made.values} if show else {}),
    }


def _today(generation: Generation, figures: Figures) -> Iterator[tuple[str, Rung]]:
    profiles = generation.manifest.profiles
    for population in figures.populations:
        profile = profiles[population.kind]
        # What has no published speed has no place in the picture.
        if fastest(profile, figures) < float("inf"):
            yield population.kind, Rung(profile, measure(profile))


def _calibration_json(
    rungs: list[Rung], chosen: Rung, traffic: Traffic | None, figures: Figures
) -> bytes:
    table = [
        {
            "profile": rung.profile,
            "cpu_seconds": rung.cost.cpu,
            "attacker_guesses_per_second": fastest(rung.profile, figures),
            "attacker_seconds": {
                p.name: p.count / fastest(rung.profile, figures) for p in figures.populations
            },
        }
        for rung in rungs
    ]
    record = {
        "proposed": dict.fromkeys(_KINDS, chosen.profile),
        "ladder": table,
        "traffic": traffic and {**traffic._asdict(), "new": traffic.new},
    }
    return msgspec.json.format(msgspec.json.encode(record), indent=1)


def _print_calibration(
    rules: RulesSettings,
    rungs: list[Rung],
    chosen: Rung,
    traffic: Traffic | None,
    figures: Figures,
) -> None:
    names = [p.name for p in figures.populations]
    rows = []
    for rung in rungs:
        rate = fastest(rung.profile, figures)
        rows.append(
            (
                "->" if rung is chosen else "",
                describe(rung.profile),
                duration(rung.cost.cpu),
                f"{1 / rung.cost.cpu:,.0f}",
                *(duration(p.count / rate) for p in figures.populations),
            )
        )
    print_table(("", "profile", "here", "new names/s a core", *names), rows)
    click.echo(
        "The columns to the right: how long the fastest single device of the audit's table "
        "takes to try them all, with the token."
    )
    if traffic is not None:
        each = chosen.cost.cpu * (1 + rules.epsilon) * traffic.new
        click.echo(
            f"In this log {traffic.hosts:,} of {traffic.requests:,} requests went to a new host "
            f"({traffic.new:.2%}): a request waits {duration(each)} on average, and a core "
            f"serves {1 / each if each else float('inf'):,.0f} requests a second of such traffic."
        )
    click.echo("For inkgate.toml, in [rules] (a change makes a new epoch):")
    table_text = _toml(chosen)
    click.echo("profiles = { " + ", ".join(f"{kind} = {table_text}" for kind in _KINDS) + " }")


def _toml(rung: Rung) -> str:
    fields = msgspec.to_builtins(rung.profile)
    return "{ " + ", ".join(f"{k} = {_quoted(v)}" for k, v in fields.items()) + " }"


def _quoted(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
