"""Whether squid.conf sends every message to inkgate's ICAP server, read from its lines.

At each point (before a request goes out, when a response has come) Squid takes the first
service, set or chain whose `adaptation_access` fits, and no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from inkgate.icap_server.settings import Fail
from inkgate.squid_conf.configuration import Line
from inkgate.squid_conf.finding import Finding

_POINTS: Final = {"reqmod_precache": "requests", "respmod_precache": "responses"}
# Of a set only one service is asked, of a chain all.
_CHAIN: Final = "adaptation_service_chain"
# Squid's default with bypass=on is on-overload=bypass.
_BYPASS: Final = {"bypass=on", "bypass=1"}
_MOST_SECONDS: Final = 5
_INSTALL: Final = "run inkgate squid install"


def our_services(lines: Sequence[Line], service: str) -> list[Line]:
    """The `icap_service` lines that name inkgate's server.

    Args:
        service: its address, as in `icap://127.0.0.1:1344`.
    """
    return [
        line
        for line in lines
        if line.name == "icap_service" and any(_is_below(word, service) for word in line.words[2:])
    ]


def lets_pass(lines: Sequence[Line], service: str) -> bool:
    """Whether Squid lets messages pass while inkgate's server does not answer."""
    return any(map(_bypasses, our_services(lines, service)))


def icap_findings(
    lines: Sequence[Line], service: str, helper: Line | None, fail: Fail
) -> Iterable[Finding]:
    """All reasons why messages would not reach the ICAP server.

    Args:
        lines: the configuration.
        service: its address.
        helper: the line that asks the helper about requests, if there is one.
        fail: what is to happen to messages that it does not answer.
    """
    ours = our_services(lines, service)
    if not ours:
        yield _no_service(service, helper)
        return
    yield from _switched_off(lines)
    yield from _in_failure(ours, fail)
    yield from _by_many(lines, ours)
    yield from _slow(lines)
    for point, what in _POINTS.items():
        yield from _at_point(lines, point, what, {line.words[0] for line in ours})


def other_services(lines: Sequence[Line], service: str) -> list[Line]:
    """`adaptation_access` lines that send messages elsewhere, and not to inkgate as well."""
    ours = {line.words[0] for line in our_services(lines, service)}
    groups = _groups(lines)
    return [
        line
        for line in lines
        if line.name == "adaptation_access"
        and line.words[1:2] == ("allow",)
        and not ours & groups.get(line.words[0], {line.words[0]})
    ]


def _no_service(service: str, helper: Line | None) -> Finding:
    if helper is not None:
        return Finding(
            "critical",
            f"{helper.place}: Squid asks the helper only, and the settings want ICAP",
            f'{_INSTALL}, or set front_ends = "helper" in [squid_conf] if the helper is meant',
        )
    text = f"no icap_service line of squid.conf names {service}: Squid does not ask inkgate"
    return Finding("critical", text, _INSTALL)


def _switched_off(lines: Sequence[Line]) -> Iterable[Finding]:
    enabled = [line for line in lines if line.name == "icap_enable"]
    if not enabled or enabled[-1].words[:1] != ("on",):
        place = enabled[-1].place if enabled else "squid.conf"
        fault = f"{place}: ICAP is switched off: no message reaches inkgate"
        yield Finding("critical", fault, "set icap_enable on, and no other icap_enable after it")


def _bypasses(line: Line) -> bool:
    said = [word for word in line.words if word.startswith("bypass=")]
    return bool(said) and said[-1] in _BYPASS


def _in_failure(ours: Sequence[Line], fail: Fail) -> Iterable[Finding]:
    """Whether Squid does what the setting says while the server does not answer."""
    for line in ours:
        if _bypasses(line) and fail == "closed":
            yield Finding(
                "critical",
                f"{line.place}: icap_service {line.words[0]} has bypass=on: messages pass while "
                'the ICAP server does not answer, although [icap] fail = "closed"',
                _INSTALL,
            )
        elif not _bypasses(line) and fail == "open":
            yield Finding(
                "warning",
                f"{line.place}: icap_service {line.words[0]} has bypass=off: messages are refused "
                'while the ICAP server does not answer, although [icap] fail = "open"',
                _INSTALL,
            )


