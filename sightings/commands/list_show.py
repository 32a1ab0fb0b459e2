"""The commands of `inkgate-sightings` that read: list and show."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import click
import msgspec

from inkgate.config.printable import printable_json
from inkgate.config.table import print_table
from inkgate.sightings.commands.configured_journals import ConfiguredJournals, find_incident, read
from inkgate.sightings.commands.formatting import COLUMNS, as_match, as_record, cell, match_lines


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--since", type=click.DateTime(), help="Only from this time on (UTC).")
@click.option("--incident", metavar="ID", help="Only this incident, also of the check.")
@click.option("--canaries", is_flag=True, help="Also what the check through the proxy made.")
@click.pass_obj
def list_command(
    configured: ConfiguredJournals,
    *,
    as_json: bool,
    since: datetime | None,
    incident: str | None,
    canaries: bool,
) -> None:
    """List sightings, oldest first."""
    start = since.replace(tzinfo=UTC).timestamp() if since else 0.0
    all_shown = canaries or incident is not None
    sightings = (
        sighting
        for path in configured.journals()[:1]
        for sighting in read(path, start, incident)
        if all_shown or not sighting.is_canary
    )
    if as_json:
        for sighting in sightings:
            click.echo(printable_json(msgspec.json.encode(as_record(sighting))))
    else:
        _print_table([as_record(sighting) for sighting in sightings])


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a match.")
@click.argument("incident", metavar="ID")
@click.pass_obj
def show(configured: ConfiguredJournals, incident: str, *, as_json: bool) -> None:
    """Show an incident: when, who asked, what matched, where MISP tells more."""
    matches = _matches(configured, incident)
    for match in matches:
        if as_json:
            click.echo(printable_json(msgspec.json.encode(match)))
        else:
            click.echo("\n".join(match_lines(match)) + "\n")


def _matches(configured: ConfiguredJournals, incident: str) -> list[dict[str, object]]:
    """An incident's matches; ends the command if there is none."""
    from inkgate.sightings.report.outbox import read_items  # noqa: PLC0415 (imports SQLite)

    path, sightings = find_incident(configured, incident)
    hours, url = configured.settings.window_hours, configured.settings.misp.url
    return [as_match(s, read_items(path, hours, s), url) for s in sightings]


def _print_table(records: list[dict[str, object]]) -> None:
    rows = [[cell(record[name]) for name in COLUMNS] for record in records]
    if sys.stdout.isatty():
        print_table(COLUMNS, rows)
        return
    for row in rows:
        click.echo("\t".join(row))
