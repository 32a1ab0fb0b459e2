"""The command `inkgate-rules`: keygen, refresh, inspect, match."""

from __future__ import annotations

from typing import Final

import click

from inkgate.config.command import Subcommand, settings_group
from inkgate.config.settings_file import settings_path
from inkgate.rules.commands.loaded import Settings

_COMMANDS: Final = "inkgate.rules.commands"
_SUBCOMMANDS: Final = {
    "audit": Subcommand(
        "inkgate.rules.audit.cli",
        "audit_command",
        "Say what the installed rules resist, and attack them if asked.",
    ),
    "calibrate": Subcommand(
        "inkgate.rules.audit.cli",
        "calibrate_command",
        "Propose KDF profiles for this machine and its traffic.",
    ),
    "export": Subcommand(
        f"{_COMMANDS}.publishing", "export", "Write the last published pack as one FILE."
    ),
    "export-foreign": Subcommand(
        "inkgate.rules.foreign.cli",
        "export_foreign",
        "Seal the sources for a partner with the thesis's tools.",
    ),
    "inspect": Subcommand(
        f"{_COMMANDS}.installed", "inspect", "Print the installed set's manifest and counts."
    ),
    "install": Subcommand(
        f"{_COMMANDS}.installed", "install", "Verify a pack FILE and install it here."
    ),
    "keygen": Subcommand(
        f"{_COMMANDS}.keys", "keygen", "Make the token and the publisher's signing key."
    ),
    "match": Subcommand(
        f"{_COMMANDS}.match",
        "match",
        "Look up values, or match logs and queues.",
    ),
    "publish": Subcommand(
        f"{_COMMANDS}.publishing", "publish_command", "Seal a pack for another subscriber."
    ),
    "refresh": Subcommand(
        f"{_COMMANDS}.publishing", "refresh_command", "Read the sources, seal, publish and install."
    ),
}


@settings_group(_SUBCOMMANDS)
def main(context: click.Context, config: str | None) -> None:
    """Encrypted rules: make keys, refresh from MISP data, inspect, match."""
    context.obj = Settings(settings_path(config))


if __name__ == "__main__":
    main()
