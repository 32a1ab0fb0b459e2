"""`inkgate squid check`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click

from inkgate.admin.squid.places import squid_conf_option
from inkgate.admin.squid.report import keep, show
from inkgate.blocked_page.settings import FrontEnds, SquidSettings
from inkgate.config.errors import InkgateError
from inkgate.config.settings_file import load_section, resolve
from inkgate.squid_conf.finding import Finding, exit_status
from inkgate.squid_conf.program import find_squid
from inkgate.squid_conf.through_proxy.client_proxy import ClientProxy, given_proxy, named_proxy
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
    # Who types a password where everybody reads it is told at once.
    given = given_proxy(client_proxy) if client_proxy else None
    findings = checked(config, lambda: squid_conf or find_squid().configuration, given)
    findings += keep(config, findings)
    show(findings, as_json=as_json)
    sys.exit(exit_status(findings))


def checked(
    config: Path,
    squid_conf: Callable[[], Path],
    client: ClientProxy | None = None,
    front_ends: FrontEnds | None = None,
) -> list[Finding]:
    """Check; what hinders it is a finding, too, and kept for `inkgate status` as all are.

    Args:
        client: the proxy as a client has it, if it is not the one that the settings name.
        front_ends: whom Squid is to ask, if not whom the settings name.
    """
    try:
        return check_squid(config, squid_conf(), client or client_of(config), front_ends)
    except InkgateError as error:
        return [Finding("critical", str(error), "correct that, and run inkgate squid check")]


def client_of(config: Path) -> ClientProxy | None:
    """The client's proxy, from a file or the environment.

    Raises:
        InkgateError: it cannot be used.
    """
    file = load_section(config, "squid_conf", SquidSettings).client_proxy_file
    return named_proxy(resolve(config, file) if file else None)
