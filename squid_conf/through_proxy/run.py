"""The whole check: what the lines say, then what the proxy does."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec

from inkgate.blocked_page.settings import FrontEnds, SquidSettings
from inkgate.config.errors import InkgateError
from inkgate.config.settings_file import load_section, resolve
from inkgate.icap_server.settings import IcapSettings
from inkgate.rules.crypto.canaries import canaries
from inkgate.rules.crypto.keys import read_token
from inkgate.rules.lookup.canary_rules import installed_canaries
from inkgate.rules.settings import RulesSettings
from inkgate.squid_conf.bypasses import bypass_findings
from inkgate.squid_conf.caching import cache_findings
from inkgate.squid_conf.configuration import Line, read_configuration
from inkgate.squid_conf.finding import Finding, exit_status
from inkgate.squid_conf.icap import REVIVAL_SECONDS
from inkgate.squid_conf.icap_order import lets_pass
from inkgate.squid_conf.long_agents import agent_findings
from inkgate.squid_conf.order import order_findings, self_test_ports
from inkgate.squid_conf.placed_files import file_findings
from inkgate.squid_conf.ports import Port, ports_of
from inkgate.squid_conf.squid_bugs import bug_findings, installed_squid, version_of
from inkgate.squid_conf.through_proxy.client import Reply, ask
from inkgate.squid_conf.through_proxy.client_proxy import ClientProxy, seen_by_client
from inkgate.squid_conf.through_proxy.icap_answers import CLOSED, icap_finding
from inkgate.squid_conf.through_proxy.icap_answers import REMEDY as ICAP_REMEDY
from inkgate.squid_conf.through_proxy.judge import ORDER, Tried, judge
from inkgate.squid_conf.through_proxy.own_origin import OwnOrigin, own_origin
from inkgate.squid_conf.through_proxy.probes import Probe, Wanted, probes
from inkgate.squid_conf.word import SquidConfError

_AT_ONCE: Final = 32
_MAX_PORTS: Final = 16
_REFRESH: Final = "run inkgate-rules refresh, or install a pack of a newer publisher"


def check(
    config: Path,
    squid_conf: Path,
    client: ClientProxy | None,
    front_ends: FrontEnds | None = None,
) -> list[Finding]:
    """Check squid.conf by its lines and through the proxy.

    Args:
        config: inkgate.toml.
        squid_conf: Squid's configuration file.
        client: the proxy as a client has it, if this machine's own way does not do.
        front_ends: whom Squid is to ask, if not whom the settings name.

    Raises:
        SettingsError: the settings cannot be used.
    """
    settings = load_section(config, "squid_conf", SquidSettings)
    if front_ends is not None:
        settings = msgspec.structs.replace(settings, front_ends=front_ends)
    try:
        lines = read_configuration(squid_conf)
    except SquidConfError as error:
        fault, _, remedy = str(error).partition("; ")
        return [Finding("critical", fault, remedy)]
    service = icap_service(config, settings)
    findings = order_findings(
        lines,
        settings.front_ends,
        replies=settings.replies,
        service=service,
        fail=load_section(config, "icap", IcapSettings).fail,
    )
    findings += file_findings(lines)
    version = version_of(installed_squid())
    findings += cache_findings(lines, settings)
    findings += bypass_findings(lines, settings, service)
    findings += agent_findings(lines)
    findings += bug_findings(lines, settings.request_buffer_mib, version, service=service)
    passed = _through_proxy(config, settings, lines, client)
    if settings.front_ends == "helper":
        return findings + passed
    fails_open = lets_pass(lines, service)
    silent = icap_finding(service, fails_open=fails_open)
    may_be_new = fails_open and silent is None and exit_status(findings) < 2
    if may_be_new and _gets_through(passed):
        # Squid may hold a server to be down that was started a moment ago.
        time.sleep(REVIVAL_SECONDS + 1)
        passed = _through_proxy(config, settings, lines, client)
    gets_through = _gets_through(passed)
    if silent is None or (CLOSED in silent.fault and not gets_through):
        return findings + passed
    return [*findings, silent, *(_because_of_icap(finding) for finding in passed)]


def _gets_through(findings: Iterable[Finding]) -> bool:
    """Whether what is listed does."""
    return any(finding.remedy == ORDER for finding in findings)


def _because_of_icap(finding: Finding) -> Finding:
    """What gets through while the ICAP server is silent is no matter of squid.conf's lines."""
    return finding._replace(remedy=ICAP_REMEDY) if finding.remedy == ORDER else finding


