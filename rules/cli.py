"""The command `inkgate-rules`: keygen, refresh, inspect, match."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from pathlib import Path
from typing import ParamSpec, Self

import click
import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from rules.canonical import Refused, Value, canonical_attribute
from rules.errors import PackError
from rules.generation import Generation
from rules.install import open_current
from rules.keys import KeyFileError, make_signing_key, make_token, read_token
from rules.manifest import Manifest
from rules.matcher import Match, Matcher
from rules.refresh import Places, RefreshError, Summary, places, refresh
from rules.settings import RulesSettings, SettingsError, load_section, settings_path
from rules.sources.unreadable import Unreadable

_EXPECTED = (SettingsError, KeyFileError, PackError, RefreshError, Unreadable, OSError)
_ERROR_STATUS = 2
_P = ParamSpec("_P")


class _Settings(msgspec.Struct, frozen=True):
    config: Path
    rules: RulesSettings

    @property
    def places(self) -> Places:
        return places(self.config, self.rules)


def _plain_errors(command: Callable[_P, None]) -> Callable[_P, None]:
    """What an operator can mend is one line; anything else is our fault and has a traceback."""

    @wraps(command)
    def run(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except _EXPECTED as error:
            click.echo(f"inkgate-rules: {error}", err=True)
            sys.exit(_ERROR_STATUS)

    return run


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", metavar="FILE", help="Settings file [/etc/inkgate/inkgate.toml].")
@click.version_option(package_name="inkgate")
@click.pass_context
@_plain_errors
def main(context: click.Context, config: str | None) -> None:
    """Encrypted rules: make keys, refresh from MISP data, inspect, match."""
    path = settings_path(config)
    context.obj = _Settings(path, load_section(path, "rules", RulesSettings))


@main.command()
@click.pass_obj
@_plain_errors
def keygen(settings: _Settings) -> None:
    """Make the token and the publisher's signing key, unless they exist."""
    where = settings.places
    made = make_token(where.token_file)
    click.echo(f"{where.token_file}: {'made' if made else 'kept, it exists'} (token)")
    made = make_signing_key(where.publisher, where.public_key_file)
    click.echo(f"{where.publisher}: {'made' if made else 'kept, it exists'} (signing key)")
    click.echo(f"{where.public_key_file}: public key for subscribers")


@main.command("refresh")
@click.option("--allow-empty", is_flag=True, help="Publish even a set without any rule.")
@click.option("--quiet", "-q", is_flag=True, help="Print problems only.")
@click.pass_obj
@_plain_errors
def refresh_command(settings: _Settings, *, allow_empty: bool, quiet: bool) -> None:
    """Read the sources, seal what is new, publish and install it.

    Exit status: 0 done, 1 done but a source file could not be read (its last good
    version counts), 2 nothing changed because of an error.
    """
    console = Console(stderr=True, quiet=quiet)
    with _Bar(console) as bar:
        summary = refresh(settings.config, settings.rules, bar, allow_empty=allow_empty)
    for fault in summary.unreadable:
        click.echo(f"inkgate-rules: not read: {fault}", err=True)
    for uuid, kind, reason in summary.refused:
        click.echo(f"inkgate-rules: refused: {kind} {uuid or 'without uuid'}: {reason}", err=True)
    if not quiet:
        _print_summary(summary)
    sys.exit(1 if summary.unreadable else 0)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as it is.")
@click.pass_obj
@_plain_errors
def inspect(settings: _Settings, *, as_json: bool) -> None:
    """Print the installed set's manifest and counts."""
    generation = open_current(settings.places.installed, settings.rules.caps)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(generation.manifest), indent=2))
    else:
        _print_manifest(generation)


