"""How all of inkgate's commands fail: what an operator can mend is one line."""

from __future__ import annotations

import sys
from typing import ClassVar, Final

import click

from rules.errors import PackError
from rules.keys import KeyFileError
from rules.settings import SettingsError
from rules.sources.unreadable import Unreadable

ERROR_STATUS: Final = 2


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
