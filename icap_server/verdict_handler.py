"""The answers that a verdict leads to, for requests and responses alike."""

from __future__ import annotations

from typing import Final

from inkgate.blocked_page.wording import Kind
from inkgate.health.monitor import BY_FAIL
from inkgate.icap_server.base_handler import BaseHandler
from inkgate.icap_server.lookups import NoVerdictError
from inkgate.icap_server.service import Verdict

_INCIDENT: Final = b"X-Inkgate-Incident"
_BY_FAIL: Final = b"inkgate-unavailable"
"""What the proxy's log shows in place of an incident id, as with the helper."""
_PLAIN_PAGE: Final = "<!DOCTYPE html><title>inkgate</title><p>inkgate: not let through\n"


class VerdictHandler(BaseHandler):
    """A handler that answers as a verdict says."""

    def send_blocked(self, verdict: Verdict) -> None:
        """Answer with the blocked page, or send the user to one."""
        blocked = self.server.blocked
        self.mark(verdict)
        self.set_enc_header(_INCIDENT, verdict.incident.encode("ascii"))
        place = blocked.redirect(self.http_request, verdict.incident)
        if place is None:
            # A response is stopped after its request has reached the server.
            kind: Kind = "reply" if self.command == b"RESPMOD" else "request"
            self._send_page(403, self._page(kind, verdict.incident))
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
        self.tell(error)
        if self.server.settings.fail == "open":
            self.no_adaptation_required()
        else:
            self.send_unable()

    def tell(self, error: NoVerdictError) -> None:
        """Count that `fail` answers this message, and say it in the proxy's log."""
        self.server.service.told(error, again=self.icap_headers.get(_INCIDENT) == [_BY_FAIL])
        self.icap_headers[_INCIDENT] = [_BY_FAIL]

    def answer_in_failure(self) -> None:
        """Answer as `fail` says a message at which inkgate itself has failed."""
        service = self.server.service
        if self.command not in (b"REQMOD", b"RESPMOD"):
            self.send_error(500)
            return
        service.monitor.count(BY_FAIL)
        if self.wfile.started:
            self.close_connection = self.lingers = self.eob = True
            return
        self.forget_answer()
        self.icap_headers[_INCIDENT] = [_BY_FAIL]
        # What has been read of a body is gone, unless the client has kept it.
        if self.server.settings.fail == "open" and (self.may_be_204 or not self.has_read):
            self.no_adaptation_required()
        else:
            self.send_unable()

    def send_unable(self) -> None:
        """Answer in place of a message on which no verdict can be given."""
        self._send_page(503, self._page("unavailable"))

    def send_unchecked(self) -> None:
        """Answer in place of a body that cannot be checked."""
        self._send_page(403, self._page("unchecked"))

    def _page(self, kind: Kind, incident: str = "") -> str:
        try:
            return self.server.blocked.page(self.http_request, kind, incident)
        except Exception as error:  # noqa: BLE001 (what is blocked stays so without a page)
            self.note(error)
            return _PLAIN_PAGE

    def _send_page(self, status: int, page: str) -> None:
        self.send_enc_error(status, body=page, contenttype="text/html; charset=utf-8")

    def mark(self, verdict: Verdict) -> None:
        """Tell the proxy's log of an incident."""
        if verdict.incident:
            self.icap_headers[_INCIDENT] = [verdict.incident.encode("ascii")]
