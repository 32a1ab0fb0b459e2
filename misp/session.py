"""PyMISP with what it lacks. Importing this imports PyMISP: see `connector`."""

from __future__ import annotations

import logging
from typing import Any

from pymisp import PyMISP
from requests import PreparedRequest, Response, TooManyRedirects
from requests.auth import AuthBase


class LastAnswer(AuthBase):
    """Notes what PyMISP keeps to itself, the last answer, and refuses redirects.

    It is given to `requests` as what adds credentials, which keeps `requests` from
    sending what ~/.netrc or the URL has for the host in place of the key. Turning off
    `trust_env` would do that, too, but would also turn off the environment's proxies.

    Attributes:
        answer: the answer to the last request; None if there was none.
    """

    def __init__(self) -> None:
        self.answer: Response | None = None

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Called by `requests` with every request before it is sent."""
        self.answer = None
        request.register_hook("response", self._note)  # type: ignore[no-untyped-call]
        return request

    def _note(self, answer: Response, **_: Any) -> None:
        self.answer = answer
        if answer.is_redirect:
            answer.close()
            raise TooManyRedirects("none is followed", response=answer)


def open_session(
    url: str, key: str, verify: bool | str, timeout: tuple[float, float], last: LastAnswer
) -> PyMISP:
    """Ask a MISP for its version and for the owner of the key.

    Args:
        url: where it is, with a slash at its end.
        key: of one of its users.
        verify: whom to trust: True for the system's authorities, False for anybody, or the
            path of a file with certificates.
        timeout: seconds to connect, and seconds to wait for each part of an answer.
        last: is given to all requests of the session.

    Raises:
        Exception: of any kind, as PyMISP lets them through; their texts quote requests
            and answers, with keys and indicators.
    """
    # It logs requests and answers in full.
    logging.getLogger("pymisp").setLevel(logging.CRITICAL + 1)
    return PyMISP(url, key, ssl=verify, tool="inkgate", auth=last, timeout=timeout)
