"""`inkgate-rules match`."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import Final

import click
import msgspec

from inkgate.config.printable import printable, printable_json, to_stderr
from inkgate.rules.commands.loaded import Settings
from inkgate.rules.crypto.keys import read_token
from inkgate.rules.foreign.cli import or_foreign
from inkgate.rules.install.install import open_current
from inkgate.rules.lookup.matcher import Match, Matcher
from inkgate.rules.match.cli import with_log_options
from inkgate.rules.match.engine import Engine
from inkgate.rules.match.errors import MatchError
from inkgate.rules.match.questions import answers, parse_question

# Names and addresses that were found clean and are not looked up again.
_REMEMBERED: Final = 10_000


@click.command()
@click.argument("queries", metavar="TYPE=VALUE…|FILE…", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a match.")
@with_log_options
@or_foreign
@click.pass_obj
def match(settings: Settings, queries: tuple[str, ...], *, as_json: bool) -> None:
    """Look up values: url=…, domain=…, ip-dst=…, 'ip-dst|port=198.51.100.7|443'; or logs.

    A value is looked up as a proxy would: url= also finds rules for its host, domain=
    those for its parent domains, ip-dst= those for networks; ip-dst=… port=… the pair, too.
    Exit status as grep's: 0 found, 1 nothing found, 2 error. With --foreign
    the rules of another tool are matched in batch (docs/foreign-rules.md). A FILE, - for
    standard input, is a log, plain or compressed (docs/matching.md).
    """
    where = settings.paths
    token = read_token(where.token_file)
    found = wrong = False
    with ExitStack() as stack:
        generation = open_current(where.installed, settings.rules.caps)
        stack.callback(generation.close)
        matcher = Matcher(generation, token)
        questions = []
        for number, query in enumerate(queries, 1):
            try:
                questions.append(parse_question(query, number, matcher.classes.by_name))
            except MatchError as error:
                # As with grep, the others are still answered.
                wrong = True
                to_stderr("inkgate-rules", str(error))
        for query, hit in answers(Engine(matcher, _REMEMBERED), questions):
            found = True
            click.echo(_match_json(query, hit) if as_json else _match_line(query, hit))
    sys.exit(2 if wrong else 0 if found else 1)


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