def icap_service(config: Path, settings: SquidSettings) -> str:
    """The ICAP server's address, as Squid is told it.

    Raises:
        SettingsError: section `[icap]` cannot be used.
    """
    return settings.icap or load_section(config, "icap", IcapSettings).service


def _through_proxy(
    config: Path, settings: SquidSettings, lines: Sequence[Line], client: ClientProxy | None
) -> list[Finding]:
    try:
        held = installed_canaries(config)
        rules = load_section(config, "rules", RulesSettings)
        own = canaries(read_token(resolve(config, rules.token_file)))
    except (InkgateError, OSError) as error:
        fault = f"the installed rules cannot be opened, so that nothing listed is known: {error}"
        return [Finding("critical", fault, "run inkgate status")]
    findings = [] if held.any else [_no_canary()]
    ports = seen_by_client(ports_of(lines), client)
    findings += _of_ports(ports)
    with ExitStack() as stack:
        listed_port, free_port = self_test_ports(own.reply_port)
        listed = stack.enter_context(own_origin(listed_port, own.body))
        free = stack.enter_context(own_origin(free_port, own.body))
        if listed is None and held.reply:
            findings.append(_port_taken(listed_port, "listed addresses were"))
        if free is None:
            findings.append(_port_taken(free_port, "files, and a server that is not listed, were"))
        wanted = Wanted(
            own=own,
            held=held,
            replies=settings.replies or settings.front_ends != "helper",
            digests=settings.front_ends != "helper",
            listed=listed,
            free=free,
            workers=workers_of(lines),
        )
        tried = [port for port in ports if not port.untried][:_MAX_PORTS]
        origins = [origin for origin in (listed, free) if origin]
        return findings + _try_all(tried, wanted, origins, client)


def workers_of(lines: Iterable[Line]) -> int:
    """Squid's worker processes (SMP)."""
    found = [line.words[0] for line in lines if line.name == "workers" and line.words]
    return int(found[-1]) if found and found[-1].isdecimal() else 1


def _try_all(
    ports: Sequence[Port], wanted: Wanted, origins: Sequence[OwnOrigin], client: ClientProxy | None
) -> list[Finding]:
    authorization = client.authorization if client else ""
    asked: list[tuple[Port, Probe]] = [(port, probe) for port in ports for probe in probes(wanted)]

    def try_one(pair: tuple[Port, Probe]) -> Reply:
        return ask(pair[0], pair[1].ask, authorization)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        replies = list(pool.map(try_one, asked))
    findings: list[Finding] = []
    for port in ports:
        tried = [
            Tried(probe, reply, _seen(probe, origins), bool(authorization))
            for (where, probe), reply in zip(asked, replies, strict=True)
            if where is port
        ]
        findings += judge(port, tried)
    return findings


def _seen(probe: Probe, origins: Iterable[OwnOrigin]) -> int | None:
    if not probe.path:
        return None
    return next((n for o in origins if (n := o.seen(probe.path)) is not None), None)


def _of_ports(ports: Sequence[Port]) -> Iterable[Finding]:
    for port in ports:
        if port.untried:
            yield Finding(
                "note",
                f"{port.name}: {port.untried}, and cannot be tried from here; the order of lines "
                "holds for it, too",
                "ask for a listed name from a client that goes through it",
            )
    if not [port for port in ports if not port.untried]:
        yield Finding(
            "warning",
            "no port of squid.conf can be tried from this machine",
            "give the proxy's address as a client has it with --client-proxy",
        )
    elif len(ports) > _MAX_PORTS:
        text = f"{len(ports)} ports; only the first {_MAX_PORTS} were tried"
        yield Finding("warning", text, "try the others with --client-proxy")


def _no_canary() -> Finding:
    return Finding(
        "warning",
        "the installed rules hold no canary, for they were made by an older publisher: only "
        "lines and neighbours were checked, and nobody saw a listed request refused",
        _REFRESH,
    )


def _port_taken(port: int, what: str) -> Finding:
    return Finding(
        "warning",
        f"another program listens on port {port} of this machine's loopback, where the check's "
        f"own server has to answer: {what} not tried",
        f"see which one (ss -ltnp 'sport = :{port}'); if it is another check, run this one again",
    )
