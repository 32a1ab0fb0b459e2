"""How all of inkgate's commands fail: what an operator can mend is one line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import ClassVar, Final

import click

from inkgate.rules.errors import PackError
from inkgate.rules.keys import KeyFileError
from inkgate.rules.settings import SettingsError
from inkgate.rules.sources.unreadable import Unreadable

ERROR_STATUS: Final = 2


Command = Callable[..., object]


class OneLineErrors(click.Group):
    """A group whose commands end with status 2 and one line on errors that are expected.

    Anything else is our fault and has a traceback.
    """

    expected: ClassVar[tuple[type[Exception], ...]] = (
        SettingsError,
        KeyFileError,
        PackError,
        Unreadable,
        OSError,
    )

    def invoke(self, context: click.Context) -> object:
        """Run the command."""
        try:
            return super().invoke(context)
        except self.expected as error:
            click.echo(f"{context.info_name}: {error}", err=True)
            sys.exit(ERROR_STATUS)


def settings_group(*expected: type[Exception]) -> Callable[[Command], click.Group]:
    """Make a function the group of a command's subcommands; it is given `--config`.

    Args:
        expected: errors that end in one line, besides those of `OneLineErrors`.
    """

    class Group(OneLineErrors):
        pass

    Group.expected = (*OneLineErrors.expected, *expected)

    def decorate(function: Command) -> click.Group:
        for decorator in (
            click.pass_context,
            click.version_option(package_name="inkgate"),
            click.option(
                "--config", metavar="FILE", help="Settings file [/etc/inkgate/inkgate.toml]."
            ),
        ):
            function = decorator(function)
        group = click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
        return group(function)

    return decorate
