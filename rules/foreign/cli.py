"""`inkgate-rules match --foreign` and `inkgate-rules export-foreign`."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, Protocol

import click
import msgspec

from inkgate.config.command import needs
from inkgate.config.printable import printable, printable_json, to_stderr
from inkgate.config.processes import usable_cores
from inkgate.config.progress import progress_bar
from inkgate.rules.crypto.keys import read_token
from inkgate.rules.foreign.batch import pairs, run_plan
from inkgate.rules.foreign.errors import ForeignError, Unread
from inkgate.rules.foreign.export import export_thesis
from inkgate.rules.foreign.observations import Reader
from inkgate.rules.foreign.opening import open_foreign
from inkgate.rules.foreign.plan import ForeignMatch, Observation, Plan, make_plan, statement
from inkgate.rules.foreign.rule import ForeignRules
from inkgate.rules.foreign.thesis_writer import Pbkdf2Cost
from inkgate.rules.foreign.url_versions import VERSIONS
from inkgate.rules.paths import RulesPaths
from inkgate.rules.settings import RulesSettings

_PATH: Final = click.Path(path_type=Path)
_INPUT: Final = click.Path(path_type=Path, allow_dash=True)
_MINUTES: Final = 60.0
ANY: Final = "any"


class CommandSettings(Protocol):
    """What the group `inkgate-rules` hands to its commands."""

    @property
    def config(self) -> Path:
        """The settings file."""

    @property
    def rules(self) -> RulesSettings:
        """Its section [rules]."""

    @property
    def paths(self) -> RulesPaths:
        """That section's paths."""


def or_foreign(command: Callable[..., None]) -> Callable[..., None]:
    """Give `match` the option --foreign, and options that only go with it."""

    @functools.wraps(command)
    def either(
        *,
        foreign: Path | None,
        token_file: Path | None,
        values: Path | None,
        jobs: int | None,
        at_most: float,
        queries: tuple[str, ...],
        as_json: bool,
    ) -> None:
        if foreign is None:
            if token_file or values or jobs or not queries:
                raise click.UsageError(
                    "name TYPE=VALUE; --token-file, --values and --jobs go with --foreign"
                )
            command(queries=queries, as_json=as_json)
            return
        settings: CommandSettings = click.get_current_context().obj
        rules = _open(settings, foreign, token_file)
        unread = Unread()
        seen = _observations(rules, queries, values, unread)
        found = _match(rules, seen, jobs or usable_cores(), at_most, as_json=as_json)
        # As grep: an error beside what was found is an error.
        sys.exit(2 if rules.unread.count or unread.count else 0 if found else 1)

    for option in reversed(
        (
            click.option("--foreign", type=_PATH, help="Match another tool's rules, in batch."),
            click.option("--token-file", type=_PATH, help="Their token, if not token_file's."),
            click.option("--values", type=_INPUT, help="TYPE<TAB>VALUE a line (- for stdin)."),
            click.option("--jobs", type=click.IntRange(1, 1024), help="Processes [all cores]."),
            click.option(
                "--at-most",
                type=click.FloatRange(0, min_open=True),
                default=_MINUTES,
                show_default=True,
                help="Refuse a batch of more minutes.",
            ),
        )
    ):
        either = option(either)
    return either


