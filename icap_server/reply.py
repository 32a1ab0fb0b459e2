"""RESPMOD: a response judged by its server's address, its file's name and its body."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from icap_server.body.holding import Holding
from icap_server.body.inspection import Inspection
from icap_server.body.names import file_names
from icap_server.protocol.http import HttpResponse, parse_request, parse_response
from icap_server.service import PASS, NoVerdictError, Verdict

if TYPE_CHECKING:
    from icap_server.handler import InkgateHandler

_SQUID_BUFFER_BYTES: Final = 65_535
_SILENCE_SECONDS: Final = 0.2
_PARTIAL: Final = 206
_KIB: Final = 1024


class StoppedError(Exception):
    """A body may not go on, and part of it has gone already: only the end can be kept back."""


def check_reply(handler: InkgateHandler) -> None:
    """Judge a response and answer."""
    message = handler.message
    if message.request:
        handler.http_request = parse_request(message.request)
    try:
        verdict = _judge_server(handler)
        if verdict.blocked or not handler.has_body or not handler.state.replies.any:
            handler.send_verdict(verdict)
        else:
            ReplyCheck(handler, parse_response(message.response), verdict).run()
    except NoVerdictError as error:
        handler.send_no_verdict(error)


def _judge_server(handler: InkgateHandler) -> Verdict:
    name = handler.server.settings.server_header.lower().encode()
    server = handler.message.head.fields.get(name, b"").decode("latin-1")
    if not server:
        return PASS
    return handler.server.service.judge_server(
        handler.state, handler.http_request, server, handler.client_ip
    )


class ReplyCheck:
    """One response with a body, from its head to its end.

    Args:
        handler: whose message it is.
        response: its head.
        before: what was found before the body was looked at; not blocked.
    """

    def __init__(self, handler: InkgateHandler, response: HttpResponse, before: Verdict) -> None:
        settings = handler.server.settings
        self._handler = handler
        self._response = response
        self._names = file_names(handler.http_request.uri, response.disposition)
        self._verdict = before
        self._may_pass = settings.unchecked == "pass"
        self._limit = settings.body_mib * _KIB * _KIB
        self._inspection = Inspection(
            handler.state.replies.algorithms, response.encodings, self._limit, settings.ratio
        )
        self._holding = Holding(settings.hold_kib * _KIB, self._is_listed)
        self._started = False
        self._patience_ends = time.monotonic() + settings.hold_seconds

    def run(self) -> None:
        """Judge and answer.

        Raises:
            NoVerdictError: there are no sound rules, and nothing has been answered.
        """
        verdict = self._judge_names()
        if verdict.blocked or not self._handler.state.replies.algorithms:
            self._handler.send_verdict(verdict)
            return
        if self._is_hopeless():
            self._answer_unchecked()
            return
        try:
            self._stream()
        except StoppedError:
            # The last chunk never comes, so the client sees that it has not all of it;
            # and whatever else of the body was coming is not waited for.
            self._handler.eob = True

    def _judge_names(self) -> Verdict:
        handler = self._handler
        verdict = handler.server.service.judge_names(
            handler.state, self._names, handler.http_request, handler.client_ip
        )
        if verdict.incident:
            self._verdict = verdict
        return self._verdict

    def _is_hopeless(self) -> bool:
        """Whether it is known beforehand that the body cannot be checked."""
        too_long = (self._response.length or 0) > self._limit
        return too_long or self._response.status == _PARTIAL

    def _answer_unchecked(self) -> None:
        if self._may_pass:
            self._handler.send_verdict(self._verdict)
        else:
            self._handler.send_unchecked()

    def _stream(self) -> None:
        handler = self._handler
        while True:
            while data := self._read():
                self._take(data)
            if not handler.in_preview or handler.ieof:
                break
            handler.cont()
        self._finish()

    def _read(self) -> bytes:
        # A user should not stare at nothing for long. And Squid 5, once its buffer is
        # full, can stop reading from the server until something of the answer has come
        # (its bug 5352): then it is silent after that many bytes.
        if not self._started and not self._handler.in_preview:
            end = self._patience_ends
            if self._inspection.raw_bytes >= _SQUID_BUFFER_BYTES:
                end = min(end, time.monotonic() + _SILENCE_SECONDS)
            if data := self._handler.read_chunk_until(end):
                return data
            if self._handler.eob:
                return b""
            self._start()
            self._handler.wfile.flush()
        return self._handler.read_chunk()

    def _take(self, data: bytes) -> None:
        content = self._inspection.feed(data)
        if self._inspection.unchecked and not self._may_pass:
            self._stop(self._handler.send_unchecked)
        free, listed = self._holding.put(data, content)
        if listed:
            self._stop(self._send_blocked)
        if free:
            self._send(free)

    def _finish(self) -> None:
        if self._is_listed():
            self._stop(self._send_blocked)
        if not self._started and self._handler.may_be_204:
            self._handler.send_verdict(self._verdict)
            return
        self._send(self._holding.rest())
        self._handler.write_chunk()

    def _send(self, data: bytes) -> None:
        if not self._started:
            self._start()
        if data:
            self._handler.write_chunk(data)

    def _start(self) -> None:
        self._started = True
        self._handler.mark(self._verdict)
        self._handler.start_giving_back()

    def _is_listed(self) -> bool:
        handler = self._handler
        try:
            verdict = handler.server.service.judge_body(
                handler.state,
                self._inspection.digests(),
                self._names,
                handler.http_request,
                handler.client_ip,
            )
        except NoVerdictError as error:
            return self._without_verdict(error)
        if verdict.incident:
            self._verdict = verdict
        return verdict.blocked

    def _without_verdict(self, error: NoVerdictError) -> bool:
        self._handler.server.service.complain(str(error))
        if self._handler.server.settings.fail == "closed":
            self._stop(self._handler.send_unable)
        return False

    def _send_blocked(self) -> None:
        self._handler.send_blocked(self._verdict)

    def _stop(self, answer: Callable[[], None]) -> None:
        """Give an answer in place of the body, or at least not the rest of it.

        Raises:
            StoppedError: always.
        """
        ends = self._started or not self._handler.eob
        self._handler.close_connection = self._handler.lingers = ends
        if not self._started:
            answer()
        raise StoppedError
