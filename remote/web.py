"""Downloads from a web server that is not trusted."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Final, NamedTuple, Self

import requests
from requests import PreparedRequest, RequestException, Response
from requests.auth import AuthBase, HTTPBasicAuth
from requests.exceptions import ConnectionError as NoConnectionError
from requests.exceptions import SSLError, Timeout
from requests.utils import get_auth_from_url

from inkgate.remote.adapter import GuardedAdapter, proxies_of
from inkgate.remote.bodies import body_of
from inkgate.remote.deadline import Deadline
from inkgate.remote.errors import (
    BrokenBodyError,
    RedirectRefusedError,
    RemoteError,
    UntrustedCertificateError,
)
from inkgate.remote.redirects import MOST, next_url

_MAY_PASS: Final = frozenset((429, 500, 502, 503, 504))
_PAUSES: Final = (0.5, 1.0, 2.0, 4.0)
_OK: Final = 200
_DONE: Final = (200, 201, 202)
_LONGEST_CHAIN: Final = 20
_ERRORS: Final = 400


class Answer(NamedTuple):
    """An answer that was read whole.

    Attributes:
        status: HTTP's.
        body: of status 200, after `post` of 201 and 202, too; of others nothing is read.
        headers: their names in any case.
    """

    status: int
    body: bytes
    headers: Mapping[str, str]


class WebClient:
    """A web server's files, one at a time or several threads at once.

    Args:
        deadline: of everything that is downloaded together.
        timeout: seconds to wait for a connection, and for each piece of an answer.
        verify: whom to trust: True for the system's authorities, or a file of certificates.
        proxy: an address, "none", or nothing for that of the environment.
        connections: how many threads download at once.
    """

    def __init__(
        self,
        deadline: Deadline,
        *,
        timeout: float,
        verify: bool | str = True,
        proxy: str = "",
        connections: int = 1,
    ) -> None:
        self._deadline = deadline
        self._timeout = timeout
        self._verify = verify
        self._proxies = proxies_of(proxy)
        self._session = requests.Session()
        # They would be kept for as long as the client is.
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = GuardedAdapter(deadline, connections)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, adapter)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connections."""
        self._session.close()

    def download(self, url: str, limit: int) -> Iterator[bytes]:
        """A file, in pieces.

        Args:
            limit: how many bytes it may have.

        Raises:
            RemoteError: it was not taken. So it is for whatever `requests` raises.
        """
        self._check_certificates()
        with self._as_our_errors("cannot be downloaded"), closing(self._get(url, {})) as answer:
            if answer.status_code >= _ERRORS:
                raise BrokenBodyError(f"cannot be downloaded (status {answer.status_code})")
            yield from body_of(answer.raw, answer.headers, limit)

    def answer(self, url: str, limit: int, headers: Mapping[str, str]) -> Answer:
        """One answer, whatever its status.

        Args:
            limit: how many bytes it may have.
            headers: of the request, for this host only.

        Raises:
            RemoteError: there was none. So it is for whatever `requests` raises.
        """
        self._check_certificates()
        with self._as_our_errors("cannot be asked"), closing(self._get(url, headers)) as answer:
            is_read = answer.status_code == _OK
            body = body_of(answer.raw, answer.headers, limit) if is_read else ()
            return Answer(answer.status_code, b"".join(body), answer.headers)

    def post(self, url: str, data: bytes, limit: int, headers: Mapping[str, str]) -> Answer:
        """Send data, once: whoever sends knows whether it may be sent again.

        Args:
            limit: how many bytes the answer may have.
            headers: of the request, for this host only.

        Raises:
            RedirectRefusedError: it leads anywhere, since a redirect would turn POST into GET.
            UntrustedCertificateError: nobody vouches for who is there.
            RemoteError: there was no answer. So it is for whatever `requests` raises.
        """
        self._check_certificates()
        with (
            self._as_our_errors("cannot be asked"),
            closing(
                self._session.post(
                    url,
                    data=data,
                    headers=dict(headers),
                    auth=_login_of(url),
                    timeout=self._timeout,
                    stream=True,
                    allow_redirects=False,
                    verify=self._verify,
                    proxies=self._proxies,
                )
            ) as answer,
        ):
            if answer.is_redirect:
                raise RedirectRefusedError(url, answer.headers.get("Location", ""))
            is_read = answer.status_code in _DONE
            body = body_of(answer.raw, answer.headers, limit) if is_read else ()
            return Answer(answer.status_code, b"".join(body), answer.headers)

    def _check_certificates(self) -> None:
        """See that OpenSSL will open a file: a pipe would hold it, whatever the deadline."""
        if isinstance(self._verify, str):
            path = Path(self._verify)
            if not (path.is_file() or path.is_dir()):
                raise BrokenBodyError("cannot be asked: its ca_file is no regular file")

    @contextmanager
    def _as_our_errors(self, problem: str) -> Iterator[None]:
        try:
            yield
        except (RequestException, OSError, ValueError) as error:
            self._deadline.check()
            if (refused := _refused_certificate(error)) is not None:
                said = refused.verify_message
                raise UntrustedCertificateError(
                    f"has a certificate ({said}) that is not trusted"
                ) from None
            raise BrokenBodyError(f"{problem} ({type(error).__name__})") from None
        except RemoteError:
            self._deadline.check()
            raise
        # The end of a socket that was shut down looks like the end of the body.
        self._deadline.check()

    def _get(self, url: str, headers: Mapping[str, str]) -> Response:
        """An answer, after more than one try if the first ones were none."""
        for pause in _PAUSES:
            try:
                answer = self._followed(url, headers)
            except SSLError:
                # A certificate does not get better by waiting.
                raise
            except (NoConnectionError, Timeout):
                pass
            else:
                if answer.status_code not in _MAY_PASS:
                    return answer
                answer.close()
            # Not as long as Retry-After says: a feed could make us wait for a year.
            self._deadline.sleep(pause)
        return self._followed(url, headers)

    def _followed(self, url: str, headers: Mapping[str, str]) -> Response:
        for _ in range(MOST + 1):
            answer = self._session.get(
                url,
                headers=dict(headers),
                auth=_login_of(url),
                timeout=self._timeout,
                stream=True,
                allow_redirects=False,
                # Given here, because a session's own is overruled by $REQUESTS_CA_BUNDLE.
                verify=self._verify,
                proxies=self._proxies,
            )
            location = answer.headers.get("Location", "")
            if not answer.is_redirect:
                return answer
            answer.close()
            url = next_url(url, location)
        raise BrokenBodyError(f"redirects more than {MOST} times")


def _refused_certificate(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """What OpenSSL says of a certificate, wherever `requests` and urllib3 have put it."""
    for _ in range(_LONGEST_CHAIN):
        if error is None or isinstance(error, ssl.SSLCertVerificationError):
            return error
        inner = [a for a in (*error.args, getattr(error, "reason", None)) if _is_error(a)]
        error = inner[0] if inner else error.__cause__ or error.__context__
    return None


def _is_error(found: object) -> bool:
    return isinstance(found, BaseException)


def _login_of(url: str) -> AuthBase:
    """The user and password of an address, and nothing that ~/.netrc has for its host."""
    user, password = get_auth_from_url(url)
    return HTTPBasicAuth(user, password) if user or password else _NoLogin()


class _NoLogin(AuthBase):
    """Keeps `requests` from looking for a login elsewhere."""

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        return request
