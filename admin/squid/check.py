"""`inkgate squid check`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click

from inkgate.admin.squid.places import squid_conf_option
from inkgate.admin.squid.report import keep, show
from inkgate.blocked_page.settings import SquidSettings
from inkgate.config.errors import InkgateError
from inkgate.config.settings_file import load_section, resolve
from inkgate.squid_conf.finding import Finding, exit_status
from inkgate.squid_conf.program import find_squid
from inkgate.squid_conf.through_proxy.client_proxy import ClientProxy, client_proxy
from inkgate.squid_conf.through_proxy.run import check as check_squid


@click.command()
@squid_conf_option
@click.option(
    "--client-proxy",
    metavar="URL",
    help="The proxy as a client has it, without a password. With one: a file, named in "
    "[squid_conf] client_proxy_file, or $INKGATE_CLIENT_PROXY.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.pass_obj
def check(config: Path, squid_conf: Path | None, client_proxy: str | None, as_json: bool) -> None:
    """Check, by squid.conf's lines and through the proxy, that it blocks.

    Asks for canaries, which each rule set lists and nobody else asks for, and for names beside
    them. Exit status as monitoring plug-ins have it: 0 all is well, 1 warning, 2 critical.
    """
    client = client_of(config, client_proxy)
    findings = checked(config, lambda: squid_conf or find_squid().configuration, client)
    findings += keep(config, findings)
    show(findings, as_json=as_json)
    sys.exit(exit_status(findings))


def checked(
    config: Path, squid_conf: Callable[[], Path], client: ClientProxy | None
) -> list[Finding]:
    """Check; what hinders it is a finding, too, and kept for `inkgate status` as all are."""
    try:
        return check_squid(config, squid_conf(), client)
    except InkgateError as error:
        return [Finding("critical", str(error), "correct that, and run inkgate squid check")]


def client_of(config: Path, given: str | None) -> ClientProxy | None:
    """The client's proxy, from the command line, a file or the environment.

    Raises:
        InkgateError: it cannot be used.
    """
    file = load_section(config, "squid_conf", SquidSettings).client_proxy_file
    return client_proxy(given, resolve(config, file) if file else None)
