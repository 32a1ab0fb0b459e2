"""`inkgate-rules keygen`."""

from __future__ import annotations

import click

from inkgate.rules.commands.loaded import Settings
from inkgate.rules.crypto.keys import make_signing_key, make_token


@click.command()
@click.option("--token", "only_token", is_flag=True, help="The token alone: all a proxy needs.")
@click.pass_obj
def keygen(settings: Settings, *, only_token: bool) -> None:
    """Make the token and the publisher's signing key, unless they exist.

    Exit status: 0 they are there and belong together, 2 something there is of no use.
    """
    where = settings.paths
    made = make_token(where.token_file)
    click.echo(f"{where.token_file}: {'made' if made else 'kept, it exists'} (token)")
    if only_token:
        return
    made = make_signing_key(where.publisher, where.public_key_file)
    click.echo(f"{where.publisher}: {'made' if made else 'kept, it exists'} (signing key)")
    click.echo(f"{where.public_key_file}: public key for subscribers")
