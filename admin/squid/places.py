"""Which Squid, which of its files: options that the subcommands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from inkgate.squid_conf.placing.site import Site, look
from inkgate.squid_conf.program import SquidProgram

FRAGMENT: Final = "inkgate.conf"

squid_conf_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--squid-conf",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Squid's configuration file [as `squid -v` says: /etc/squid/squid.conf].",
)
fragment_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--fragment",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="File for inkgate's lines [inkgate.conf beside squid.conf].",
)


def site_of(program: SquidProgram, squid_conf: Path | None, fragment: Path | None) -> Site:
    """Read Squid's configuration.

    Raises:
        SquidConfError: it cannot be read or changed safely.
    """
    conf = squid_conf or program.configuration
    return look(conf, fragment or conf.absolute().parent / FRAGMENT)
