"""The command `inkgate-sightings`: what was matched on this proxy, and who is told."""

from __future__ import annotations

from typing import Final

import click

from inkgate.config.command import Subcommand, settings_group
from inkgate.config.settings_file import settings_path
from inkgate.sightings.commands.configured_journals import ConfiguredJournals

_LIST: Final = "inkgate.sightings.commands.list_show"
_REPORT: Final = "inkgate.sightings.commands.report"
_AGGREGATION: Final = "inkgate.sightings.commands.aggregation"
_SUBCOMMANDS: Final = {
    "aggregate": Subcommand(
        _AGGREGATION, "aggregate", "Add up what the subscribers submitted (aggregator)."
    ),
    "deal": Subcommand(
        _AGGREGATION, "deal", "Make all keys of a group whose protocol has a dealer."
    ),
    "drain": Subcommand(
        _REPORT, "drain", "Hand this proxy's records over to the Redis of `journal`."
    ),
    "encrypt": Subcommand(
        _AGGREGATION,
        "encrypt",
        "Submit this subscriber's counts of a period.",
    ),
    "export": Subcommand(
        "inkgate.sightings.commands.export",
        "export",
        "Export what was seen as ECS, OCSF, CEF or STIX.",
    ),
    "false-positive": Subcommand(
        _REPORT, "false_positive", "Tell MISP that an incident's matches were false."
    ),
    "join": Subcommand(
        _AGGREGATION, "join", "Print this subscriber's key for setup, or join a group."
    ),
    "keygen": Subcommand(
        _REPORT,
        "keygen",
        "Make the key of hashed client addresses.",
    ),
    "list": Subcommand(
        _LIST,
        "list_command",
        "List sightings, oldest first.",
    ),
    "prune": Subcommand(
        _REPORT,
        "prune",
        "Remove records by age and size.",
    ),
    "publish": Subcommand(
        _AGGREGATION, "publish", "Publish totals above the quotas to MISP (aggregator)."
    ),
    "refused": Subcommand(
        _REPORT,
        "refused",
        "List what MISP did not take, and why.",
    ),
    "report": Subcommand(
        _REPORT,
        "report",
        "Tell MISP what was seen.",
    ),
    "retry": Subcommand(
        _REPORT, "retry", "Let refused sightings be told again by the next report."
    ),
    "setup": Subcommand(
        _AGGREGATION, "setup", "Describe a group (aggregator), or write a new list."
    ),
    "show": Subcommand(
        _LIST,
        "show",
        "Show an incident: when, who, what matched, events in MISP.",
    ),
    "status": Subcommand(
        _REPORT,
        "status",
        "Count what is told, what waits and since when.",
    ),
}


@settings_group(_SUBCOMMANDS)
def main(context: click.Context, config: str | None) -> None:
    """Matches that this proxy has seen, and what MISP is told about them."""
    context.obj = ConfiguredJournals(settings_path(config))


if __name__ == "__main__":
    main()
