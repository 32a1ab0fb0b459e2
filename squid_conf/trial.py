"""A trial: sample events, a token, and a Squid in the foreground that blocks them."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
import zlib
from contextlib import suppress
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

from inkgate.blocked_page.page import load_pages, write_pages
from inkgate.blocked_page.settings import SquidSettings
from inkgate.config.errors import InkgateError
from inkgate.config.modes import make_folder
from inkgate.config.printable import to_stderr
from inkgate.config.progress import progress_bar
from inkgate.config.settings_file import load_section, resolve
from inkgate.config.whole_file import create_once, new_folder, write_whole
from inkgate.health.settings import counter_folder
from inkgate.helper.settings import HelperSettings
from inkgate.rules.crypto.keys import make_signing_key, make_token
from inkgate.rules.paths import rules_paths
from inkgate.rules.refresh.refresh import refresh
from inkgate.rules.settings import RulesSettings
from inkgate.squid_conf.check import SQUID_USER, helper_command
from inkgate.squid_conf.fragment import fragment
from inkgate.squid_conf.launching import Launching, place_launcher
from inkgate.squid_conf.minimal import minimal
from inkgate.squid_conf.new_rules import NewRules
from inkgate.squid_conf.origin import start_origin
from inkgate.squid_conf.squid_bugs import bug_lines, installed_squid, version_of

_START_SECONDS: Final = 30
_LOOK_SECONDS: Final = 0.5
_SETTINGS: Final = """\
# The trial's settings; `make refresh-rules` reads them again.
[rules]
sources = ["events"]
publisher = "publisher"
installed = "rules"
token_file = "token"
public_key_file = "publisher.pub"
key_cache = "run/keys"
# The samples use names and addresses that are reserved for examples; MISP's
# warninglists would keep them from ever being sealed.
warninglists = { default = "off" }

[helper]
fail = "open"

[health]
folder = "run/health"

[sightings]
journal = "run/sightings.db"

