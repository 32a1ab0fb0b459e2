"""RESPMOD: what is judged of a response."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icap_server.protocol.http import parse_request
from icap_server.service import PASS, NoVerdictError

if TYPE_CHECKING:
    from icap_server.handler import InkgateHandler


def check_reply(handler: InkgateHandler) -> None:
    """Judge a response and answer."""
    message = handler.message
    if message.request:
        handler.http_request = parse_request(message.request)
    service = handler.server.service
    server = message.head.fields.get(handler.server.settings.server_header.lower().encode(), b"")
    try:
        verdict = PASS
        if server:
            verdict = service.judge_server(
                handler.state, handler.http_request, server.decode("latin-1"), handler.client_ip
            )
    except NoVerdictError as error:
        handler.send_unable(error)
    else:
        handler.send_verdict(verdict)
