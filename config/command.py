"""How all of inkgate's commands are put together, and how they fail: in one line.

A group knows its subcommands by name and imports one when it is asked for. So a proxy
runs `inkgate-rules install` without the libraries that `inkgate-rules refresh` needs,
and `--help` lists both.
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import click

from inkgate.config.errors import InkgateError
from inkgate.config.extras import Extra, require
from inkgate.config.printable import printable_traceback, to_stderr
from inkgate.config.system_errors import (
    explain,
    flush_output,
    is_reader_gone,
    open_standard_streams,
)

ERROR_STATUS: Final = 2
READER_GONE_STATUS: Final = 141
"""What a shell says of a command that SIGPIPE has ended, as most others are."""

Command = Callable[..., object]


class Subcommand(NamedTuple):
    """Where a subcommand lies, and what the group's --help says of it.

    Attributes:
        module: the module that defines it.
        attribute: its name there.
        help: one line: the first sentence of the command's own --help.
    """

    module: str
    attribute: str
    help: str


class CommandGroup(click.Group):
    """A group whose commands end with status 2 and one line on errors that are expected.

    Anything else is our fault and has a traceback, with status 2 as well: 1 means something
    else in many commands, such as "nothing was found".

    Args:
        subcommands: by name; each is imported when it is asked for.
    """

    def __init__(
        self, *args: Any, subcommands: Mapping[str, Subcommand] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.subcommands: Final = dict(subcommands or {})

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the program."""
        open_standard_streams()
        return super().main(*args, **kwargs)

    def invoke(self, context: click.Context) -> object:
        """Run the command."""
        try:
            return self._invoke_flushed(context)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:  # noqa: BLE001 (no error may end with a status of its own)
            if is_reader_gone(error):
                sys.exit(READER_GONE_STATUS)
            text = str(error) if isinstance(error, InkgateError) else explain(error)
            if text is None:
                click.echo(printable_traceback(error), err=True)
            else:
                to_stderr(context.find_root().info_name or "inkgate", text)
            sys.exit(ERROR_STATUS)

    def _invoke_flushed(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        finally:
            flush_output()

    def list_commands(self, context: click.Context) -> list[str]:
        """The names of all subcommands."""
        return sorted({*super().list_commands(context), *self.subcommands})

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """One subcommand; its module is imported now."""
        place = self.subcommands.get(name)
        if place is None:
            return super().get_command(context, name)
        command: click.Command = getattr(importlib.import_module(place.module), place.attribute)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of subcommands in --help, for which none of them is imported."""
        if not self.subcommands:
            super().format_commands(context, formatter)
            return
        with formatter.section("Commands"):
            formatter.write_dl([(n, self.subcommands[n].help) for n in sorted(self.subcommands)])


def settings_group(
    subcommands: Mapping[str, Subcommand],
) -> Callable[[Command], CommandGroup]:
    """Make a function the group of a command's subcommands; it is given `--config`."""

    def decorate(function: Command) -> CommandGroup:
        for decorator in (
            click.pass_context,
            click.version_option(package_name="inkgate"),
            click.option(
                "--config", metavar="FILE", help="Settings file [/etc/inkgate/inkgate.toml]."
            ),
        ):
            function = decorator(function)
        group = click.group(
            cls=CommandGroup,
            subcommands=subcommands,
            context_settings={"help_option_names": ["-h", "--help"]},
        )
        return group(function)

    return decorate


def quiet_option(command: Command) -> Command:
    """Give a command that a timer runs the option `--quiet`."""
    return click.option("--quiet", "-q", is_flag=True, help="Print nothing when nothing changed.")(
        command
    )


def needs(extra: Extra) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a command check for its extra's libraries before it does anything."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def checked(*args: Any, **kwargs: Any) -> None:
            require(extra, str(click.get_current_context().info_name))
            function(*args, **kwargs)

        return checked

    return decorate
