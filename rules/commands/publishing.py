"""`inkgate-rules refresh`, `publish` and `export`: what a publisher does."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

import click
import msgspec

from inkgate.config.command import needs
from inkgate.config.modes import make_folder
from inkgate.config.owner import become_owner
from inkgate.config.progress import progress_bar
from inkgate.config.whole_file import naming, remove_unfinished, writing_whole
from inkgate.rules.commands.loaded import Settings
from inkgate.rules.crypto.profiles import Pbkdf2, Profile
from inkgate.rules.install.archive import export_pack
from inkgate.rules.install.outcome import recorded
from inkgate.rules.pack.files import FILE_MODE
from inkgate.rules.pack.manifest import MAX_SERIAL
from inkgate.rules.paths import LOCK
from inkgate.rules.refresh.reading import Options
from inkgate.rules.refresh.refresh import Summary, refresh
from inkgate.rules.refresh.screen import print_figures, print_problems, print_summary
from inkgate.rules.seal.publish import PACK
from inkgate.rules.settings import MAX_PADDING
from inkgate.rules.sources.source import Origin

PBKDF2_ITERATIONS = 1000


_ORIGINS = click.Choice(get_args(Origin))
_PADDING = click.IntRange(1, MAX_PADDING)
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
            click.option("--allow-empty", is_flag=True, help="Publish even without any indicator."),
            click.option(
                "--serial",
                type=click.IntRange(1, MAX_SERIAL),
                default=1,
                metavar="N",
                help="Number the pack N or higher: after packs were lost.",
            ),
            click.option("--pad", type=_PADDING, help="Dummies to a multiple of this, per type."),
            click.option("--hash", "hash_name", type=_HASHES, help="PBKDF2 with this hash."),
            click.option("--iterations", type=int, help="PBKDF2 iterations."),
            click.option("--ipiterations", type=int, help="PBKDF2 iterations for addresses."),
            click.option(
                "--quiet",
                "-q",
                is_flag=True,
                help="Print problems only, and nothing when nothing changed.",
            ),
        )
    ):
        command = option(command)
    return command


@click.command("refresh")
@_sealing_options
@click.option(
    "--accept-older",
    is_flag=True,
    help="Install whatever serial was installed here before: serials go on from it.",
)
@click.option("--json", "as_json", is_flag=True, help="What was read and became of it, as JSON.")
@click.pass_obj
@needs("publisher")
def refresh_command(settings: Settings, /, *, quiet: bool, as_json: bool, **flags: Any) -> None:
    """Read the sources, seal what is new, publish and install it.

    Exit status: 0 done, 1 done but a source could not be read (its last good version
    counts), 2 nothing changed because of an error. Flags count for this run; what
    shall stay belongs in inkgate.toml.
    """
    become_owner(settings.paths.publisher, settings.paths.installed)
    locks = settings.paths.publisher / LOCK, settings.paths.installed / LOCK
    with recorded(settings.paths.installed, "refresh", locks) as outcome:
        shown = print_figures if as_json else None if quiet else print_summary
        summary = _refresh(settings, None, quiet=quiet or as_json, **flags)
        if shown:
            shown(summary)
        outcome.serial, outcome.rules = summary.serial, summary.rules
        if summary.unreadable:
            outcome.state = "partial"
            outcome.text = "; ".join(f"not read: {fault}" for fault in summary.unreadable)
    sys.exit(1 if summary.unreadable else 0)


@click.command("publish")
@click.option("--for", "names", multiple=True, required=True, help="A subscriber's name.")
@click.option(
    "--output",
    "-o",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the packs, each one file; without it they stay with the publisher.",
)
@_sealing_options
@click.pass_obj
@needs("publisher")
def publish_command(
    settings: Settings,
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
    become_owner(settings.paths.publisher)
    faults = 0
    for name in names:
        summary = _refresh(settings, name, quiet=quiet, **flags)
        if not quiet:
            print_summary(summary)
        faults += len(summary.unreadable)
        place = summary.pack
        if output is not None:
            make_folder(output, 0o755)
            place = _export(summary.pack, output / f"{name}-{summary.serial:010d}.inkgate")
        if summary.published or not quiet:
            click.echo(place)
    sys.exit(1 if faults else 0)


@click.command()
@click.option("--for", "name", help="A subscriber's name; without it this machine's own pack.")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.pass_obj
def export(settings: Settings, name: str | None, file: Path) -> None:
    """Write the last published pack as one FILE (`-` for standard output)."""
    where = settings.paths.publisher
    pack = (where / "subscribers" / name if name else where) / PACK
    if str(file) == "-":
        with naming(Path("standard output")):
            export_pack(pack, sys.stdout.buffer)
            sys.stdout.buffer.flush()
    else:
        _export(pack, file)


def _refresh(
    settings: Settings,
    subscriber: str | None,
    *,
    quiet: bool,
    only: Origin | None,
    full: bool,
    new_epoch: bool,
    allow_empty: bool,
    serial: int,
    accept_older: bool = False,
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
        serial=serial,
        accept_older=accept_older,
    )
    with progress_bar(quiet=quiet, spoken="inkgate-rules") as bar:
        summary = refresh(settings.config, rules, bar, options)
    print_problems(summary, again=not quiet)
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
    remove_unfinished(file.parent, file.name)
    with writing_whole(file, FILE_MODE) as target:
        export_pack(pack, target)
    return file
