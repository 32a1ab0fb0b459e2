"""The group `inkgate squid`."""

from __future__ import annotations

from typing import Final

import click

from inkgate.config.command import CommandGroup, Subcommand

_SUBCOMMANDS: Final = {
    "install": Subcommand(
        "inkgate.admin.squid.install",
        "install",
        "Have Squid ask inkgate before it lets a request through.",
    ),
    "check": Subcommand(
        "inkgate.admin.squid.check",
        "check",
        "Check, by squid.conf's lines and through the proxy, that it blocks.",
    ),
    "tunnels": Subcommand(
        "inkgate.admin.squid.tunnels",
        "tunnels",
        "Journal tunnels that went to listed addresses, as Squid logs them, until SIGTERM.",
    ),
    "bypasses": Subcommand(
        "inkgate.admin.squid.bypasses",
        "bypasses",
        "Count messages that Squid let pass past the ICAP server, as it logs them, until SIGTERM.",
    ),
    "uninstall": Subcommand(
        "inkgate.admin.squid.uninstall", "uninstall", "Take inkgate's lines out of squid.conf."
    ),
}


@click.group(cls=CommandGroup, subcommands=_SUBCOMMANDS)
def squid() -> None:
    """Squid's side: install, check, tunnels, bypasses, uninstall."""
