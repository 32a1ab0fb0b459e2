"""`inkgate-rules match`."""

from __future__ import annotations

import sys
from contextlib import ExitStack

import click
import msgspec

from inkgate.config.printable import printable, printable_json
from inkgate.rules.canonical import ObservedAt, Refused, Value, canonical_attribute, class_of
from inkgate.rules.commands.loaded import Settings
from inkgate.rules.crypto.keys import read_token
from inkgate.rules.errors import RefreshError
from inkgate.rules.foreign.cli import or_foreign
from inkgate.rules.install.install import open_current
from inkgate.rules.lookup.matcher import Match, Matcher
from inkgate.rules.match.cli import with_log_options


@click.command()
@click.argument("queries", metavar="TYPE=VALUE…|FILE…", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a match.")
@with_log_options
@or_foreign
@click.pass_obj
def match(settings: Settings, queries: tuple[str, ...], *, as_json: bool) -> None:
    """Look up values: url=…, domain=…, ip-dst=…, 'ip-dst|port=198.51.100.7|443'; or logs.

    A name is looked up as a proxy would: domain= also finds rules for its parent
    domains. Exit status as grep's: 0 found, 1 nothing found, 2 error. With --foreign
    the rules of another tool are matched in batch (docs/foreign-rules.md). A FILE, - for
    standard input, is a log, plain or compressed (docs/matching.md).
    """
    where = settings.paths
    token = read_token(where.token_file)
    parsed = [_parse_query(query) for query in queries]
    with ExitStack() as stack:
        generation = open_current(where.installed, settings.rules.caps)
        stack.callback(generation.close)
        matcher = Matcher(generation, token)
        found = False
        for query, name, value in parsed:
            for hit in _look_up(matcher, name, value):
                found = True
                click.echo(_match_json(query, hit) if as_json else _match_line(query, hit))
    sys.exit(0 if found else 1)


def _parse_query(query: str) -> tuple[str, str, Value]:
    name, separator, text = query.partition("=")
    if not separator:
        raise RefreshError("a query is TYPE=VALUE, for instance domain=listed.example")
    try:
        return query, name, canonical_attribute(name, text)
    except Refused as refused:
        raise RefreshError(f"{name}: {refused.reason}") from None


def _look_up(matcher: Matcher, name: str, value: Value) -> list[Match]:
    observed_at = class_of(name).observed_at
    if value.is_url:
        found = matcher.url(value.data.decode())
    elif value.host is not None and ObservedAt.HOST_OR_PARENT in observed_at:
        found = matcher.host(value.host).matches
    elif value.host is not None and ObservedAt.ADDRESS in observed_at:
        found = matcher.server_address(value.host.value)
    else:
        hit = matcher.look_up(name, value.kind, value.data)
        return [hit] if hit else []
    return [match for match in found if match.indicator_class == name]


def _match_line(query: str, hit: Match) -> str:
    attributes = "; ".join(
        " ".join(f"{k}={v}" for k, v in attribute.items()) for attribute in hit.message.attributes
    )
    more = f"; and {hit.message.more} more" if hit.message.more else ""
    cells = (query, hit.indicator_class, hit.message.recorded_action, attributes + more)
    return "\t".join(map(printable, cells))


def _match_json(query: str, hit: Match) -> str:
    record = {"query": query, "class": hit.indicator_class, "message": hit.message}
    return printable_json(msgspec.json.encode(record))