def _by_many(lines: Sequence[Line], ours: Sequence[Line]) -> Iterable[Finding]:
    """How one client can have the messages of all others pass."""
    limit = _last(lines, "icap_service_failure_limit")
    if limit is None or limit.words[:1] != ("-1",):
        place = limit.place if limit else "squid.conf"
        yield Finding(
            "critical",
            f"{place}: icap_service_failure_limit is not -1: some messages that fail, of any "
            "client, switch inkgate off for everybody for half a minute",
            f"set icap_service_failure_limit -1, and no other after it, or {_INSTALL}",
        )
    for line in ours:
        if "on-overload=bypass" in line.words or (
            _bypasses(line) and not any(w.startswith("on-overload=") for w in line.words)
        ):
            yield Finding(
                "critical",
                f"{line.place}: messages pass unseen while one client uses all connections",
                f"add on-overload=wait to icap_service {line.words[0]}, or {_INSTALL}",
            )


def _slow(lines: Sequence[Line]) -> Iterable[Finding]:
    for name in ("icap_connect_timeout", "icap_io_timeout"):
        line = _last(lines, name)
        if line is None or not _is_short(line.words):
            place = line.place if line else "squid.conf"
            yield Finding(
                "warning",
                f"{place}: {name} is not 1 to {_MOST_SECONDS} seconds: requests hang while the "
                "ICAP server is stopped or unreachable",
                _INSTALL,
            )


def _is_short(words: Sequence[str]) -> bool:
    return (
        words[0].isdigit()
        and 1 <= int(words[0]) <= _MOST_SECONDS
        and (len(words) == 1 or words[1] in ("second", "seconds"))
    )


def _last(lines: Sequence[Line], name: str) -> Line | None:
    """The line of a name that counts: Squid takes the last one."""
    found = [line for line in lines if line.name == name and line.words]
    return found[-1] if found else None


def _at_point(lines: Sequence[Line], point: str, what: str, ours: set[str]) -> Iterable[Finding]:
    groups = _groups(lines)
    here = {
        line.words[0]
        for line in lines
        if line.name == "icap_service" and line.words[1:2] == (point,)
    }
    for line in lines:
        if line.name != "adaptation_access" or len(line.words) < 2:
            continue
        members = groups.get(line.words[0], {line.words[0]})
        if members.isdisjoint(here):
            continue
        is_ours = not members.isdisjoint(ours & here)
        if not is_ours and line.words[1] == "deny":
            continue
        finding = _of_access(line, what, is_ours=is_ours)
        if finding is None:
            return
        yield finding
        if line.words[1] == "allow" and line.words[2:] == ("all",):
            return
    fault = f"no adaptation_access line sends all {what} to inkgate"
    yield Finding("critical", fault, _INSTALL)


def _of_access(line: Line, what: str, *, is_ours: bool) -> Finding | None:
    """What is wrong with a line that comes before all else is inkgate's; None if it is that."""
    is_allowed = line.words[1] == "allow"
    if not is_ours:
        return Finding(
            "critical",
            f"{line.place}: `{line.said}` comes before inkgate's: {what} that it fits go to that "
            "service and never to inkgate",
            "let a chain name both (adaptation_service_chain), and give the chain the access",
        )
    if is_allowed and line.words[2:] == ("all",) and not line.conditions:
        return None
    return Finding(
        "critical",
        f"{line.place}: `{line.said}` keeps {what} from inkgate",
        f"let the first adaptation_access of inkgate's service be `{line.words[0]} allow all`, "
        "outside of any `if`",
    )


def _groups(lines: Sequence[Line]) -> dict[str, set[str]]:
    """The members of each chain."""
    return {
        line.words[0]: {line.words[0], *line.words[1:]}
        for line in lines
        if line.name == _CHAIN and line.words
    }


def _is_below(word: str, service: str) -> bool:
    url = word.removeprefix("uri=")
    return url == service or url.startswith(f"{service.rstrip('/')}/")
