"""The command `inkgate-helper`, started by Squid (external_acl_type)."""

from __future__ import annotations

import argparse
import fcntl
import functools
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from inkgate.config.settings_file import (
    SettingsError,
    UnknownSectionError,
    load_section,
    settings_path,
)
from inkgate.health.clock import Clock
from inkgate.health.log import dated_log
from inkgate.health.monitor import Monitor
from inkgate.health.settings import HealthSettings, counter_folder
from inkgate.helper.answers import Answers
from inkgate.helper.loop import Helper
from inkgate.helper.own_settings import OwnSettings
from inkgate.helper.reports import Reports
from inkgate.helper.settings import HelperSettings
from inkgate.rules.lookup.freshness import Freshness
from inkgate.rules.lookup.rule_set import RuleSet
from inkgate.sightings.journal.incident import new_incident
from inkgate.sightings.journal.recorder import Recorder

PROGRAM: Final = "inkgate-helper"
_STANDBY: Final = "inkgate-standby"
_SWITCH_SECONDS: Final = 0.0005
# The watcher, the journal's, and the one that helps those that derive.
_OTHER_THREADS: Final = 3


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve Squid on standard input and output until it closes them."""
    options = _parse(arguments)
    config = settings_path(options.config)
    if options.check:
        _check(config)
        return
    folder, refused = _counter_folder(config)
    monitor = Monitor(folder, PROGRAM, log, (_STANDBY,))
    if refused:
        monitor.met("settings-refused", refused)
    settings = _settings(config, options, monitor)
    monitor.state(fail=settings.fail, config=str(config))
    own = OwnSettings(config, monitor)
    stdout = _take_stdout()
    answers = Answers(stdout)
    recorder = Recorder(config, monitor)
    clock = Clock(folder)
    helper = Helper(
        RuleSet(config, settings.cached_keys, settings.key_cache_mib, monitor, clock.now),
        settings,
        answers,
        Reports(recorder.record, new_incident, monitor),
        Freshness(clock, monitor),
        monitor,
        lambda: _begin_anew() if own.are_others() else None,
    )
    # The main loop waits for other threads' Python code a tenth of the default time
    # (docs/decisions/0041).
    sys.setswitchinterval(_SWITCH_SECONDS)
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: _stop_to_end(ending))
    signal.signal(signal.SIGUSR1, lambda *_: _stop_to_begin_anew(helper))
    # Ctrl-C in a terminal sends SIGINT to Squid and its helpers. Squid closes a helper's
    # input when it needs it no more, and that ends the helper.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        helper.run(sys.stdin.fileno())
    except (BrokenPipeError, ConnectionResetError) as error:
        log(f"Squid is gone: {error.strerror}")
    finally:
        recorder.close()
    # Not if it broke off: then `inkgate status` and the next helper say that it died.
    monitor.end()
    if helper.keeps_lines_whole and not ending.is_set():
        log("the settings are others: starting anew with them")
        _become_another(stdout)


log = dated_log(PROGRAM)
"""One line to standard error, which Squid appends to cache.log."""


def _check(config: Path) -> None:
    """Read what a start reads, and say what of it cannot be used.

    Ends the process if there are not so many threads as the helper needs: one that breaks off
    at its start ends Squid in the end, while the standby waits until there are.
    """
    workers = HelperSettings().workers
    for section, kind in (("helper", HelperSettings), ("health", HealthSettings)):
        try:
            found = load_section(config, section, kind, alone=section != "helper")
        except SettingsError as error:
            log(str(error))
        else:
            workers = getattr(found, "workers", workers)
    _try_threads(workers + _OTHER_THREADS)


def _try_threads(count: int) -> None:
    ended = threading.Event()
    try:
        for _ in range(count):
            threading.Thread(target=ended.wait, daemon=True).start()
    except RuntimeError as error:
        log(
            f"{error}: {count} are needed; see which limit is reached (TasksMax, ulimit -u, memory)"
        )
        sys.exit(1)
    finally:
        ended.set()


def _counter_folder(config: Path) -> tuple[Path | None, str]:
    """The folder of the counters, and why there is none."""
    try:
        return counter_folder(config), ""
    except SettingsError as error:
        return None, str(error)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="inkgate-helper",
        description="Squid external_acl_type helper of inkgate.",
        # To ask for the terminal's width, argparse would load all formats of archives.
        formatter_class=functools.partial(argparse.HelpFormatter, width=80),
    )
    parser.add_argument("--config", metavar="FILE", help="settings [/etc/inkgate/inkgate.toml]")
    parser.add_argument(
        "--fail",
        choices=("open", "closed"),
        help="what to answer when inkgate cannot tell; goes before the settings, and "
        "holds even if they cannot be read",
    )
    parser.add_argument(
        "--unreadable",
        choices=("open", "closed"),
        default="open",
        help="what to answer when inkgate cannot tell and its settings cannot be read",
    )
    parser.add_argument(
        "--check", action="store_true", help="start, read the settings, and end at once"
    )
    return parser.parse_args(arguments)


def _take_stdout() -> int:
    """A descriptor for answers alone; what else is printed goes to standard error.

    Squid aborts at a line that is no answer, and a library may print one.
    """
    private = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return private


def _settings(config: Path, options: argparse.Namespace, monitor: Monitor) -> HelperSettings:
    # A helper that ends at its start leaves Squid without answers. So wrong settings are
    # logged, and the defaults are used.
    try:
        settings = _section(config, monitor)
    except SettingsError as error:
        monitor.met("settings-refused", str(error))
        settings = HelperSettings(fail=options.unreadable)
    return msgspec.structs.replace(settings, fail=options.fail) if options.fail else settings


def _section(config: Path, monitor: Monitor) -> HelperSettings:
    try:
        return load_section(config, "helper", HelperSettings)
    except UnknownSectionError as error:
        if "helper" in error.missing:
            # It may be this one: what `fail` says there must not become its default.
            raise
        monitor.met("section-unknown", f"{error}; the other sections count")
        return load_section(config, "helper", HelperSettings, alone=True)


def _begin_anew() -> None:
    """Have the main thread end its work, so that this process can read its settings again."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)


def _stop_to_begin_anew(helper: Helper) -> None:
    helper.keeps_lines_whole = True
    _stop_reading()


def _become_another(stdout: int) -> None:
    """Run this command again in this process: Squid's end of both pipes stays as it is."""
    os.dup2(stdout, 1)
    os.set_blocking(sys.stdin.fileno(), True)
    try:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 (no shell needed)
    except OSError as error:
        # Squid starts another launcher, which answers as `fail` says if there is no Python.
        log(f"critical: process-died: cannot start anew: {sys.executable}: {error.strerror}")
        sys.exit(1)


def _stop_to_end(ending: threading.Event) -> None:
    # Also if the settings have changed in this moment.
    ending.set()
    _stop_reading()


def _stop_reading() -> None:
    fd = sys.stdin.fileno()
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NONBLOCK)


if __name__ == "__main__":
    main()
