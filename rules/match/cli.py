"""`inkgate-rules match` on logs and queues."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from inkgate.config.processes import usable_cores
from inkgate.rules.foreign.cli import CommandSettings
from inkgate.rules.match.errors import MatchError
from inkgate.rules.match.logs.log_format import FormatError
from inkgate.rules.match.logs.registry import AUTO, choices, open_reader

# TYPE=VALUE. Every other argument is the name of a file.
_QUERY: Final = re.compile(r"[A-Za-z0-9|_ -]+(?:/[A-Za-z0-9|_ -]+)*=.*", re.DOTALL)
# Options that are only for rules of other tools.
_FOREIGN: Final = ("foreign", "token_file", "values")
_REDIS: Final = "redis://127.0.0.1:6379/0"


def with_log_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give `match` its options for logs: with files or a queue it reads these, else TYPE=VALUE."""

    @functools.wraps(command)
    def values_or_logs(
        *,
        queries: tuple[str, ...],
        log_format: str,
        follow: bool,
        redis_url: str,
        redis_list: str | None,
        redis_stream: str | None,
        until_empty: bool,
        orphaned_after: float,
        sightings: bool,
        quiet: bool,
        resume: Path | None,
        only_server: bool,
        **more: Any,
    ) -> None:
        # Imported here: the other commands do not need Redis and decompression.
        from inkgate.rules.match.run import Inputs, OutputOptions, run  # noqa: PLC0415

        paths = tuple(query for query in queries if not _QUERY.fullmatch(query))
        queue = redis_list or redis_stream or ""
        if not paths and not queue:
            if follow or sightings or until_empty or only_server:
                raise click.UsageError(
                    "--follow, --sightings, --until-empty and --only-server go with a log"
                )
            command(queries=queries, **more)
            return
        if len(paths) != len(queries) or bool(paths) == bool(queue) or (follow and "-" in paths):
            raise click.UsageError(
                "name either TYPE=VALUE, or files, or one --redis-list or --redis-stream; "
                "standard input is followed by itself"
            )
        if resume is not None and not follow:
            raise click.UsageError("--resume goes with --follow")
        if any(more.get(name) for name in _FOREIGN) or (redis_list and redis_stream):
            raise click.UsageError("--foreign matches TYPE=VALUE or --values, not logs")
        inputs = Inputs(
            paths,
            _checked(log_format),
            follow,
            redis_url,
            queue,
            redis_list is None,
            until_empty,
            orphaned_after,
            resume=resume,
            only_server=only_server,
        )
        shown = OutputOptions(as_json=more["as_json"], quiet=quiet, sightings=sightings)
        settings: CommandSettings = click.get_current_context().obj
        found, wrong = run(
            settings.config, settings.rules, inputs, shown, more.get("jobs") or usable_cores()
        )
        sys.exit(2 if wrong else 0 if found else 1)

    for option in reversed(_OPTIONS):
        values_or_logs = option(values_or_logs)
    return values_or_logs


_OPTIONS: Final = (
    click.option(
        "--format",
        "log_format",
        default=AUTO,
        metavar="FORMAT",
        help=f"{choices()} [see for itself].",
    ),
    click.option("--follow", "-f", is_flag=True, help="Go on with lines as they come (tail -F)."),
    click.option(
        "--resume",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="With --follow: keep there how far logs were read, and go on from there.",
    ),
    click.option(
        "--only-server",
        is_flag=True,
        help="Look up the server's address alone, of lines that have one.",
    ),
    click.option(
        "--redis", "redis_url", default=_REDIS, show_default=True, metavar="URL", help="The Redis."
    ),
    click.option("--redis-list", metavar="KEY", help="Take lines from this list there."),
    click.option("--redis-stream", metavar="KEY", help="Take entries from this stream there."),
    click.option("--until-empty", is_flag=True, help="End when the list or stream is empty."),
    click.option(
        "--orphaned-after",
        type=click.FloatRange(0.5, 3600),
        default=30.0,
        show_default=True,
        metavar="SECONDS",
        help="Take a silent consumer's lines again.",
    ),
    click.option("--sightings", is_flag=True, help="Journal matches with their lines' own time."),
    click.option("--quiet", "-q", is_flag=True, help="No progress and no totals."),
)


def _checked(text: str) -> str:
    if text != AUTO:
        try:
            open_reader(text)
        except FormatError as error:
            raise MatchError(f"--format {text}: {error}; give {choices()}") from None
    return text
