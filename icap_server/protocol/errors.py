"""Why a message cannot be served."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

# Texts of status codes that RFC 3507 (section 4.3.3) defines; all others are HTTP's.
_REASONS: Final = {
    100: "Continue",
    204: "No Modifications",
    404: "Service Not Found",
    405: "Method Not Allowed For Service",
    408: "Request Timeout",
    500: "Server Error",
    501: "Method Not Implemented",
    503: "Service Overloaded",
    505: "ICAP Version Not Supported",
}


class ProtocolError(Exception):
    """What came is not an ICAP message that can be served; the connection ends with it.

    Attributes:
        status: the ICAP status to answer with.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def reason_of(status: int) -> str:
    """The text of a status line."""
    return _REASONS.get(status) or HTTPStatus(status).phrase
