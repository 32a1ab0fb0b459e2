"""The two services and their endpoints: what a message is judged by."""

from __future__ import annotations

from typing import ClassVar

from inkgate.icap_server.lookups import NoVerdictError
from inkgate.icap_server.protocol.common_case import host_of
from inkgate.icap_server.protocol.http import parse_request
from inkgate.icap_server.reply import check_reply
from inkgate.icap_server.service import Verdict
from inkgate.icap_server.verdict_handler import VerdictHandler


class InkgateHandler(VerdictHandler):
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
                self.rules, self.http_request, self.asker, spelled
            )
            if self.http_request.method == "CONNECT" and not verdict.blocked:
                verdict = self._judge_name(verdict)
        except NoVerdictError as error:
            self.send_no_verdict(error)
        else:
            if verdict.asks_server and not verdict.blocked and self._may_be_cached():
                self.ask_server()
            self.send_verdict(verdict)

    def _may_be_cached(self) -> bool:
        return self.http_request.method in ("GET", "HEAD") and not self.has_body

    def _judge_name(self, before: Verdict) -> Verdict:
        name = self.server.settings.name_header.lower().encode()
        told = self.message.head.fields.get(name, b"-").decode("latin-1")
        if told in ("", "-"):
            return before
        verdict = self.server.service.judge_name(self.rules, self.http_request, told, self.asker)
        return verdict if verdict.incident else before

    def respmod_RESPMOD(self) -> None:  # noqa: N802
        """Judge a response by its server's address and its body."""
        share = self.server.shares.take(self.client_ip)
        self.request.share = share.give_back
        if share.is_whole:
            check_reply(self)
        elif share.of_client:
            # Never let pass: a client could open the way for itself by many downloads.
            self.send_unable()
        else:
            self.send_no_verdict(NoVerdictError("connections-used-up", self.server.shares.said))

    def _send_options(self, method: bytes) -> None:
        settings = self.server.settings
        self.set_icap_response(200)
        for name, value in (
            (b"Methods", method),
            (b"Service", b"inkgate"),
            (b"Service-ID", b"inkgate-" + method.lower()),
            (b"Options-TTL", b"%d" % settings.options_seconds),
            (b"Max-Connections", b"%d" % settings.connections_of(method.decode())),
            (b"Allow", b"204"),
        ):
            self.set_icap_header(name, value)
        # A preview lets us answer before a body comes. Where all of a body is needed it
        # would only cost a round trip.
        if method == b"REQMOD" or not self.rules.replies.algorithms:
            self.set_icap_header(b"Preview", b"0")
            self.set_icap_header(b"Transfer-Preview", b"*")
        # Without Date: Squid counts Options-TTL from it, and would take the service for down
        # when the clocks of two machines differ by more.
        self.send_headers(dated=False)
