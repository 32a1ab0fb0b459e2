"""`inkgate squid tunnels`: a service that looks up where tunnels went."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from inkgate.blocked_page.settings import SquidSettings
from inkgate.config.settings_file import SettingsError, load_section, resolve
from inkgate.health.log import dated_log
from inkgate.health.monitor import Monitor
from inkgate.health.settings import counter_folder
from inkgate.rules.match.run import Inputs, OutputOptions, run
from inkgate.rules.settings import RulesSettings
from inkgate.squid_conf.tunnels import TUNNEL_FORMAT, TUNNELS_PROGRAM

_POSITION: Final = "tunnels.json"


@click.command()
@click.option("--until-idle", is_flag=True, help="End when all that is logged was looked up.")
@click.pass_obj
def tunnels(config: Path, until_idle: bool) -> None:
    """Journal tunnels that went to listed addresses, as Squid logs them, until SIGTERM.

    Squid knows a tunnel's server only when it is too late to refuse it. Run this as Squid's
    user, by a service manager; it goes on where it ended, also over a rotation of the log.
    """
    log = load_section(config, "squid_conf", SquidSettings).tunnels
    if not log:
        raise SettingsError(config, "[squid_conf] tunnels is empty", "name the log of tunnels")
    settings = load_section(config, "rules", RulesSettings)
    inputs = Inputs(
        paths=(str(resolve(config, log)),),
        format=TUNNEL_FORMAT,
        follow=True,
        until_idle=until_idle,
        resume=resolve(config, settings.key_cache).with_name(_POSITION),
        only_server=True,
    )
    monitor = Monitor(counter_folder(config), TUNNELS_PROGRAM, dated_log(TUNNELS_PROGRAM))
    try:
        monitor.say(f"looking up the tunnels in {inputs.paths[0]}")
        # Nothing is printed: a service's output is a log, and clients' tunnels belong in none.
        run(config, settings, inputs, OutputOptions(printed=False, quiet=True, sightings=True), 1)
    finally:
        monitor.end()
    sys.exit(0)
