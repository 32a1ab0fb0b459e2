"""The command `inkgate`: squid, status."""

from __future__ import annotations

from typing import Final

import click

from inkgate.config.command import Subcommand, settings_group
from inkgate.config.settings_file import settings_path

_SUBCOMMANDS: Final = {
    "squid": Subcommand(
        "inkgate.admin.squid.cli", "squid", "Squid's side: install, check, uninstall."
    ),
    "status": Subcommand(
        "inkgate.admin.status.cli", "status", "Say whether this machine blocks, row by row."
    ),
}


@settings_group(_SUBCOMMANDS)
def main(context: click.Context, config: str | None) -> None:
    """One machine with inkgate: does it block, and if not, why."""
    context.obj = settings_path(config)


if __name__ == "__main__":
    main()
