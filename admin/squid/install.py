"""`inkgate squid install`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import click

from inkgate.admin.squid.check import checked
from inkgate.admin.squid.places import fragment_option, site_of, squid_conf_option
from inkgate.admin.squid.report import keep, show
from inkgate.admin.status.sections import SECTIONS
from inkgate.blocked_page.page import load_pages, write_pages
from inkgate.blocked_page.settings import FrontEnds, SquidSettings
from inkgate.config.printable import to_stderr
from inkgate.config.settings_file import load_section, resolve
from inkgate.helper.settings import HelperSettings
from inkgate.rules.crypto.canaries import canaries
from inkgate.rules.crypto.keys import read_token
from inkgate.rules.settings import RulesSettings
from inkgate.squid_conf.check import helper_command, helper_problem
from inkgate.squid_conf.finding import Finding, exit_status
from inkgate.squid_conf.installed_fragment import has_log, installed_fragment
from inkgate.squid_conf.launching import place_launcher
from inkgate.squid_conf.placing.root_files import real_file
from inkgate.squid_conf.placing.site import Site, carry_out, install_changes
from inkgate.squid_conf.program import SquidProgram, find_squid, user_of

# Squid closes its ports for a moment, and starts helpers; rules seen as clean before are
# asked about again after negative_ttl.
_SETTLE_SECONDS: Final = 20.0
_AGAIN_SECONDS: Final = 1.0
_NOT_TOLD: Final = "Squid was not told: run squid -k reconfigure, then inkgate squid check"
_NOT_RUNNING: Final = (
    "Squid is not running: start it (Debian: systemctl start squid), then run inkgate squid check"
)


@click.command()
@click.option("--helper", "front_ends", flag_value="helper", help="Ask the helper.")
@click.option("--icap", "front_ends", flag_value="icap", help="Ask the ICAP server.")
@click.option("--both", "front_ends", flag_value="both", help="Ask both.")
@squid_conf_option
@fragment_option
@click.option(
    "--access-log",
    default="daemon:/var/log/squid/access.log",
    show_default=True,
    help="Log with incident ids, if squid.conf names none; empty for none.",
)
@click.option("--no-reload", is_flag=True, help="Do not tell Squid, and do not check.")
@click.pass_obj
def install(
    config: Path,
    front_ends: FrontEnds | None,
    squid_conf: Path | None,
    fragment: Path | None,
    access_log: str,
    no_reload: bool,
) -> None:
    """Have Squid ask inkgate before it lets a request through.

    Writes inkgate's lines to a file of their own, and one include line into squid.conf
    before every line that allows something; places launcher and blocked page; has Squid
    parse all of it before and after, and puts everything back if it does not take it.
    Then Squid is reconfigured and checked through the proxy: exit status as of `check`.
    Run again after each change of [squid_conf]; what is there already stays.
    """
    settings = _settings(config)
    chosen = front_ends or settings.front_ends
    program = find_squid()
    site = site_of(program, squid_conf, fragment)
    is_changed = _put_in_place(config, settings, chosen, program, site, access_log)
    _say_what_is_left(site, access_log)
    known = [] if chosen == settings.front_ends else [_other_front_ends(settings, chosen)]
    if no_reload or not program.is_running(site.conf.path):
        click.echo(_NOT_TOLD if no_reload else _NOT_RUNNING)
        if known:
            show(known)
        sys.exit(0 if no_reload else 1)
    check = partial(checked, config, lambda: site.conf.path, front_ends=chosen)
    findings = _reload_and_check(program, site.conf.path, check, is_changed=is_changed) + known
    findings += keep(config, findings)
    show(findings)
    sys.exit(exit_status(findings))


def _put_in_place(
    config: Path,
    settings: SquidSettings,
    chosen: FrontEnds,
    program: SquidProgram,
    site: Site,
    access_log: str,
) -> bool:
    """Write lines, pages and launcher; whether anything is another now."""
    text = installed_fragment(
        config,
        settings,
        chosen,
        lines=site.lines,
        log=access_log,
        reply_port=canaries(_token(config)).reply_port,
        program=program,
    )
    changes = install_changes(site, text)
    click.echo(f"Squid {program.version}, {site.conf.path}")
    is_replaced = _place_files(config, settings, chosen, user_of(program, site.lines))
    if changes:
        carry_out(program, site, changes)
    for change in changes:
        click.echo(f"{change.path}: {'removed' if change.data is None else 'written'}")
    if not changes:
        click.echo(f"{site.named}: all lines are there")
    return bool(changes) or is_replaced


def _settings(config: Path) -> SquidSettings:
    # What a misspelt key in any section would stop is not to be found out by Squid.
    for name, kind in SECTIONS.items():
        load_section(config, name, kind)
    return load_section(config, "squid_conf", SquidSettings)


def _token(config: Path) -> bytes:
    rules = load_section(config, "rules", RulesSettings)
    return read_token(resolve(config, rules.token_file))


def _place_files(config: Path, settings: SquidSettings, chosen: FrontEnds, user: str) -> bool:
    """Place pages and launcher; whether any is another one now, which Squid has to be told."""
    pages = resolve(config, settings.pages)
    real_file(pages / "page")
    before = _contents(pages)
    write_pages(pages, load_pages(config, settings))
    is_replaced = _contents(pages) != before
    if chosen == "icap":
        return is_replaced
    folder = resolve(config, settings.launcher)
    real_file(folder / "launcher")
    is_replaced |= place_launcher(folder, load_section(config, "helper", HelperSettings).fail)
    if problem := helper_problem(helper_command(), config.absolute(), user):
        to_stderr("inkgate", f"warning: {problem}")
    return is_replaced


def _contents(folder: Path) -> dict[Path, bytes]:
    if not folder.is_dir():
        return {}
    return {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def _other_front_ends(settings: SquidSettings, chosen: FrontEnds) -> Finding:
    return Finding(
        "warning",
        f'Squid asks what --{chosen} says, and the settings say "{settings.front_ends}", which '
        "the next check will want",
        f'set front_ends = "{chosen}" in [squid_conf]',
    )


def _say_what_is_left(site: Site, access_log: str) -> None:
    if access_log and has_log(site.lines):
        click.echo(
            "squid.conf names its access log: for incident ids add inkgate=%ea (helper) or "
            "inkgate=%{X-Inkgate-Incident}adapt::<last_h (ICAP) to its logformat"
        )


def _reload_and_check(
    program: SquidProgram, conf: Path, check: Callable[[], list[Finding]], *, is_changed: bool
) -> list[Finding]:
    if is_changed:
        program.reconfigure(conf)
    findings = _settled(check)
    if exit_status(findings) == 2 and not is_changed:
        # Somebody wrote the lines and did not tell Squid.
        program.reconfigure(conf)
        findings = _settled(check)
    return findings


def _settled(check: Callable[[], list[Finding]]) -> list[Finding]:
    """Check until nothing is critical any more, or Squid had time enough."""
    until = time.monotonic() + _SETTLE_SECONDS
    while exit_status(findings := check()) == 2 and time.monotonic() < until:
        time.sleep(_AGAIN_SECONDS)
    return findings
