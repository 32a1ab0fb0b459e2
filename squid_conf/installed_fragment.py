"""Inkgate's lines for a Squid that `inkgate squid install` looks after."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from inkgate.blocked_page.settings import FrontEnds, SquidSettings
from inkgate.config.settings_file import load_section, resolve
from inkgate.icap_server.settings import IcapSettings
from inkgate.squid_conf.bypasses import bypass_lines
from inkgate.squid_conf.caching import cache_lines
from inkgate.squid_conf.check import helper_command
from inkgate.squid_conf.configuration import Line
from inkgate.squid_conf.fragment import LOG_FORMAT, fragment
from inkgate.squid_conf.icap import icap_fragment
from inkgate.squid_conf.icap_order import other_services
from inkgate.squid_conf.launching import Launching
from inkgate.squid_conf.order import SELF_TEST, self_test_ports
from inkgate.squid_conf.program import SquidProgram
from inkgate.squid_conf.squid_bugs import bug_lines
from inkgate.squid_conf.tunnels import tunnel_lines
from inkgate.squid_conf.word import SquidConfError, squid_word

HEADER: Final = "# Made by inkgate squid install, which writes it anew: change inkgate.toml."


def installed_fragment(
    config: Path,
    settings: SquidSettings,
    front_ends: FrontEnds,
    *,
    lines: Sequence[Line],
    log: str,
    reply_port: int | None,
    program: SquidProgram,
) -> str:
    """All lines of inkgate's.

    Args:
        config: inkgate.toml.
        settings: its section `[squid_conf]`.
        front_ends: whom Squid is to ask.
        lines: what else squid.conf says.
        log: Squid's access log with incident ids; used if squid.conf names none.
        reply_port: where the check's own server answers; None if it is not known.
        program: the Squid that reads them.

    Raises:
        SettingsError: the settings cannot be used.
        SquidConfError: a path cannot be written in squid.conf, or another ICAP service
            already has what inkgate needs.
    """
    parts = [f"{HEADER}\n"]
    if front_ends != "icap":
        launching = Launching(
            resolve(config, settings.launcher), helper_command(), config.absolute()
        )
        pages = resolve(config, settings.pages)
        parts.append(
            fragment(settings, launching=launching, pages=pages, log="", header="# The helper.")
        )
    if front_ends != "helper":
        parts.append(_icap(config, settings, lines, program))
    bugs = bug_lines(settings.request_buffer_mib, program.version, icap=front_ends != "helper")
    parts += (f"{line}\n" for line in (*cache_lines(settings), *bugs))
    if reply_port is not None:
        parts.append(_self_test(reply_port))
    if log and not has_log(lines):
        parts.append(_log(log, front_ends))
    # As the only access log it would end Squid's own, which is there while none is named.
    if log or has_log(lines):
        parts += (f"{line}\n" for line in _services_logs(config, settings, front_ends))
    return "".join(parts)


def _services_logs(config: Path, settings: SquidSettings, front_ends: FrontEnds) -> list[str]:
    """Logs that are there for inkgate's services."""
    lines = []
    if settings.tunnels:
        lines += tunnel_lines(str(resolve(config, settings.tunnels)))
    # With `closed` Squid lets nothing pass unanswered.
    is_open = load_section(config, "icap", IcapSettings).fail == "open"
    if settings.bypasses and front_ends != "helper" and is_open:
        lines += bypass_lines(str(resolve(config, settings.bypasses)))
    return lines


def has_log(lines: Sequence[Line]) -> bool:
    """Whether squid.conf names an access log itself; a second one would write it twice."""
    return any(line.name in ("access_log", "cache_access_log") for line in lines)


def _icap(
    config: Path, settings: SquidSettings, lines: Sequence[Line], program: SquidProgram
) -> str:
    icap = load_section(config, "icap", IcapSettings)
    service = settings.icap or icap.service
    if others := other_services(lines, service):
        line = others[0]
        raise SquidConfError(
            f"{line.place}: `{line.said}` already sends messages elsewhere, and Squid asks one "
            "service only; write inkgate's services yourself (inkgate-squid-conf --icap), and let "
            "a chain name both (adaptation_service_chain); see docs/squid.md"
        )
    return icap_fragment(
        service=service,
        fail=icap.fail,
        server_header=icap.server_header,
        name_header=icap.name_header if program.opens_tls else "",
        log="",
        header="# The ICAP server.",
    )


def _self_test(port: int) -> str:
    """Lines that let the check reach its own server on this machine, and nobody anything else."""
    ports = "|".join(str(number) for number in self_test_ports(port))
    lines = (
        "# The check's own server, for clients on this machine: inkgate squid check.",
        "acl inkgate_self_client src 127.0.0.1 ::1",
        "acl inkgate_self_method method GET POST",
        rf"acl {SELF_TEST} url_regex ^http://(localhost|127\.0\.0\.1):({ports})/inkgate-check/",
        f"http_access allow inkgate_self_client inkgate_self_method {SELF_TEST}",
    )
    return "\n".join(lines) + "\n"


def _log(log: str, front_ends: FrontEnds) -> str:
    incident = "%{X-Inkgate-Incident}adapt::<last_h"
    if front_ends == "helper":
        form = LOG_FORMAT
    elif front_ends == "icap":
        form = LOG_FORMAT.replace("%ea", incident)
    else:
        form = f"{LOG_FORMAT} inkgate-icap={incident}"
    return (
        "# The incident id, as on the blocked page and in the journal.\n"
        f"logformat inkgate {form}\n"
        f"access_log {squid_word(log)} inkgate\n"
    )
