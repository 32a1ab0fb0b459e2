"""How all of inkgate's commands fail: what an operator can mend is one line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final

import click

from inkgate.config.errors import InkgateError

ERROR_STATUS: Final = 2

Command = Callable[..., object]


class OneLineErrors(click.Group):
    """A group whose commands end with status 2 and one line on errors that are expected.

    Anything else is our fault and has a traceback.
    """

    def invoke(self, context: click.Context) -> object:
        """Run the command."""
        try:
            return super().invoke(context)
        except (InkgateError, OSError) as error:
            click.echo(f"{context.info_name}: {error}", err=True)
            sys.exit(ERROR_STATUS)


def settings_group(function: Command) -> click.Group:
    """Make a function the group of a command's subcommands; it is given `--config`."""
    for decorator in (
        click.pass_context,
        click.version_option(package_name="inkgate"),
        click.option("--config", metavar="FILE", help="Settings file [/etc/inkgate/inkgate.toml]."),
    ):
        function = decorator(function)
    group = click.group(cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
    return group(function)
