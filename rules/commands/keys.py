"""`inkgate-rules keygen`."""

from __future__ import annotations

import click

from inkgate.rules.commands.loaded import Settings
from inkgate.rules.crypto.keys import make_signing_key, make_token


@click.command()
@click.pass_obj
def keygen(settings: Settings) -> None:
    """Make the token and the publisher's signing key, unless they exist."""
    where = settings.paths
    made = make_token(where.token_file)
    click.echo(f"{where.token_file}: {'made' if made else 'kept, it exists'} (token)")
    made = make_signing_key(where.publisher, where.public_key_file)
    click.echo(f"{where.publisher}: {'made' if made else 'kept, it exists'} (signing key)")
    click.echo(f"{where.public_key_file}: public key for subscribers")
