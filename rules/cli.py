"""The command `inkgate-rules`: keygen, refresh, inspect, match."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Literal, get_args

import click
import msgspec
from rich.console import Console
from rich.table import Table

from inkgate.config.command import settings_group
from inkgate.config.progress import Bar
from inkgate.config.settings_file import load_section, settings_path
from inkgate.rules.audit.cli import audit_command, calibrate_command
from inkgate.rules.canonical import Refused, Value, canonical_attribute
from inkgate.rules.crypto.kdf import Pbkdf2, Profile
from inkgate.rules.crypto.keys import make_signing_key, make_token, read_public_key, read_token
from inkgate.rules.errors import RefreshError
from inkgate.rules.foreign.cli import export_foreign, or_foreign
from inkgate.rules.install.archive import export_pack, install_archive
from inkgate.rules.install.generation import Generation
from inkgate.rules.install.install import open_current
from inkgate.rules.lookup.matcher import Match, Matcher
from inkgate.rules.match.cli import or_logs
from inkgate.rules.pack.manifest import Manifest
from inkgate.rules.paths import Places, only_one, places
from inkgate.rules.refresh.reading import Options
from inkgate.rules.refresh.refresh import Summary, refresh
from inkgate.rules.refresh.screen import print_problems, print_summary
from inkgate.rules.seal.publish import PACK
from inkgate.rules.settings import RulesSettings
from inkgate.rules.sources.source import Origin

PBKDF2_ITERATIONS = 1000


class _Settings:
    """The settings file; read when a command needs it, so that --help needs none."""

    def __init__(self, config: Path) -> None:
        self.config = config

    @cached_property
    def rules(self) -> RulesSettings:
        return load_section(self.config, "rules", RulesSettings)

    @cached_property
    def places(self) -> Places:
        return places(self.config, self.rules)


@settings_group
def main(context: click.Context, config: str | None) -> None:
    """Encrypted rules: make keys, refresh from MISP data, inspect, match."""
    context.obj = _Settings(settings_path(config))


@main.command()
@click.pass_obj
def keygen(settings: _Settings) -> None:
    """Make the token and the publisher's signing key, unless they exist."""
    where = settings.places
    made = make_token(where.token_file)
    click.echo(f"{where.token_file}: {'made' if made else 'kept, it exists'} (token)")
    made = make_signing_key(where.publisher, where.public_key_file)
    click.echo(f"{where.publisher}: {'made' if made else 'kept, it exists'} (signing key)")
    click.echo(f"{where.public_key_file}: public key for subscribers")


_ORIGINS = click.Choice(get_args(Origin))
_HASHES = click.Choice(["sha256", "sha384", "sha512"])


def _sealing_options(command: Callable[..., None]) -> Callable[..., None]:
    """What `refresh` and `publish` have in common."""
    for option in reversed(
        (
            click.option(
                "--misp",
                "only",
                type=_ORIGINS,
                help="Ask these only; others as last read.",
            ),
            click.option("--full", is_flag=True, help="Read all of every source again."),
            click.option("--new-epoch", is_flag=True, help="New salt: derive everything anew."),
            click.option("--allow-empty", is_flag=True, help="Publish even without any rule."),
            click.option("--pad", type=int, help="Dummies up to a multiple of this, per type."),
            click.option("--hash", "hash_name", type=_HASHES, help="PBKDF2 with this hash."),
            click.option("--iterations", type=int, help="PBKDF2 iterations."),
            click.option("--ipiterations", type=int, help="PBKDF2 iterations for addresses."),
            click.option("--quiet", "-q", is_flag=True, help="Print problems only."),
        )
    ):
        command = option(command)
    return command


@main.command("refresh")
@_sealing_options
@click.pass_obj
def refresh_command(settings: _Settings, /, *, quiet: bool, **flags: Any) -> None:
    """Read the sources, seal what is new, publish and install it.

    Exit status: 0 done, 1 done but a source could not be read (its last good version
    counts), 2 nothing changed because of an error. Flags count for this run; what
    shall stay belongs in inkgate.toml.
    """
    summary = _refresh(settings, None, quiet=quiet, **flags)
    sys.exit(1 if summary.unreadable else 0)


