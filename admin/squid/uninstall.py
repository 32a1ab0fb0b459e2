"""`inkgate squid uninstall`."""

from __future__ import annotations

from pathlib import Path

import click

from inkgate.admin.squid.places import fragment_option, site_of, squid_conf_option
from inkgate.admin.squid.report import keep
from inkgate.config.errors import InkgateError
from inkgate.config.printable import to_stderr
from inkgate.squid_conf.finding import Finding
from inkgate.squid_conf.placing.root_files import BACKUPS
from inkgate.squid_conf.placing.site import carry_out, uninstall_changes
from inkgate.squid_conf.program import find_squid


@click.command()
@squid_conf_option
@fragment_option
@click.option("--no-reload", is_flag=True, help="Do not tell Squid.")
@click.pass_obj
def uninstall(
    config: Path, squid_conf: Path | None, fragment: Path | None, no_reload: bool
) -> None:
    """Take inkgate's lines out of squid.conf.

    Removes the include line and the file with inkgate's lines; Squid parses what is left
    before and after, and is reconfigured. Rules, keys, settings, launcher and pages stay.
    From then on nothing is blocked.
    """
    program = find_squid()
    site = site_of(program, squid_conf, fragment)
    changes = uninstall_changes(site)
    if not changes:
        click.echo(f"{site.conf.path}: has no line of inkgate's")
        return
    carry_out(program, site, changes)
    for change in changes:
        click.echo(f"{change.path}: {'removed' if change.data is None else 'written'}")
    click.echo(f"as it was: {site.conf.path.parent / BACKUPS}")
    _keep(config)
    if no_reload or not program.is_running(site.conf.path):
        click.echo("Squid was not told: run squid -k reconfigure, or start it")
        return
    program.reconfigure(site.conf.path)
    click.echo("Squid no longer asks inkgate")


def _keep(config: Path) -> None:
    """Let `inkgate status` say that nothing is blocked; settings may be gone by now."""
    fault = "inkgate was taken out of squid.conf: nothing is blocked"
    try:
        kept = keep(config, [Finding("critical", fault, "inkgate squid install puts it back")])
    except InkgateError as error:
        to_stderr("inkgate", f"warning: {error}")
        return
    for finding in kept:
        to_stderr("inkgate", f"warning: {finding.fault}; {finding.remedy}")
