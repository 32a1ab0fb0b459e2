"""`inkgate-rules install` and `inkgate-rules inspect`: all that a proxy needs."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import click
import msgspec

from inkgate.config.command import quiet_option
from inkgate.config.owner import become_owner
from inkgate.config.printable import printable, printable_json
from inkgate.config.table import print_table
from inkgate.rules.commands.loaded import Settings
from inkgate.rules.crypto.keys import read_public_key, read_token
from inkgate.rules.errors import RefreshError
from inkgate.rules.install.archive import install_archive
from inkgate.rules.install.generation import Generation
from inkgate.rules.install.install import ROOT_MODE, open_current
from inkgate.rules.install.outcome import recorded
from inkgate.rules.install.serials import current_folder
from inkgate.rules.pack.manifest import Manifest
from inkgate.rules.paths import LOCK, writer_lock


@click.command()
@click.option(
    "--accept-older",
    is_flag=True,
    help="Take a pack whose serial is below what was installed: serials go on from it.",
)
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@quiet_option
@click.pass_obj
def install(settings: Settings, file: Path, *, accept_older: bool, quiet: bool) -> None:
    """Verify a pack FILE (`-` for standard input) and install it here.

    Nothing is replaced unless signature, digests, serial, expiry and token are right.
    """
    where = settings.paths
    if file.is_dir():
        raise RefreshError(f"{file} is a folder; name the pack in it, a file NAME.inkgate")
    with ExitStack() as stack:
        # Opened first: it may be readable for root alone, and this is perhaps root for the moment.
        source = _opened(file, stack)
        become_owner(where.installed)
        locks = (where.installed / LOCK,)
        outcome = stack.enter_context(recorded(where.installed, "install", locks))
        if isinstance(source, OSError):
            raise source
        stack.enter_context(writer_lock(where.installed, ROOT_MODE))
        before = current_folder(where.installed)
        manifest = install_archive(
            source,
            where.installed,
            key=read_public_key(where.public_key_file),
            caps=settings.rules.caps,
            token=read_token(where.token_file),
            now=datetime.now(UTC),
            accept_older=accept_older,
        )
        outcome.serial, outcome.rules = manifest.serial, manifest.rule_count()
        is_new = current_folder(where.installed) != before
    if is_new or not quiet:
        done = "installed" if is_new else "kept"
        click.echo(f"{done} serial {manifest.serial} with {manifest.rule_count()} rules")


def _opened(file: Path, stack: ExitStack) -> BinaryIO | OSError:
    """The pack to read, or why it cannot be opened."""
    if str(file) == "-":
        return sys.stdin.buffer
    try:
        return stack.enter_context(file.open("rb"))
    except OSError as error:
        return error


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as it is.")
@click.pass_obj
def inspect(settings: Settings, *, as_json: bool) -> None:
    """Print the installed set's manifest and counts."""
    generation = open_current(settings.paths.installed, settings.rules.caps)
    if as_json:
        data = msgspec.json.format(msgspec.json.encode(generation.manifest), indent=2)
        click.echo(printable_json(data))
    else:
        _print_manifest(generation)


def _print_manifest(generation: Generation) -> None:
    manifest: Manifest = generation.manifest
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
        click.echo(f"{name:>12}  {printable(str(value))}")
    for kind, profile in sorted(manifest.profiles.items()):
        click.echo(f"{kind:>12}  {printable_json(msgspec.json.encode(profile))}")
    print_table(
        ("class", "rules", "bytes"),
        [(n, str(file.rules), str(file.size)) for n, file in sorted(manifest.classes.items())],
    )