@main.command()
@click.argument("queries", metavar="TYPE=VALUE…", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a match.")
@click.pass_obj
@_plain_errors
def match(settings: _Settings, queries: tuple[str, ...], *, as_json: bool) -> None:
    """Look up values: url=…, domain=…, ip-dst=…, 'ip-dst|port=198.51.100.7|443'.

    A name is looked up as a proxy would: domain= also finds rules for its parent
    domains. Exit status as grep's: 0 found, 1 nothing found, 2 error.
    """
    where = settings.places
    token = read_token(where.token_file)
    parsed = [_parse_query(query) for query in queries]
    with ExitStack() as stack:
        generation = open_current(where.installed, settings.rules.caps)
        stack.callback(generation.close)
        matcher = Matcher(generation, token)
        found = False
        for query, name, value in parsed:
            for hit in _look_up(matcher, name, value):
                found = True
                click.echo(_match_json(query, hit) if as_json else _match_line(query, hit))
    sys.exit(0 if found else 1)


def _parse_query(query: str) -> tuple[str, str, Value]:
    name, separator, text = query.partition("=")
    if not separator:
        raise RefreshError("a query is TYPE=VALUE, for instance domain=listed.example")
    try:
        return query, name, canonical_attribute(name, text)
    except Refused as refused:
        raise RefreshError(f"{name}: {refused.reason}") from None


def _look_up(matcher: Matcher, name: str, value: Value) -> list[Match]:
    if name == "domain" and value.host is not None:
        return [m for m in matcher.host(value.host).matches if m.indicator_class == "domain"]
    if name == "ip-dst" and value.host is not None:
        return [m for m in matcher.server_address(value.host.value) if m.indicator_class == name]
    if name == "url":
        return [m for m in matcher.url(value.data.decode()) if m.indicator_class == name]
    hit = matcher.look_up(name, value.kind, value.data)
    return [hit] if hit else []


def _match_line(query: str, hit: Match) -> str:
    attributes = "; ".join(
        " ".join(f"{k}={v}" for k, v in attribute.items()) for attribute in hit.message.attributes
    )
    more = f"; and {hit.message.more} more" if hit.message.more else ""
    return f"{query}\t{hit.indicator_class}\t{hit.message.action}\t{attributes}{more}"


def _match_json(query: str, hit: Match) -> str:
    record = {"query": query, "class": hit.indicator_class, "message": hit.message}
    return msgspec.json.encode(record).decode()


class _Bar:
    """A progress bar on a terminal, silence in a pipe."""

    def __init__(self, console: Console) -> None:
        self._bar = Progress(
            TextColumn("deriving"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def start(self, total: int) -> None:
        self._task = self._bar.add_task("derive", total=total)

    def advance(self, count: int) -> None:
        if self._task is not None:
            self._bar.advance(self._task, count)


def _print_summary(summary: Summary) -> None:
    skipped = ", ".join(f"{n} {reason}" for reason, n in sorted(summary.skipped.items()))
    lines = (
        ("read", str(summary.read)),
        ("skipped", f"{sum(summary.skipped.values())}" + (f" ({skipped})" if skipped else "")),
        ("refused", str(len(summary.refused))),
        ("derived", str(summary.derived)),
        ("new", str(summary.new)),
        ("sealed again", str(summary.resealed)),
        ("removed", str(summary.removed)),
        ("rules", str(summary.rules)),
        ("serial", f"{summary.serial}" + ("" if summary.published else " (unchanged)")),
        ("time", f"{summary.seconds:.2f} s"),
    )
    for name, value in lines:
        click.echo(f"{name:>12}  {value}")


def _print_manifest(generation: Generation) -> None:
    manifest: Manifest = generation.manifest
    console = Console()
    for name, value in (
        ("set", manifest.set_id),
        ("serial", manifest.serial),
        ("subscriber", manifest.subscriber),
        ("created", manifest.created),
        ("expires", manifest.expires),
        ("epsilon", manifest.epsilon),
        ("rules", manifest.rule_count()),
        ("generation", generation.folder.name),
    ):
        click.echo(f"{name:>12}  {value}")
    for kind, profile in sorted(manifest.profiles.items()):
        click.echo(f"{kind:>12}  {msgspec.json.encode(profile).decode()}")
    table = Table("class", "rules", "bytes")
    for name, file in sorted(manifest.classes.items()):
        table.add_row(name, str(file.rules), str(file.size))
    console.print(table)


if __name__ == "__main__":
    main()
