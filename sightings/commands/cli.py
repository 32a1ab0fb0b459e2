"""The command `inkgate-sightings`: what was matched on this proxy, and who is told."""

from __future__ import annotations

# Each registers its commands with the group.
from inkgate.sightings.commands import list_show as cli_list
from inkgate.sightings.commands import report as cli_report
from inkgate.sightings.commands.aggregation import register
from inkgate.sightings.commands.command_group import main

register(main)

__all__ = ["cli_list", "cli_report", "main"]

register(main)


if __name__ == "__main__":
    main()
