"""`inkgate squid bypasses`: a service that counts what Squid let pass past the ICAP server."""

from __future__ import annotations

import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Final

import click

from inkgate.blocked_page.settings import SquidSettings
from inkgate.config.settings_file import SettingsError, load_section, resolve
from inkgate.health.log import dated_log
from inkgate.health.monitor import Monitor
from inkgate.health.settings import counter_folder
from inkgate.rules.match.input.follow import followed_chunks
from inkgate.rules.match.input.positions import Positions
from inkgate.rules.settings import RulesSettings
from inkgate.squid_conf.bypasses import (
    BYPASS_FORMAT,
    BYPASSES_PROGRAM,
    passed_unanswered,
)

_POSITION: Final = "bypasses.json"


@click.command()
@click.option("--until-idle", is_flag=True, help="End when all that is logged was counted.")
@click.pass_obj
def bypasses(config: Path, until_idle: bool) -> None:
    """Count messages that Squid let pass past the ICAP server, as it logs them, until SIGTERM.

    With `[icap] fail = "open"` Squid lets pass what it gets no answer to, without a word. Run
    this as Squid's user, by a service manager; it goes on where it ended, also over a rotation
    of the log.
    """
    log = load_section(config, "squid_conf", SquidSettings).bypasses
    if not log:
        raise SettingsError(config, "[squid_conf] bypasses is empty", "name the log of bypasses")
    path = resolve(config, log)
    kept = resolve(config, load_section(config, "rules", RulesSettings).key_cache)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    monitor = Monitor(counter_folder(config), BYPASSES_PROGRAM, dated_log(BYPASSES_PROGRAM))
    try:
        monitor.say(f"counting what passes unanswered, by {path}")
        _follow(path, kept.with_name(_POSITION), stopped, monitor, until_idle=until_idle)
    finally:
        monitor.end()
    sys.exit(0)


def _follow(
    path: Path, position: Path, stopped: threading.Event, monitor: Monitor, *, until_idle: bool
) -> None:
    positions = Positions(position)
    chunks = followed_chunks(
        (str(path),), BYPASS_FORMAT, stopped.is_set, positions, monitor.say, until_idle=until_idle
    )
    for chunk in chunks:
        if chunk is None:
            monitor.remind()
            continue
        found = Counter(filter(None, map(passed_unanswered, chunk.text.splitlines())))
        if found:
            said = " and ".join(f"{n} {what}" for what, n in sorted(found.items(), reverse=True))
            monitor.met("squid-bypassed", f"passed unanswered: {said}", found.total())
        chunk.acknowledge()
        positions.keep(at_once=bool(found))
    positions.keep(at_once=True)
