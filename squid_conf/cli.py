"""The command `inkgate-squid-conf`: what Squid needs to ask inkgate."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import get_args

import click
import msgspec

from inkgate.blocked_page.page import load_pages, missing_pages, write_pages
from inkgate.blocked_page.settings import SquidSettings
from inkgate.blocked_page.template import own_source
from inkgate.config.command import CommandGroup, needs
from inkgate.config.owner import as_owner, refuse_other_owner
from inkgate.config.printable import to_stderr
from inkgate.config.settings_file import load_section, resolve, settings_path
from inkgate.helper.settings import HelperSettings
from inkgate.icap_server.settings import IcapSettings
from inkgate.squid_conf.bump import Bump, Bumping, bumping
from inkgate.squid_conf.caching import cache_lines
from inkgate.squid_conf.check import SQUID_USER, helper_command, helper_problem
from inkgate.squid_conf.fragment import fragment as make_fragment
from inkgate.squid_conf.fragment import name_lines
from inkgate.squid_conf.icap import icap_fragment
from inkgate.squid_conf.launching import Launching, is_placed, place_launcher
from inkgate.squid_conf.minimal import minimal as make_minimal
from inkgate.squid_conf.squid_bugs import bug_lines, installed_squid, version_of


class _Settings(msgspec.Struct, frozen=True):
    config: Path
    icap: bool = False
    bump: Bump = "none"

    @property
    def squid(self) -> SquidSettings:
        return load_section(self.config, "squid_conf", SquidSettings)

    def fragment(self, log: str) -> str:
        settings = self.squid
        asked = self._icap_fragment if self.icap else self._helper_fragment
        version = version_of(installed_squid())
        bugs = bug_lines(settings.request_buffer_mib, version, icap=self.icap)
        more = (*cache_lines(settings), *bugs)
        return asked(settings, log) + "".join(f"{line}\n" for line in more)

    def _helper_fragment(self, settings: SquidSettings, log: str) -> str:
        return make_fragment(
            settings,
            launching=self._launching(settings),
            pages=resolve(self.config, settings.pages),
            log=log,
        )

    def _launching(self, settings: SquidSettings) -> Launching:
        return Launching(
            resolve(self.config, settings.launcher), helper_command(), self.config.absolute()
        )

    def warn_of_missing_pages(self) -> None:
        """Without them Squid shows its users an internal error."""
        for path in missing_pages(resolve(self.config, self.squid.pages)):
            to_stderr(
                "inkgate-squid-conf",
                f"warning: {path} is missing, which Squid shows; run inkgate-squid-conf pages",
            )

    def bumping(self) -> Bumping:
        settings = self.squid
        return bumping(
            self.bump,
            authority=resolve(self.config, settings.bump_authority),
            certificates=resolve(self.config, settings.bump_certificates),
            hosts=resolve(self.config, settings.bump_hosts),
            names=() if self.icap else name_lines(settings, self._launching(settings)),
        )

    def _icap_fragment(self, settings: SquidSettings, log: str) -> str:
        icap = load_section(self.config, "icap", IcapSettings)
        squid = installed_squid()
        return icap_fragment(
            service=settings.icap or icap.service,
            fail=icap.fail,
            server_header=icap.server_header,
            name_header=icap.name_header if squid is None or squid.opens_tls else "",
            log=log,
        )


@click.group(
    cls=CommandGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option("--config", metavar="FILE", help="Settings file [/etc/inkgate/inkgate.toml].")
@click.option("--icap", is_flag=True, help="Ask the ICAP server; by itself: print a drop-in.")
@click.option(
    "--bump",
    type=click.Choice(get_args(Bump)),
    default="none",
    show_default=True,
    help="How much of TLS is looked into: only CONNECT, the name too, for the hosts in "
    "[squid_conf] bump_hosts also what is inside, or for all.",
)
@click.version_option(package_name="inkgate")
@click.pass_context
def main(context: click.Context, config: str | None, icap: bool, bump: Bump) -> None:
    """Squid's side: configuration, blocked page, a trial."""
    context.obj = _Settings(settings_path(config), icap, bump)
    if context.invoked_subcommand is None:
        if icap:
            context.invoke(fragment)
        else:
            click.echo(context.get_help())


