"""The command `inkgate-squid-conf`: what Squid needs to ask inkgate."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from helper.settings import HelperSettings
from rules.command import OneLineErrors
from rules.refresh import RefreshError
from rules.settings import load_section, resolve, settings_path
from squid_conf.check import helper_problem
from squid_conf.fragment import fragment as make_fragment
from squid_conf.minimal import minimal as make_minimal
from squid_conf.page import write_pages
from squid_conf.settings import SquidSettings
from squid_conf.trial import SQUID_USER, TrialError, helper_command, run_trial


class _Group(OneLineErrors):
    expected = (*OneLineErrors.expected, TrialError, RefreshError, ValueError)


class _Settings(msgspec.Struct, frozen=True):
    config: Path

    @property
    def squid(self) -> SquidSettings:
        return load_section(self.config, "squid_conf", SquidSettings)

    def fragment(self, log: str) -> str:
        settings = self.squid
        return make_fragment(
            settings,
            helper=helper_command(),
            config=self.config.absolute(),
            pages=resolve(self.config, settings.pages),
            fail=load_section(self.config, "helper", HelperSettings).fail,
            log=log,
        )


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", metavar="FILE", help="Settings file [/etc/inkgate/inkgate.toml].")
@click.version_option(package_name="inkgate")
@click.pass_context
def main(context: click.Context, config: str | None) -> None:
    """Squid's side: configuration, blocked page, a trial."""
    context.obj = _Settings(settings_path(config))


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
    problem = helper_problem(helper_command(), settings.config.absolute(), SQUID_USER)
    if problem:
        click.echo(f"inkgate-squid-conf: warning: {problem}", err=True)
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
        ),
        nl=False,
    )


@main.command()
@click.pass_obj
def pages(settings: _Settings) -> None:
    """Write the blocked page into [squid_conf] pages."""
    squid = settings.squid
    folder = resolve(settings.config, squid.pages)
    click.echo(write_pages(folder, squid.organisation, squid.contact))


@main.command()
@click.option("--state", required=True, metavar="FOLDER", help="Where the trial keeps its files.")
@click.option("--port", default=3128, show_default=True, type=click.IntRange(1, 65_535))
def run(state: str, port: int) -> None:
    """Run a Squid in the foreground that blocks the sample events."""
    sys.exit(run_trial(Path(state), port))


if __name__ == "__main__":
    main()
