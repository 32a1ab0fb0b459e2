"""The command `inkgate-sightings`: what was matched on this proxy."""

from __future__ import annotations

from datetime import UTC, datetime

import click
import msgspec
from rich.console import Console
from rich.table import Table

from rules.command import OneLineErrors
from rules.settings import load_section, resolve, settings_path
from sightings.aggregation.cli import register
from sightings.aggregation.errors import AggregationError
from sightings.journal import Journal, JournalError, Sighting
from sightings.settings import SightingsSettings

_COLUMNS = ("time", "incident", "class", "action", "client", "method", "node", "attributes")


class _Group(OneLineErrors):
    expected = (*OneLineErrors.expected, JournalError, AggregationError)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", metavar="FILE", help="Settings file [/etc/inkgate/inkgate.toml].")
@click.version_option(package_name="inkgate")
@click.pass_context
def main(context: click.Context, config: str | None) -> None:
    """Matches that this proxy has seen."""
    path = settings_path(config)
    settings = load_section(path, "sightings", SightingsSettings)
    context.obj = Journal(resolve(path, settings.journal))


@main.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--since", type=click.DateTime(), help="Only from this time on (UTC).")
@click.option("--incident", metavar="ID", help="Only this incident.")
@click.pass_obj
def list_command(
    journal: Journal, *, as_json: bool, since: datetime | None, incident: str | None
) -> None:
    """List sightings, oldest first."""
    start = since.replace(tzinfo=UTC).timestamp() if since else 0.0
    sightings = journal.read(since=start, incident=incident)
    if as_json:
        for sighting in sightings:
            click.echo(msgspec.json.encode(_record(sighting)))
    else:
        _print_table([_record(sighting) for sighting in sightings])


def _record(sighting: Sighting) -> dict[str, object]:
    moment = datetime.fromtimestamp(sighting.time, UTC)
    return {
        "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "incident": sighting.incident,
        "class": sighting.indicator_class,
        "action": sighting.action,
        "client": sighting.client,
        "method": sighting.method,
        "node": sighting.node,
        "attributes": sighting.attributes,
    }


def _print_table(records: list[dict[str, object]]) -> None:
    rows = [[_cell(record[name]) for name in _COLUMNS] for record in records]
    console = Console()
    if console.is_terminal:
        table = Table(*_COLUMNS)
        for row in rows:
            table.add_row(*row)
        console.print(table)
        return
    for row in rows:
        click.echo("\t".join(row))


def _cell(value: object) -> str:
    text = " ".join(value) if isinstance(value, tuple) else str(value)
    # The client and the method come from the network, and this goes to a terminal.
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


register(main)


if __name__ == "__main__":
    main()