@main.command()
@click.option(
    "--access-log",
    default="daemon:/var/log/squid/access.log",
    show_default=True,
    help="Log with incident ids; empty to keep the log you have.",
)
@click.pass_obj
def fragment(settings: _Settings, access_log: str) -> None:
    """Print a drop-in (Debian: /etc/squid/conf.d/inkgate.conf).

    As root, the helper is tried as Squid's user first; what it complains about is
    said on standard error.
    """
    squid = settings.squid
    problem = helper_problem(helper_command(), settings.config.absolute(), SQUID_USER)
    if problem:
        to_stderr("inkgate-squid-conf", f"warning: {problem}")
    folder = resolve(settings.config, squid.launcher)
    if not settings.icap and not is_placed(folder):
        to_stderr(
            "inkgate-squid-conf",
            f"warning: {folder} has no launcher of this version, without which Squid gets no "
            "answers; run inkgate-squid-conf launcher",
        )
    if not settings.icap:
        settings.warn_of_missing_pages()
    bump = settings.bumping()
    if bump.port:
        click.echo(f"# Your port: http_port 3128{bump.port}")
    for line in bump.lines:
        click.echo(line)
    click.echo(settings.fragment(access_log), nl=False)


@main.command()
@click.option("--port", default=3128, show_default=True, type=click.IntRange(1, 65_535))
@click.option("--folder", default="/var/spool/squid", show_default=True, help="Logs and PID file.")
@click.pass_obj
def minimal(settings: _Settings, port: int, folder: str) -> None:
    """Print a complete small squid.conf."""
    log = f"stdio:{folder}/access.log"
    click.echo(
        make_minimal(
            port=port,
            folder=Path(folder),
            fragment=settings.fragment(log),
            user=SQUID_USER,
            origin=None,
            bump=settings.bumping(),
        ),
        nl=False,
    )


@main.command()
@click.pass_obj
def launcher(settings: _Settings) -> None:
    """Copy the launcher, which Squid starts, into [squid_conf] launcher.

    It answers as [helper] fail says while the helper cannot start.
    """
    folder = resolve(settings.config, settings.squid.launcher)
    fail = load_section(settings.config, "helper", HelperSettings).fail
    # Squid's user starts what lies there: it must not be what this user put there.
    refuse_other_owner(folder)
    placed = place_launcher(folder, fail)
    click.echo(f"{folder}: {'placed' if placed else 'kept, it is the same'} (launcher)")


@main.command()
@click.option(
    "--show-template", is_flag=True, help="Only print inkgate's template, to make your own of it."
)
@click.pass_obj
def pages(settings: _Settings, show_template: bool) -> None:
    """Write the pages that users see into [squid_conf] pages."""
    if show_template:
        click.echo(own_source(), nl=False)
        return
    squid = settings.squid
    made, folder = load_pages(settings.config, squid), resolve(settings.config, squid.pages)
    with as_owner(folder):
        paths = write_pages(folder, made)
    for path in paths:
        click.echo(path)


@main.command()
@click.option("--state", required=True, metavar="FOLDER", help="Where the trial keeps its files.")
@click.option("--port", default=3128, show_default=True, type=click.IntRange(1, 65_535))
@needs("publisher")
def run(state: str, port: int) -> None:
    """Run a Squid in the foreground that blocks the sample events."""
    # Imported here: it makes rules, which is a publisher's work.
    from inkgate.squid_conf.trial import run_trial  # noqa: PLC0415

    sys.exit(run_trial(Path(state), port))


if __name__ == "__main__":
    main()
