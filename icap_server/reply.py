"""RESPMOD: a response judged by its server's address, its file's name and its body."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from inkgate.health.monitor import BY_FAIL
from inkgate.icap_server.body.file_names import file_names
from inkgate.icap_server.body.held_end import HeldEnd
from inkgate.icap_server.body.inspection import Inspection
from inkgate.icap_server.body.partial import asks_for_part, is_endless, is_part, validators
from inkgate.icap_server.lookups import NoVerdictError
from inkgate.icap_server.protocol.errors import ProtocolError
from inkgate.icap_server.protocol.http import HttpResponse, parse_request, parse_response
from inkgate.icap_server.service import PASS, Verdict
from inkgate.rules.lookup.turns import client_of

if TYPE_CHECKING:
    from inkgate.icap_server.verdict_handler import VerdictHandler

_SQUID_BUFFER_BYTES: Final = 65_535
_SILENCE_SECONDS: Final = 0.2
# A preview is held whole, since nothing can be sent before its end. OPTIONS asks for one
# only where digests are not needed, and then for one of no bytes; clients may send others.
_PREVIEW_BYTES: Final = 1 << 20
_KIB: Final = 1024


class StoppedError(Exception):
    """No more of this body goes on: it was answered in its place, or its end is kept back."""


def check_reply(handler: VerdictHandler) -> None:
    """Judge a response and answer."""
    message = handler.message
    if message.request:
        handler.http_request = parse_request(message.request)
    try:
        verdict = _or_by_fail(handler, lambda: _judge_server(handler))
        if verdict.blocked:
            handler.send_blocked(verdict)
        elif not handler.has_body or not handler.rules.replies.any:
            _let_pass(handler, verdict)
        else:
            ReplyCheck(handler, parse_response(message.response), verdict).run()
    except NoVerdictError as error:
        handler.send_no_verdict(error)


def _or_by_fail(handler: VerdictHandler, judge: Callable[[], Verdict]) -> Verdict:
    """A verdict on a part of a response.

    Where there is none and `fail` lets pass, that is told, and all other parts are judged: a
    client that keeps the look-ups busy gets no file by that.

    Raises:
        NoVerdictError: there is none, and `fail` refuses.
    """
    try:
        return judge()
    except NoVerdictError as error:
        if handler.server.settings.fail != "open":
            raise
        handler.tell(error)
        return PASS


def _judge_server(handler: VerdictHandler) -> Verdict:
    name = handler.server.settings.server_header.lower().encode()
    server = handler.message.head.fields.get(name, b"").decode("latin-1")
    if not server:
        return PASS
    return handler.server.service.judge_server(
        handler.rules, handler.http_request, server, handler.asker
    )


def _let_pass(handler: VerdictHandler, verdict: Verdict) -> None:
    """Let a response go on whose body is of no interest, without collecting it first."""
    if handler.eob or handler.in_preview:
        handler.send_verdict(verdict)
    else:
        handler.mark(verdict)
        handler.give_back()


class ReplyCheck:
    """One response with a body, from its head to its end.

    Args:
        handler: whose message it is.
        response: its head.
        before: what was found before the body was looked at; not blocked.
    """

    def __init__(self, handler: VerdictHandler, response: HttpResponse, before: Verdict) -> None:
        settings = handler.server.settings
        block = handler.message.response
        self._client = client_of(handler.client_ip.encode())
        self._handler = handler
        self._response = response
        self._names = file_names(handler.http_request.uri, response.dispositions)
        self._verdict = before
        self._may_pass = settings.unchecked == "pass"
        self._limit = settings.body_mib * _KIB * _KIB
        self._inspection = Inspection(
            handler.rules.replies.algorithms,
            response.encodings,
            self._limit,
            settings.ratio,
            self._client,
        )
        # Of a stream without an end nothing is held back, and its head goes on at once.
        self._is_endless = is_endless(response, block, settings.stream_types)
        hold_bytes, hold_seconds = settings.hold_kib * _KIB, settings.hold_seconds
        if self._is_endless:
            hold_bytes = hold_seconds = 0
        self._held_end = HeldEnd(hold_bytes, self._inspection.unasked_from, self._is_listed)
        self._started = self._said_unchecked = self._has_failed = False
        self._last_read = time.monotonic()
        self._hold_until = time.monotonic() + hold_seconds

    def run(self) -> None:
        """Judge and answer.

        Raises:
            NoVerdictError: there are no sound rules, and nothing has been answered.
        """
        handler = self._handler
        verdict = self._judge_names()
        if verdict.blocked:
            handler.send_blocked(verdict)
        elif not handler.rules.replies.algorithms:
            _let_pass(handler, verdict)
        elif self._is_of_listed_file():
            self._send_blocked()
        elif not self._is_hopeless():
            # A message that waits for its client goes on where it was.
            handler.go_on = self._check
            self._check()
        elif self._may_pass:
            handler.server.service.monitor.met("part-unchecked")
            _let_pass(handler, verdict)
        else:
            handler.send_unchecked()

    def _check(self) -> None:
        try:
            with contextlib.suppress(StoppedError):
                self._stream()
        except OSError:
            # The proxy has broken off. What came is judged: a listed file was asked for, and
            # its client may have more of it than what is held.
            with contextlib.suppress(StoppedError):
                self._is_listed()
            raise

    def _judge_names(self) -> Verdict:
        handler = self._handler
        service, request = handler.server.service, handler.http_request
        verdict = _or_by_fail(
            handler,
            lambda: service.judge_names(handler.rules, self._names, request, handler.asker),
        )
        if verdict.incident:
            self._verdict = verdict
        return self._verdict

    def _is_of_listed_file(self) -> bool:
        """Whether this is a part of a file that was listed when all of it came."""
        handler = self._handler
        if not is_part(self._response.status, handler.message.response):
            return False
        service, request = handler.server.service, handler.http_request
        verdict = _or_by_fail(
            handler,
            lambda: service.judge_part(handler.rules, self._validators, request, handler.asker),
        )
        if verdict.incident:
            self._verdict = verdict
        return verdict.blocked

    def _validators(self) -> tuple[bytes, ...]:
        length = self._inspection.raw_bytes
        return validators(self._response, self._handler.message.response, length)

    def _is_hopeless(self) -> bool:
        """Whether it is known beforehand that the body cannot be checked.

        With `unchecked = "pass"` the web server's word is not enough, since it could pass
        a listed file so: a part that nobody asked for is shown like a whole file, and less
        may come than Content-Length says. Then only a part that was asked for counts.
        """
        message = self._handler.message
        part = is_part(self._response.status, message.response)
        if self._may_pass:
            return part and asks_for_part(message.request)
        return part or (self._response.length or 0) > self._limit

    def _stream(self) -> None:
        handler = self._handler
        while True:
            while data := self._read():
                self._take(data)
            if not handler.in_preview or handler.ieof:
                break
            handler.cont()
            # A client may overlook an answer that comes at once after the 100, so it comes
            # a little later.
            soon = time.monotonic() + _SILENCE_SECONDS
            self._hold_until = max(self._hold_until, soon)
        self._finish()

    def _read(self) -> bytes:
        # After `hold_seconds` the user gets the head and what may go on. Squid 5 can stop
        # reading from the web server when its buffer is full, until it has some of the
        # answer (Squid bug 5352): silence after that many bytes means this.
        if not self._started and not self._handler.in_preview:
            end = self._hold_until
            if self._inspection.raw_bytes >= _SQUID_BUFFER_BYTES:
                end = min(end, self._last_read + _SILENCE_SECONDS)
            if data := self._handler.read_chunk_until(end):
                self._last_read = time.monotonic()
                return data
            if self._handler.eob:
                return b""
            self._start()
            self._let_go()
        return self._handler.read_chunk()

    def _take(self, data: bytes) -> None:
        self._inspect(data)
        if self._inspection.unchecked:
            self._say_unchecked()
        self._held_end.keep(data)
        if self._inspection.has_ended() and self._is_listed():
            self._stop(self._send_blocked)
        # After the head of the answer, 100 could no longer ask for the rest of the body.
        if not self._handler.in_preview:
            self._let_go()
        elif self._held_end.held > _PREVIEW_BYTES:
            raise ProtocolError(400, "the preview is too long")

    def _say_unchecked(self) -> None:
        if not self._may_pass:
            self._stop(self._handler.send_unchecked)
        if not self._said_unchecked:
            self._said_unchecked = True
            why = f"a body passed that could not be checked: {self._inspection.unchecked}"
            self._handler.server.service.monitor.met("body-unchecked", why)

    def _inspect(self, data: bytes) -> None:
        if self._has_failed:
            return
        try:
            self._feed(data)
        except Exception as error:  # noqa: BLE001 (whatever it is: `fail` answers)
            self._handler.note(error)
            self._handler.server.service.monitor.count(BY_FAIL)
            self._has_failed = True
            if self._handler.server.settings.fail == "closed":
                self._stop(self._handler.send_unable)

    def _feed(self, data: bytes) -> None:
        if not self._inspection.is_encoded:
            self._inspection.feed(data)
            return
        with self._handler.server.decoding.turn(self._client):
            self._inspection.feed(data)

    def _let_go(self) -> None:
        free, listed = self._release()
        if listed:
            self._stop(self._send_blocked)
        if free:
            self._send(free)

    def _release(self) -> tuple[bytes, bool]:
        if not self._inspection.is_over:
            return self._held_end.release()
        listed = self._is_listed()
        return self._held_end.rest(), listed

    def _finish(self) -> None:
        if self._is_listed():
            self._stop(self._send_blocked)
        if not self._started and self._handler.may_be_204:
            self._handler.send_verdict(self._verdict)
            return
        self._send(self._held_end.rest())
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
        if self._is_endless:
            self._handler.patience = self._handler.server.settings.idle_seconds

    def _is_listed(self) -> bool:
        handler = self._handler
        if self._has_failed:
            return False
        try:
            verdict = handler.server.service.judge_body(
                handler.rules,
                self._inspection.digests(),
                self._names,
                handler.http_request,
                # Its body took its time.
                handler.server.service.asker(handler.client_ip, "RESPMOD"),
                self._validators,
            )
        except NoVerdictError as error:
            return self._without_verdict(error)
        if verdict.incident:
            self._verdict = verdict
        return verdict.blocked

    def _without_verdict(self, error: NoVerdictError) -> bool:
        self._handler.tell(error)
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
        if not self._started:
            answer()
        else:
            # The last chunk is not sent, so the client sees that the body is not complete.
            # What else comes of the body is not read.
            self._handler.close_connection = self._handler.lingers = True
            self._handler.eob = True
        raise StoppedError
