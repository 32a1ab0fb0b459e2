"""The two services: what a message is judged by, and what is answered."""

from __future__ import annotations

from typing import ClassVar, Final

from inkgate.icap_server.mended import MendedHandler
from inkgate.icap_server.protocol.common_case import host_of
from inkgate.icap_server.protocol.http import parse_request
from inkgate.icap_server.reply import check_reply
from inkgate.icap_server.service import NoVerdictError, Verdict

_INCIDENT: Final = b"X-Inkgate-Incident"


class InkgateHandler(MendedHandler):
    """The endpoints of inkgate-icap."""

    services: ClassVar[dict[str, dict[bytes, str]]] = {
        "reqmod": {b"OPTIONS": "reqmod_OPTIONS", b"REQMOD": "reqmod_REQMOD"},
        "respmod": {b"OPTIONS": "respmod_OPTIONS", b"RESPMOD": "respmod_RESPMOD"},
    }

    def reqmod_OPTIONS(self) -> None:  # noqa: N802 (pyicap's names)
        """Tell what REQMOD can do."""
        self._send_options(b"REQMOD")

    def respmod_OPTIONS(self) -> None:  # noqa: N802
        """Tell what RESPMOD can do."""
        self._send_options(b"RESPMOD")

    def reqmod_REQMOD(self) -> None:  # noqa: N802
        """Judge a request."""
        block = self.message.request
        self.http_request = parse_request(block)
        agent = self.http_request.user_agent.encode("utf-8", "surrogateescape")
        spelled = (host_of(block, 0, len(block)), agent)
        try:
            verdict = self.server.service.judge_request(
                self.state, self.http_request, self.client_ip, spelled
            )
            if self.http_request.method == "CONNECT" and not verdict.blocked:
                verdict = self._judge_name(verdict)
        except NoVerdictError as error:
            self.send_no_verdict(error)
        else:
            self.send_verdict(verdict)

    def _judge_name(self, before: Verdict) -> Verdict:
        name = self.server.settings.name_header.lower().encode()
        told = self.message.head.fields.get(name, b"-").decode("latin-1")
        if told in ("", "-"):
            return before
        verdict = self.server.service.judge_name(
            self.state, self.http_request, told, self.client_ip
        )
        return verdict if verdict.incident else before

    def respmod_RESPMOD(self) -> None:  # noqa: N802
        """Judge a response by its server's address and its body."""
        check_reply(self)

    def send_blocked(self, verdict: Verdict) -> None:
        """Answer with the blocked page, or send the user to one."""
        blocked = self.server.blocked
        self.mark(verdict)
        self.set_enc_header(_INCIDENT, verdict.incident.encode("ascii"))
        place = blocked.redirect(self.http_request, verdict.incident)
        if place is None:
            page = blocked.page(self.http_request, verdict.incident)
            self.send_enc_error(403, body=page, contenttype="text/html; charset=utf-8")
            return
        # 303 turns any method into GET, so that no form is sent to the page; clients
        # of HTTP/1.0 know only 302.
        status = 302 if self.http_request.method in ("GET", "HEAD") else 303
        self.set_enc_header(b"Location", place.encode())
        self.send_enc_error(status)

    def send_verdict(self, verdict: Verdict) -> None:
        """Answer as a verdict says."""
        if verdict.blocked:
            self.send_blocked(verdict)
            return
        self.mark(verdict)
        self.no_adaptation_required()

    def send_no_verdict(self, error: NoVerdictError) -> None:
        """Answer as `fail` says, when no verdict can be given."""
        self.server.service.complain(str(error))
        if self.server.settings.fail == "open":
            self.no_adaptation_required()
        else:
            self.send_unable()

    def send_unable(self) -> None:
        """Answer in place of a message on which no verdict can be given."""
        self.send_enc_error(503, body="inkgate-unavailable\n", contenttype="text/plain")

    def send_unchecked(self) -> None:
        """Answer in place of a body that cannot be checked."""
        text = "inkgate-unchecked: this proxy lets no file pass that it cannot check.\n"
        self.send_enc_error(403, body=text, contenttype="text/plain")

    def mark(self, verdict: Verdict) -> None:
        """Tell the proxy's log of an incident."""
        if verdict.incident:
            self.icap_headers[_INCIDENT] = [verdict.incident.encode("ascii")]

    def _send_options(self, method: bytes) -> None:
        settings = self.server.settings
        self.set_icap_response(200)
        for name, value in (
            (b"Methods", method),
            (b"Service", b"inkgate"),
            (b"Service-ID", b"inkgate-" + method.lower()),
            (b"Options-TTL", b"%d" % settings.options_seconds),
            (b"Max-Connections", b"%d" % settings.connections),
            (b"Allow", b"204"),
        ):
            self.set_icap_header(name, value)
        # A preview lets us answer before a body comes. Where all of a body is needed it
        # would only cost a round trip.
        if method == b"REQMOD" or not self.state.replies.algorithms:
            self.set_icap_header(b"Preview", b"0")
            self.set_icap_header(b"Transfer-Preview", b"*")
        self.send_headers()