@main.command("publish")
@click.option("--for", "names", multiple=True, required=True, help="A subscriber's name.")
@click.option(
    "--output",
    "-o",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the packs, each one file; without it they stay with the publisher.",
)
@_sealing_options
@click.pass_obj
def publish_command(
    settings: _Settings,
    /,
    *,
    names: tuple[str, ...],
    output: Path | None,
    quiet: bool,
    **flags: Any,
) -> None:
    """Seal a pack for another subscriber, under its own salt and token.

    Nothing is installed here. Exit status as for refresh.
    """
    faults = 0
    for name in names:
        summary = _refresh(settings, name, quiet=quiet, **flags)
        faults += len(summary.unreadable)
        if output is None:
            click.echo(summary.pack)
        else:
            output.mkdir(parents=True, exist_ok=True)
            click.echo(_export(summary.pack, output / f"{name}-{summary.serial:010d}.inkgate"))
    sys.exit(1 if faults else 0)


@main.command()
@click.option("--for", "name", help="A subscriber's name; without it this machine's own pack.")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.pass_obj
def export(settings: _Settings, name: str | None, file: Path) -> None:
    """Write the last published pack as one FILE (`-` for standard output)."""
    where = settings.places.publisher
    pack = (where / "subscribers" / name if name else where) / PACK
    if str(file) == "-":
        export_pack(pack, sys.stdout.buffer)
    else:
        _export(pack, file)


@main.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.pass_obj
def install(settings: _Settings, file: Path) -> None:
    """Verify a pack FILE (`-` for standard input) and install it here.

    Nothing is replaced unless signature, digests, serial, expiry and token are right.
    """
    where = settings.places
    with ExitStack() as stack:
        stack.enter_context(only_one(where.installed))
        source: BinaryIO = (
            sys.stdin.buffer if str(file) == "-" else stack.enter_context(file.open("rb"))
        )
        manifest = install_archive(
            source,
            where.installed,
            key=read_public_key(where.public_key_file),
            caps=settings.rules.caps,
            token=read_token(where.token_file),
            now=datetime.now(UTC),
        )
    click.echo(f"installed serial {manifest.serial} with {manifest.rule_count()} rules")


def _refresh(
    settings: _Settings,
    subscriber: str | None,
    *,
    quiet: bool,
    only: Origin | None,
    full: bool,
    new_epoch: bool,
    allow_empty: bool,
    pad: int | None,
    hash_name: Literal["sha256", "sha384", "sha512"] | None,
    iterations: int | None,
    ipiterations: int | None,
) -> Summary:
    rules = settings.rules
    if pad is not None:
        rules = msgspec.structs.replace(rules, pad=pad)
    if hash_name or iterations or ipiterations:
        rules = msgspec.structs.replace(
            rules, profiles=_pbkdf2_profiles(hash_name or "sha256", iterations, ipiterations)
        )
    options = Options(
        allow_empty=allow_empty,
        new_epoch=new_epoch,
        only=only,
        full=full,
        subscriber=subscriber,
    )
    with Bar(quiet=quiet) as bar:
        summary = refresh(settings.config, rules, bar, options)
    print_problems(summary)
    if not quiet:
        print_summary(summary)
    return summary


def _pbkdf2_profiles(
    hash_name: Literal["sha256", "sha384", "sha512"],
    iterations: int | None,
    ipiterations: int | None,
) -> dict[str, str | Profile]:
    """The thesis's three options as profiles: addresses have a cost of their own."""
    count = iterations or PBKDF2_ITERATIONS
    usual = Pbkdf2(hash=hash_name, iterations=count)
    return {
        **dict.fromkeys(("name", "url", "text"), usual),
        "ip": Pbkdf2(hash=hash_name, iterations=ipiterations or count),
    }


def _export(pack: Path, file: Path) -> Path:
    temporary = file.with_name(f".{file.name}.part")
    with temporary.open("wb") as target:
        export_pack(pack, target)
    temporary.replace(file)
    return file


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as it is.")
@click.pass_obj
def inspect(settings: _Settings, *, as_json: bool) -> None:
    """Print the installed set's manifest and counts."""
    generation = open_current(settings.places.installed, settings.rules.caps)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(generation.manifest), indent=2))
    else:
        _print_manifest(generation)


@main.command()
@click.argument("queries", metavar="TYPE=VALUE…|FILE…", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a match.")
@or_logs
@or_foreign
@click.pass_obj
def match(settings: _Settings, queries: tuple[str, ...], *, as_json: bool) -> None:
    """Look up values: url=…, domain=…, ip-dst=…, 'ip-dst|port=198.51.100.7|443'; or logs.

    A name is looked up as a proxy would: domain= also finds rules for its parent
    domains. Exit status as grep's: 0 found, 1 nothing found, 2 error. With --foreign
    the rules of another tool are matched in batch (docs/foreign-rules.md). A FILE, - for
    standard input, is a log, plain or compressed (docs/matching.md).
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


main.add_command(export_foreign)
main.add_command(audit_command)
main.add_command(calibrate_command)


if __name__ == "__main__":
    main()
