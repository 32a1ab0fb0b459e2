"""pyicap's request handler with everything replaced that meets the network.

`docs/decisions/0020-what-is-left-of-pyicap.md` says of each override why it is there.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import TYPE_CHECKING, ClassVar, Final

from pyicap import BaseICAPRequestHandler

from inkgate.icap_server.protocol import answers
from inkgate.icap_server.protocol.chunks import LAST_CHUNK, encode_chunk
from inkgate.icap_server.protocol.errors import ProtocolError, reason_of
from inkgate.icap_server.protocol.head import Head
from inkgate.icap_server.protocol.http import HttpRequest, without_cache
from inkgate.icap_server.protocol.parser import IcapMessage
from inkgate.icap_server.reading import BodyReader, ParkedError
from inkgate.icap_server.service import client_address

if TYPE_CHECKING:
    from inkgate.icap_server.lookups import Asker
    from inkgate.icap_server.rules_in_use import IcapRules

_LINGER_SECONDS: Final = 2.0
_LINGER_BYTES: Final = 4 << 20
# After an answer, so much of the rest of a body is read, for so long, to keep the connection.
# If there is more, it is closed: a new connection costs less.
_REST_SECONDS: Final = 1.0
_REST_BYTES: Final = 1 << 20
_NO_REQUEST: Final = HttpRequest("GET", "", "")
_NO_MESSAGE: Final = IcapMessage(Head(b"", "", {}, (), None, False, False), b"", b"")


_POINTS: Final = (b"REQMOD", b"RESPMOD")


class BaseHandler(BodyReader, BaseICAPRequestHandler):  # type: ignore[misc]
    """Serves one message.

    A subclass has the endpoints, under the names that pyicap looks for. Everything that
    reads from or writes to the client is here or in `BodyReader`.
    """

    message: IcapMessage
    is_changed: bool
    rules: IcapRules
    asker: Asker
    http_request: HttpRequest
    icap_headers: dict[bytes, list[bytes]]
    enc_headers: dict[bytes, list[bytes]]
    enc_status: bytes | None
    enc_request: bytes | None
    enc_raw: tuple[bytes, str] | None

    # Names of methods, by service and ICAP method. pyicap would look for an attribute with
    # a name that the client chooses.
    services: ClassVar[dict[str, dict[bytes, str]]] = {}

    # Until a message has come.
    command = b""
    # pyicap tells every client the versions of itself and of Python.
    _server_version = "inkgate"
    _sys_version = ""

    def setup(self) -> None:
        """Take the connection as the loop hands it over."""
        settings = self.server.settings
        self.connection = self.request.socket
        self.connection.settimeout(settings.body_seconds)
        self.wfile = self.request.output
        self.rules = self.server.service.rules
        self.close_connection = self.lingers = False
        self.go_on: Callable[[], None] | None = None

    def finish(self) -> None:
        """Leave the socket open: the loop goes on with it, or closes it."""
        if self.request.parked is not None:
            return
        self.server.backlog.forget(self.request)
        share, self.request.share = self.request.share, None
        if share is not None:
            share()
        self.request.closing = self.close_connection
        if self.lingers:
            self.request.linger(_LINGER_SECONDS, _LINGER_BYTES)

    def handle(self) -> None:
        """Serve the message that is there. Whoever has none yet waits in the loop for it."""
        self._flush_unsent()
        if self.request.first is not None and not self.close_connection:
            self.handle_one_request()

    def handle_one_request(self) -> None:
        """Serve one message. Nothing that it does wrong leaves this method as an exception."""
        self._begin()
        self._run(self._answer)

    def resume(self) -> None:
        """Go on with a message that was parked."""
        self.request.parked = None
        self.connection.settimeout(self.server.settings.body_seconds)
        if self.go_on is not None:
            self._run(self.go_on)
        self.finish()

    def _answer(self) -> None:
        if self.parse_request():
            self._endpoint()()

    def _run(self, step: Callable[[], None]) -> None:
        try:
            self._try(step)
            self._end_answer()
        except ParkedError:
            self.request.parked = self
            return
        except ProtocolError as error:
            self.send_error(error.status)
        except TimeoutError:
            self.send_error(408)
        except OSError:
            self.close_connection = True
        except Exception as error:  # noqa: BLE001
            self.note(error)
            self.send_error(500)
        self.wfile.end()
        # A reference to itself would keep old rules.
        self.go_on = None

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
        except (ParkedError, ProtocolError, OSError):
            raise
        except Exception as error:  # noqa: BLE001
            self.note(error)
            self.answer_in_failure()

    def note(self, error: Exception) -> None:
        """Count and log an error of inkgate's own."""
        # The text may hold the value that caused it, so only the type is said.
        self.server.service.monitor.met(
            "message-failed", f"a message failed: {type(error).__name__}"
        )

    def answer_in_failure(self) -> None:
        """Answer a message at which inkgate itself has failed."""
        self.send_error(500)

    def parse_request(self) -> bool:
        """Take the message that the loop has read. False if there is none."""
        first, self.request.first = self.request.first, None
        if isinstance(first, ProtocolError):
            raise first
        if first is None:
            return False
        self.message = first
        # Only now: a message is judged by the rules that are in use when it has come.
        self.rules = self.server.service.rules
        head = first.head
        self.command, self.servicename, self.headers = head.method, head.service, head.fields
        self.has_body, self.preview = head.has_body, head.preview
        self.in_preview = head.preview is not None
        self.eob = not head.has_body
        self.close_connection = head.close
        self.client_ip = client_address(head.fields.get(b"x-client-ip", b""))
        self.asker = self.server.service.asker(self.client_ip, head.method.decode("latin-1"))
        return True

    def write_chunk(self, data: bytes = b"") -> None:
        """Write a piece of a body, or its end."""
        self.wfile.write(encode_chunk(data) or LAST_CHUNK)
        if self.wfile.is_long:
            self.wfile.send_some()

    @property
    def may_be_204(self) -> bool:
        """Whether the client takes 204 at this point."""
        if self.is_changed:
            return False
        return self.in_preview or self.message.head.allow_204

    def send_headers(self, has_body: bool = False, *, dated: bool = True) -> None:
        """Write the ICAP head and the one block of HTTP headers that it may have."""
        block, kind = self._block()
        fields = [
            (b"ISTag", self.rules.istag),
            *([(b"Date", self.date_time_bytes())] if dated else []),
            *([(answers.POINT, self.command)] if self.command in _POINTS else []),
            *((name, value) for name, all_of in self.icap_headers.items() for value in all_of),
            (b"Encapsulated", answers.encapsulated(kind, len(block), body=has_body)),
        ]
        if self.close_connection:
            fields.append((b"Connection", b"close"))
        self.wfile.write(answers.head(self.icap_response, fields) + block)
        if has_body:
            self.wfile.begin_body()

    def send_error(self, code: int, message: str | None = None) -> None:
        """Say what is wrong, if nothing else has been said, and end the connection."""
        self.close_connection = self.lingers = True
        if self.wfile.started:
            return
        self.forget_answer()
        self.set_icap_response(code, message)
        try:
            self.send_headers()
            self.wfile.flush()
        except OSError:
            pass

    def forget_answer(self) -> None:
        """Begin the answer anew, before any of it was written."""
        self.enc_request = self.enc_status = self.enc_raw = None
        self.icap_headers = {}
        self.enc_headers = {}

    def send_enc_error(
        self, code: int, message: str | None = None, body: str = "", contenttype: str = "text/html"
    ) -> None:
        """Answer with an HTTP response in place of the message."""
        data = body.encode()
        self.set_icap_response(200)
        self.set_enc_status(f"HTTP/1.1 {code} {message or reason_of(code)}".encode("ascii"))
        self.set_enc_header(b"Content-Type", contenttype.encode("ascii"))
        self.set_enc_header(b"Content-Length", b"%d" % len(data))
        self.set_enc_header(b"Cache-Control", b"no-store")
        # The answer to HEAD has the headers of a body and none (RFC 2616, section 9.4).
        has_body = bool(data) and self.http_request.method != "HEAD"
        self.send_headers(has_body)
        if has_body:
            self.write_chunk(data)
            self.write_chunk()

    def set_icap_response(self, code: int, message: str | None = None) -> None:
        """Choose the status of the answer; its text is the standard's, never input."""
        del message
        self.icap_response = answers.status_line(code)
        self.icap_response_code = code

    def no_adaptation_required(self) -> None:
        """Let the message go on: 204 where the client takes it, else all of it back."""
        if self.may_be_204:
            self.go_on = self._answer_204
            self._answer_204()
        else:
            self.give_back()

    def ask_server(self) -> None:
        """Let a request go on so that the proxy's cache does not answer it."""
        head = without_cache(self.message.request)
        self.message = self.message._replace(request=head)
        self.is_changed = True

    def give_back(self) -> None:
        """Send the HTTP message back as it came, its body while it is coming."""
        self.start_giving_back()
        if self.has_body:
            self.go_on = self._relay
            self._relay()

    def _relay(self) -> None:
        while data := self.read_chunk():
            self.write_chunk(data)
        self.write_chunk()

    def _answer_204(self) -> None:
        while self.read_chunk():
            pass
        self.set_icap_response(204)
        self.send_headers()

    def start_giving_back(self) -> None:
        """Send the HTTP message's head back as it came."""
        self.set_icap_response(200)
        if self.message.head.method == b"REQMOD":
            self.enc_raw = (self.message.request, "req")
        else:
            self.enc_raw = (self.message.response, "res")
        self.send_headers(has_body=self.has_body)

    def date_time_bytes(self, timestamp: float | None = None) -> bytes:
        """Now, or another time, as HTTP writes it."""
        return formatdate(timestamp or time.time(), usegmt=True).encode("ascii")

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Say nothing: the proxy logs requests, the journal incidents."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (pyicap's name)
        """One line to the log."""
        self.server.service.monitor.say(format % args)

    log_error = log_message

    def _read_lines(self) -> None:
        raise NotImplementedError("MessageParser reads all there is to read")

    # pyicap reads without a limit, and fails with ValueError at a line without a colon.
    _read_headers = _read_request = _read_status = _read_lines

    def _begin(self) -> None:
        self.icap_headers = {}
        self.enc_headers = {}
        self.enc_status = self.enc_request = self.enc_raw = None
        self.http_request = _NO_REQUEST
        self.ieof = False
        self.has_body, self.eob, self.preview = False, True, None
        self.in_preview = False
        self.message = _NO_MESSAGE
        self.is_changed = False
        self.go_on = None
        self.begin_reading()

    def _endpoint(self) -> Callable[[], None]:
        service = self.services.get(self.servicename)
        if service is None:
            raise ProtocolError(404, "no such service")
        endpoint = service.get(self.command)
        if endpoint is None:
            raise ProtocolError(405, "not a method of this service")
        bound: Callable[[], None] = getattr(self, endpoint)
        return bound

    def _block(self) -> tuple[bytes, str]:
        if self.enc_raw is not None:
            return self.enc_raw
        if self.enc_status is None:
            return b"", ""
        fields = ((name, value) for name, all_of in self.enc_headers.items() for value in all_of)
        return answers.head(self.enc_status, fields), "res"

    def _end_answer(self) -> None:
        """Read what is left of the body, and let the client take what is left of the answer.

        Raises:
            ParkedError: the client takes it slowly.
        """
        self.go_on = None
        self.wfile.end()
        self._drain()
        self.go_on = self._end_sending
        self._end_sending()

    def _end_sending(self) -> None:
        self.wfile.send_some()
        if self.wfile.waiting:
            self.park(None, select.EPOLLOUT)

    def _drain(self) -> None:
        """Read what is left of a body after its answer; if that is much, end the connection."""
        if self.eob:
            return
        end, left = time.monotonic() + _REST_SECONDS, _REST_BYTES
        while left > 0 and (data := self.read_chunk_until(end)):
            left -= len(data)
        if not self.eob:
            self.close_connection = self.lingers = True

    def _flush_unsent(self) -> None:
        unsent, self.request.unsent = self.request.unsent, b""
        try:
            self.connection.sendall(unsent)
        except OSError:
            self.close_connection = True