@click.command("export-foreign")
@click.option("--format", type=click.Choice(["thesis-pbkdf2"]), required=True, help="The format.")
@click.option("--token-file", type=_PATH, help="The partner's token, if not token_file's.")
@click.option(
    "--hash", "hash_name", type=click.Choice(["sha256", "sha384", "sha512"]), default="sha256"
)
@click.option("--iterations", type=click.IntRange(1), default=1000, show_default=True)
@click.option(
    "--ipiterations", type=click.IntRange(1), help="Where a type holds the letters ip [iterations]."
)
@click.option(
    "--url-normalize",
    "version",
    type=click.Choice([ANY, *VERSIONS]),
    default=ANY,
    show_default=True,
    help="The partner's version of url-normalize.",
)
@click.argument("folder", type=_PATH)
@click.pass_obj
@needs("publisher")
def export_foreign(
    settings: CommandSettings,
    /,
    *,
    format: str,  # noqa: A002, ARG001 (the option's name; there is one format so far)
    token_file: Path | None,
    hash_name: str,
    iterations: int,
    ipiterations: int | None,
    version: str,
    folder: Path,
) -> None:
    """Seal the sources for a partner who uses Jacquet's thesis code, into a new FOLDER.

    Exit status: 0 done, 1 done but a source could not be read, 2 error.
    """
    cost = Pbkdf2Cost(hash_name, iterations, ipiterations or iterations)
    token = read_token(token_file or settings.paths.token_file)
    versions = tuple(VERSIONS) if version == ANY else (version,)
    with progress_bar(quiet=False) as bar:
        writer, report, faults = export_thesis(
            settings.config, settings.rules, settings.paths, folder, token, cost, bar, versions
        )
    for fault in faults:
        _say(f"not read: {fault}")
    for (outcome, reason), count in sorted(report.counts.items()):
        _say(f"{outcome}: {count} ({reason})")
    for reason, count in sorted((writer.left_out + report.skipped).items()):
        _say(f"left out: {count} ({reason})")
    for name, count in sorted(writer.written.items()):
        click.echo(f"{count:>9}  {name}")
    click.echo(f"{writer.written.total():>9}  rules in {folder}")
    sys.exit(1 if faults else 0)


def _open(settings: CommandSettings, where: Path, token_file: Path | None) -> ForeignRules:
    rules = open_foreign(
        where,
        # Theirs: however weak it is, nothing else opens their rules.
        lambda: read_token(token_file or settings.paths.token_file, is_judged=token_file is None),
        settings.rules.caps,
    )
    if rules.ignored:
        _say(f"not rules, ignored: {', '.join(rules.ignored[:5])}")
    _say_unread(rules.unread)
    return rules


def _say_unread(unread: Unread) -> None:
    for error in unread.first:
        _say(f"not read: {error}")
    more = unread.count - len(unread.first)
    if more:
        _say(f"not read: {more:,} more")


def _observations(
    rules: ForeignRules, queries: Sequence[str], values: Path | None, unread: Unread
) -> list[Observation]:
    read = Reader(frozenset(name for rule in rules.rules for name in rule.attributes), unread)
    observations = list(read.arguments(queries))
    if values is not None or not queries:
        observations += read.file(values or Path("-"))
    _say_unread(unread)
    return observations


def _match(
    rules: ForeignRules,
    observations: Sequence[Observation],
    jobs: int,
    at_most: float,
    *,
    as_json: bool,
) -> bool:
    plan = make_plan(rules, observations)
    for line in statement(plan, jobs):
        _say(line)
    _check_time(plan, jobs, at_most)
    found = False
    with progress_bar(quiet=False) as bar:
        bar.start("matching", pairs(plan))
        with closing(run_plan(plan, jobs, bar.advance)) as matches:
            for match in matches:
                found = True
                click.echo(_json(match) if as_json else _line(match))
    return found


def _check_time(plan: Plan, jobs: int, at_most: float) -> None:
    minutes = plan.seconds / jobs / 60
    if minutes > at_most:
        raise ForeignError(
            plan.foreign.where,
            None,
            f"this batch would take about {minutes:,.0f} minutes, above {at_most:g}",
            "give fewer values, more --jobs, or a larger --at-most",
        )


def _line(match: ForeignMatch) -> str:
    kind = "|".join(match.attributes) or "any"
    message = match.message if match.certain else "may be listed (Bloom filter)"
    return "\t".join(map(printable, (match.query, kind, message)))


def _json(match: ForeignMatch) -> str:
    record: dict[str, Any] = {
        "query": match.query.encode(errors="backslashreplace").decode(),
        "class": "|".join(match.attributes),
        "message": match.message,
        "certain": match.certain,
        "rule": match.place,
    }
    return printable_json(msgspec.json.encode(record))


def _say(text: str) -> None:
    to_stderr("inkgate-rules", text)
