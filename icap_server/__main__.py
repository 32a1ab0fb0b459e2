"""The command `inkgate-icap`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from inkgate.config.command import ERROR_STATUS
from inkgate.config.errors import InkgateError
from inkgate.config.extras import require
from inkgate.config.kept_files import use
from inkgate.config.printable import to_stderr
from inkgate.config.settings_file import settings_path
from inkgate.config.system_errors import explain
from inkgate.health.log import dated_log
from inkgate.health.monitor import Monitor
from inkgate.health.settings import counter_folder
from inkgate.icap_server.own_user import become_squids_user
from inkgate.icap_server.processes.readiness import say_unfit
from inkgate.icap_server.processes.supervisor import supervise

WORKER: Final = "inkgate-icap"
SUPERVISOR: Final = "inkgate-icap-supervisor"

log = dated_log(WORKER)
"""One line to standard error."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve ICAP until SIGTERM."""
    options = _parse(arguments)
    config = settings_path(options.config).absolute()
    if options.ready is not None:
        _work(config, options)
        return
    try:
        require("icap", "the server")
        user = become_squids_user(config)
        monitor = Monitor(counter_folder(config), SUPERVISOR, log)
        if user:
            monitor.say(
                f"was started as root: serving as user {user}, whose the journal's folder is"
            )
        supervise(config, monitor)
    except (InkgateError, OSError) as error:
        to_stderr(WORKER, str(error) if isinstance(error, InkgateError) else explain(error) or "")
        sys.exit(ERROR_STATUS)


def _work(config: Path, options: argparse.Namespace) -> None:
    # Imported here: the supervisor needs none of it, nor does --help.
    from inkgate.icap_server.worker import Inherited, run_worker  # noqa: PLC0415

    use((Path(path), int(fd)) for fd, path in options.kept)
    inherited = Inherited(options.plain, options.secure, options.vacancy, options.ready)
    try:
        run_worker(config, inherited, Monitor(counter_folder(config), WORKER, log))
    except InkgateError as error:
        # The supervisor says it, once for all workers.
        say_unfit(options.ready, str(error))
        sys.exit(ERROR_STATUS)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="inkgate-icap",
        description="ICAP server of inkgate: services /reqmod and /respmod. SIGHUP reads the "
        "settings again (not the addresses), SIGTERM ends it after what is under way.",
    )
    parser.add_argument("--config", metavar="FILE", help="settings [/etc/inkgate/inkgate.toml]")
    # How the supervisor starts its workers: descriptors that they inherit. The names stay
    # as they are: after an upgrade the supervisor that runs still gives the old ones.
    for option in ("--plain", "--secure"):
        parser.add_argument(option, type=int, action="append", default=[], help=argparse.SUPPRESS)
    for option in ("--vacancy", "--ready"):
        parser.add_argument(option, type=int, help=argparse.SUPPRESS)
    # Contents of files in memory, so that a worker that is started again has what works.
    parser.add_argument("--kept", nargs=2, action="append", default=[], help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
