"""What the answers to the check's requests mean, and what to change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from inkgate.squid_conf.finding import Finding
from inkgate.squid_conf.ports import Port
from inkgate.squid_conf.through_proxy.client import Reply
from inkgate.squid_conf.through_proxy.probes import Probe

_LOGIN: Final = 407
_ICAP_FAILED: Final = "ERR_ICAP_FAILURE"
_GIVE_CLIENT: Final = (
    "give the proxy's address as a client has it with --client-proxy, or in "
    "[squid_conf] client_proxy_file with user and password"
)
_STATUS: Final = "run inkgate status, and look into Squid's cache.log"
ORDER: Final = (
    "correct what is said above of squid.conf; if nothing is, run squid -k reconfigure, and see "
    "with inkgate status whether helpers answer with these rules"
)
"""Remedy where what is listed gets through."""


class Tried(NamedTuple):
    """A request and what became of it.

    Attributes:
        reply: what the proxy answered.
        body_bytes: bytes of a body that reached our origin; None if nothing did.
        is_logged_in: whether it was sent with user and password.
    """

    probe: Probe
    reply: Reply
    body_bytes: int | None
    is_logged_in: bool = False

    @property
    def is_silent(self) -> bool:
        """Whether Squid looked for a server until the time was over."""
        return self.reply.status == 0

    @property
    def ended(self) -> str:
        """How it ended, for a message."""
        if self.body_bytes is not None:
            return f"{self.reply.status}, and the server got it"
        if self.is_silent:
            return "no answer: Squid was looking for the server"
        if self.reply.status >= 500:
            return f"{self.reply.status}: Squid looked for the server"
        return str(self.reply.status)


def judge(port: Port, tried: Sequence[Tried]) -> list[Finding]:
    """What one port's answers mean."""
    if tried and all(one.reply.status < 0 for one in tried):
        text = f"{port.name}: nothing listens at {port.host}:{port.number}"
        return [
            Finding("critical", text, "start Squid, or reconfigure it: squid -k reconfigure"),
        ]
    findings: list[Finding] = []
    left = list(tried)
    for case in _CASES:
        hit = [one for one in left if case.fits(one)]
        left = [one for one in left if one not in hit]
        if hit and case.finding is not None:
            findings.append(case.finding(port, hit))
    return findings


class _Case(NamedTuple):
    """What fits here is no more looked at by the cases below.

    Attributes:
        finding: None where all is well.
    """

    fits: Callable[[Tried], bool]
    finding: Callable[[Port, Sequence[Tried]], Finding] | None


def _case(fits: Callable[[Tried], bool], level: str, text: str, remedy: str) -> _Case:
    """A case with a finding; `{what}` in its text stands for the requests."""

    def finding(port: Port, hit: Sequence[Tried]) -> Finding:
        fault = text.format(what=_listed(hit))
        return Finding(
            "critical" if level == "critical" else "warning", f"{port.name}: {fault}", remedy
        )

    return _Case(fits, finding)


def _listed(hit: Iterable[Tried]) -> str:
    """The requests by what they ask for, each once, with how they ended."""
    named: dict[str, dict[str, None]] = {}
    for one in hit:
        named.setdefault(one.ended, {})[one.probe.what] = None
    return "; ".join(f"{', '.join(whats)} ({ended})" for ended, whats in named.items())


def _is_listed(one: Tried) -> bool:
    return one.probe.kind != "neighbour"


def _is_refused_at_once(one: Tried) -> bool:
    return one.probe.kind == "request" and one.reply.has_incident and one.body_bytes is None


def _is_refused_late(one: Tried) -> bool:
    return one.probe.kind == "request" and one.reply.has_incident


def _is_refused_at_reply(one: Tried) -> bool:
    is_reply = one.probe.kind in ("reply", "digest")
    return is_reply and one.reply.has_incident and one.body_bytes is not None


def _has_login(one: Tried) -> bool:
    return one.reply.status == _LOGIN


def _is_neighbour_blocked(one: Tried) -> bool:
    return one.probe.kind == "neighbour" and one.reply.has_incident


def _is_denied(one: Tried) -> bool:
    return 400 <= one.reply.status < 500


def _is_reply_untried(one: Tried) -> bool:
    return one.probe.kind in ("reply", "digest") and one.body_bytes is None


def _refused_as_it_should() -> Iterator[_Case]:
    yield _Case(_is_refused_at_once, None)
    yield _Case(_is_refused_at_reply, None)


def _not_to_be_told() -> Iterator[_Case]:
    yield _case(
        lambda one: one.reply.status < 0,
        "critical",
        "the connection was refused: {what}",
        "see in cache.log whether Squid restarts, and check again",
    )
    yield _case(
        _is_refused_late,
        "critical",
        "{what}: refused only when the server had got the request, and its body",
        ORDER,
    )
    yield _case(
        lambda one: _has_login(one) and one.is_logged_in,
        "warning",
        "the proxy takes neither user nor password of the check, so that it is not tried: {what}",
        "correct them in the file that [squid_conf] client_proxy_file names (or in "
        "$INKGATE_CLIENT_PROXY); only Basic logins can be tried",
    )
    yield _case(
        _has_login,
        "warning",
        "the proxy wants a login before it can be tried: {what}",
        _GIVE_CLIENT,
    )
    yield _case(
        lambda one: one.reply.is_unavailable,
        "critical",
        "inkgate could not tell, and `fail` blocks: {what}",
        _STATUS,
    )
    yield _case(
        lambda one: _ICAP_FAILED in one.reply.text,
        "critical",
        "inkgate's ICAP server does not answer: {what}",
        "start inkgate-icap, and see that [icap] allow lets this proxy in",
    )


def _of_requests() -> Iterator[_Case]:
    yield _case(
        _is_neighbour_blocked,
        "critical",
        "what is not listed is blocked as if it were: {what}",
        _STATUS,
    )
    yield _case(
        lambda one: one.probe.kind == "request" and _is_denied(one),
        "warning",
        "another line of squid.conf refuses the check's requests before inkgate is asked: {what}",
        _GIVE_CLIENT,
    )
    yield _case(
        lambda one: one.probe.kind == "request",
        "critical",
        "what is listed is not refused: {what}",
        ORDER,
    )


def _of_replies_and_neighbours() -> Iterator[_Case]:
    yield _case(
        _is_reply_untried,
        "warning",
        "the check's own server on this machine could not be reached through the proxy, so that "
        "replies were not tried: {what}",
        "run inkgate squid install, whose lines allow it; where requests go on to another "
        "proxy (cache_peer), servers' addresses are not seen here at all",
    )
    yield _case(
        _is_listed,
        "critical",
        "what is listed comes back from the server: {what}",
        ORDER,
    )
    yield _case(
        _is_denied,
        "warning",
        "the proxy refuses this machine's own requests, so that nobody saw that what is not "
        "listed passes: {what}",
        _GIVE_CLIENT,
    )


_CASES: Final = (
    *_refused_as_it_should(),
    *_not_to_be_told(),
    *_of_requests(),
    *_of_replies_and_neighbours(),
)
"""In this order: what fits one is no more looked at by those below."""
