"""PyMISP with what it lacks: bounds. Importing this imports PyMISP: see `connector`."""

from __future__ import annotations

import logging
from typing import Any, Final

from pymisp import PyMISP
from requests import PreparedRequest, Response, Session, TooManyRedirects
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from inkgate.remote.adapter import GuardedAdapter, proxies_of
from inkgate.remote.bodies import check_parts, take_whole
from inkgate.remote.deadline import Deadline

MAX_BYTES: Final = 128 << 20
MAX_PARTS: Final = 8_000_000


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
        # Before PyMISP reads it whole, however much it is.
        take_whole(answer, MAX_BYTES)
        check_parts(answer.content, MAX_PARTS)


class _BoundedMisp(PyMISP):
    """PyMISP whose connections end at a deadline, also those without TLS."""

    def __init__(
        self, url: str, key: str, *, https_adapter: HTTPAdapter | None, **options: Any
    ) -> None:
        self._adapter = https_adapter
        super().__init__(url, key, https_adapter=https_adapter, **options)

    def _prepare_request(self, *args: Any, **options: Any) -> Response:
        # It takes an adapter for https alone.
        session: Session = vars(self)["_PyMISP__session"]
        if self._adapter is not None:
            session.mount("http://", self._adapter)
        return super()._prepare_request(*args, **options)


def open_session(
    url: str,
    key: str,
    verify: bool | str,
    timeout: tuple[float, float],
    last: LastAnswer,
    *,
    proxy: str = "",
    deadline: Deadline | None = None,
) -> PyMISP:
    """Ask a MISP for its version and for the owner of the key.

    Args:
        url: where it is, with a slash at its end.
        key: of one of its users.
        verify: whom to trust: True for the system's authorities, False for anybody, or the
            path of a file with certificates.
        timeout: seconds to connect, and seconds to wait for each part of an answer.
        last: is given to all requests of the session.
        proxy: an address, "none", or nothing for that of the environment.
        deadline: of all requests of the session together; None: there is none.

    Raises:
        Exception: of any kind, as PyMISP lets them through; their texts quote requests
            and answers, with keys and indicators.
    """
    # It logs requests and answers in full.
    logging.getLogger("pymisp").setLevel(logging.CRITICAL + 1)
    return _BoundedMisp(
        url,
        key,
        ssl=verify,
        tool="inkgate",
        auth=last,
        timeout=timeout,
        proxies=proxies_of(proxy),
        https_adapter=GuardedAdapter(deadline) if deadline is not None else None,
    )