[squid_conf]
organisation = "The organisation that runs this proxy"
contact = "security@organisation.example"
pages = "pages"
# So that what you add is blocked as soon as the helper knows it.
negative_ttl = 1
"""


class TrialError(InkgateError):
    """The trial cannot run; says what is missing and how to get it."""


def run_trial(state: Path, port: int) -> int:
    """Set up the state folder if need be and run Squid until it ends or is interrupted.

    Returns:
        An exit status.

    Raises:
        TrialError: Squid is missing, the port is taken, or Squid did not start.
    """
    squid = shutil.which("squid", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if squid is None:
        raise TrialError("squid is not installed; on Debian: apt-get install squid-openssl")
    _check_port(port)
    _end_with_the_terminal()
    state = state.resolve()
    config = _prepare(state)
    origin = start_origin()
    conf = _configure(state, config, port, origin)
    # In a session of its own, without this terminal: Squid runs as its own user, who may hold
    # it (ptrace(2)) and could type into the shell of root, who started the trial (TIOCSTI).
    process = subprocess.Popen(
        [squid, "-N", "-f", str(conf), "-n", _service(state)], start_new_session=True
    )
    try:
        _wait_until_up(process, port, state)
        _say(state, port, origin)
        return _wait(process, _new_rules(config))
    except KeyboardInterrupt:
        return 0
    finally:
        _stop(process)


def _prepare(state: Path) -> Path:
    """Make the folders, keys and settings that are not there yet, and the rules."""
    user = _squid_user()
    for name, mode, owner in (
        (".", 0o2750, 0),
        ("rules", 0o2750, 0),
        ("pages", 0o2755, 0),
        ("run", 0o2750, user),
        ("squid", 0o2750, user),
    ):
        _folder(state / name, mode, owner)
    config = state / "inkgate.toml"
    create_once(config, _SETTINGS.encode(), 0o640)
    config.chmod(0o640)
    if not (state / "events").exists():
        samples = files("inkgate.rules").joinpath("samples")
        with as_file(samples) as source, new_folder(state / "events", 0o700) as events:
            shutil.copytree(source, events, dirs_exist_ok=True)
    settings = load_section(config, "rules", RulesSettings)
    where = rules_paths(config, settings)
    make_token(where.token_file)
    make_signing_key(where.publisher, where.public_key_file)
    with progress_bar(quiet=False, spoken="inkgate-squid-conf") as bar:
        summary = refresh(config, settings, bar)
    print(f"{summary.rules} rules in use, {summary.done.new} of them new.")  # noqa: T201
    return config


def _configure(state: Path, config: Path, port: int, origin: int) -> Path:
    settings = load_section(config, "squid_conf", SquidSettings)
    pages = resolve(config, settings.pages)
    write_pages(pages, load_pages(config, settings))
    launcher = state / "launcher"
    place_launcher(launcher, load_section(config, "helper", HelperSettings).fail)
    squid = state / "squid"
    write_whole(squid / "hosts", b"127.0.0.1 localhost neighbour.example\n", 0o644)
    lines = fragment(
        settings,
        launching=Launching(launcher, helper_command(), config),
        pages=pages,
        log=f"stdio:{squid}/access.log",
    )
    version = version_of(installed_squid())
    bugs = bug_lines(settings.request_buffer_mib, version, icap=False)
    lines += "".join(f"{line}\n" for line in bugs)
    conf = state / "squid.conf"
    text = minimal(
        port=port,
        folder=squid,
        fragment=lines,
        user=SQUID_USER if os.getuid() == 0 else None,
        origin=origin,
    )
    write_whole(conf, text.encode(), 0o644)
    return conf


def _folder(path: Path, mode: int, owner: int) -> None:
    make_folder(path, mode)
    if os.getuid() == 0:
        os.chown(path, owner, grp.getgrnam(SQUID_USER).gr_gid)
    path.chmod(mode)


def _squid_user() -> int:
    if os.getuid() != 0:
        return os.getuid()
    try:
        return pwd.getpwnam(SQUID_USER).pw_uid
    except KeyError:
        raise TrialError(f"there is no user {SQUID_USER!r}, which Squid needs under root") from None


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise TrialError(
                f"port {port} on 127.0.0.1 cannot be used ({error.strerror}); stop what listens "
                "there (a Squid service: systemctl stop squid), or make run PORT=3129"
            ) from None


def _service(state: Path) -> str:
    # Two Squids on one machine must not share their memory segments' names.
    return f"inkgate{zlib.crc32(os.fsencode(state)):08x}"


def _wait_until_up(process: subprocess.Popen[bytes], port: int, state: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    log = state / "squid" / "cache.log"
    for line in log.read_text("utf-8", "replace").splitlines()[-15:] if log.exists() else ():
        to_stderr("squid", line)
    raise TrialError(f"Squid did not start; above is the end of {log}")


def _say(state: Path, port: int, origin: int) -> None:
    proxy = f"curl -x 127.0.0.1:{port}"
    sightings = helper_command().with_name("inkgate-sightings")
    print(  # noqa: T201
        f"""
inkgate is running: Squid listens on 127.0.0.1:{port}. Try, in another terminal:

  blocked:      {proxy} http://files.example/malware/payload.exe
  not blocked:  {proxy} http://files.example/harmless.txt

More: {proxy} http://www.listed.example/ is blocked, too; CONNECT works with
  {proxy} -p http://neighbour.example:{origin}/
Put MISP event JSON or CSV files into {state}/events, then: make refresh-rules
(this terminal says when the new rules work)
Log of requests: {state}/squid/access.log
Sightings:       {sightings} --config {state}/inkgate.toml list
Ctrl-C ends it.
""",
        flush=True,
    )


def _new_rules(config: Path) -> NewRules:
    rules = load_section(config, "rules", RulesSettings)
    return NewRules(
        rules_paths(config, rules).installed,
        counter_folder(config) or config,
        rules,
        load_section(config, "squid_conf", SquidSettings).negative_ttl,
        lambda text: print(text, flush=True),  # noqa: T201
    )


def _wait(process: subprocess.Popen[bytes], new_rules: NewRules) -> int:
    """Wait for Squid's end; its exit status."""
    while True:
        try:
            return process.wait(_LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            new_rules.look()


def _end_with_the_terminal() -> None:
    """End at Ctrl-C, SIGTERM and a closed terminal, and then end Squid, which ends its helpers.

    Squid itself takes SIGHUP for "read your configuration again".
    """
    # SIGINT too: a shell that starts us in the background has it ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    # Who ignores it (nohup) wants to close the terminal and go on.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _interrupt)


def _interrupt(_signal: int, _frame: object) -> None:
    # A second one must not keep us from ending Squid.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
