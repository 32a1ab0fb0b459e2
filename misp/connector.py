"""Asking a MISP."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeVar

from inkgate.config.errors import Unreadable
from inkgate.config.regular_files import NOT_REGULAR
from inkgate.config.secret import read_secret
from inkgate.misp.address import base_url, place_of
from inkgate.misp.diagnosis import diagnosed
from inkgate.misp.errors import TooSlowError, UnavailableError
from inkgate.remote.deadline import Deadline
from inkgate.remote.errors import OutOfTimeError

if TYPE_CHECKING:
    from pymisp import PyMISP
    from requests import Response
    from tenacity import RetryCallState

    from inkgate.misp.session import LastAnswer

T = TypeVar("T")

_CONNECT_SECONDS: Final = 20.0
_LONGEST_WAIT: Final = 60.0
_LONGEST_WAITS: Final = 900.0
_TOO_MANY: Final = 429
_SLOW: Final = "the next refresh goes on where this one ended"


class LoginSettings(Protocol):
    """What the sections of inkgate.toml that name a MISP have in common."""

    @property
    def url(self) -> str: ...
    @property
    def key_file(self) -> str: ...
    @property
    def key_variable(self) -> str: ...
    @property
    def ca_file(self) -> str: ...
    @property
    def verify_tls(self) -> bool: ...
    @property
    def timeout(self) -> float: ...


class Connector:
    """One MISP. It is reached, and PyMISP imported, at the first request.

    Args:
        url: where it is, with its path if it has one.
        key: of one of its users.
        ca_file: certificates to trust; None means the system's authorities.
        verify_tls: False trusts anybody on the way.
        timeout: seconds to wait for each part of an answer, and for a connection at most.
        retries: how often a request is made again while MISP is unavailable.
        first_wait: seconds before the first of them; later waits double, at random.
        proxy: an address, "none", or nothing for that of the environment.
        deadline: of all requests together; None: there is none.

    Raises:
        Unreadable: `url` is none.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        ca_file: Path | None = None,
        verify_tls: bool = True,
        timeout: float = 60.0,
        retries: int = 0,
        first_wait: float = 1.0,
        proxy: str = "",
        deadline: Deadline | None = None,
    ) -> None:
        self.place = place_of(url)
        self._url = base_url(url)
        self._key = key
        self._ca_file = ca_file
        self._verify_tls = verify_tls
        self._timeout = timeout
        self._retries = retries
        self._first_wait = first_wait
        self._proxy = proxy
        self._deadline = deadline
        self._waited = 0.0
        self._misp: PyMISP | None = None
        self._last: LastAnswer | None = None

    @classmethod
    def configured(
        cls,
        settings: LoginSettings,
        folder: Path,
        *,
        retries: int = 0,
        first_wait: float = 1.0,
        proxy: str = "",
        deadline: Deadline | None = None,
    ) -> Self:
        """The MISP that a section of the settings names.

        Args:
            settings: the section.
            folder: where its relative paths begin.
            retries, first_wait, proxy, deadline: see the class.

        Raises:
            Unreadable: there is no key, or `url` is none.
        """
        key_file = folder / settings.key_file if settings.key_file else None
        return cls(
            settings.url,
            read_secret(key_file, settings.key_variable, place_of(settings.url)),
            ca_file=folder / settings.ca_file if settings.ca_file else None,
            verify_tls=settings.verify_tls,
            timeout=settings.timeout,
            retries=retries,
            first_wait=first_wait,
            proxy=proxy,
            deadline=deadline,
        )

    def connect(self) -> None:
        """Reach the MISP now, and see whether it accepts the key.

        Raises:
            MispError: it cannot be reached, or does not.
            Unreadable: `ca_file` is not there, or holds no certificate.
        """
        self._retried(self._connected)

    def request(self, question: Callable[[PyMISP], Any]) -> Any:
        """Ask with PyMISP.

        Args:
            question: calls one method of PyMISP and does nothing else. Called again
                after an unknown outcome if there are retries.

        Returns:
            What the method returned: MISP's JSON, an object or a list.

        Raises:
            MispError: MISP could not be asked, or does not do it.
            Unreadable: as from `connect`.
        """
        return self._retried(lambda: self._ask(question))

    def text(self, question: Callable[[PyMISP], Any]) -> str:
        """Ask with PyMISP for something that is not JSON; otherwise as `request`."""
        found: str = self._retried(lambda: self._ask(question, (str,)))
        return found

    def header(self, name: str) -> str:
        """A header of the last answer; empty if there is none."""
        answer = self._last_answer()
        return answer.headers.get(name, "") if answer is not None else ""

    def number(self, name: str) -> int | None:
        """A header of the last answer that is a decimal number, else None."""
        text = self.header(name)
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None

    def _ask(
        self, question: Callable[[PyMISP], Any], kinds: tuple[type, ...] = (dict, list)
    ) -> Any:
        misp = self._connected()
        answer = self._guarded(lambda: question(misp))
        has_errors = isinstance(answer, dict) and answer.get("errors")
        if has_errors or not isinstance(answer, kinds):
            raise diagnosed(self.place, None, self._last_answer())
        return answer

    def _connected(self) -> PyMISP:
        if self._misp is None:
            # Imported here: it takes a quarter of a second, and not every run asks a MISP.
            from inkgate.misp.session import LastAnswer, open_session  # noqa: PLC0415

            self._last = last = LastAnswer()
            timeout = (min(_CONNECT_SECONDS, self._timeout), self._timeout)
            verify = self._verification()
            self._misp = self._guarded(
                lambda: open_session(
                    self._url,
                    self._key,
                    verify,
                    timeout,
                    last,
                    proxy=self._proxy,
                    deadline=self._deadline,
                )
            )
        return self._misp

    def _guarded(self, act: Callable[[], T]) -> T:
        if self._last is not None:
            self._last.answer = None
        try:
            return act()
        except Exception as error:  # noqa: BLE001 (PyMISP lets many kinds through)
            self._check_time()
            raise diagnosed(self.place, error, self._last_answer()) from None

    def _check_time(self) -> None:
        try:
            if self._deadline is not None:
                self._deadline.check()
        except OutOfTimeError as error:
            raise TooSlowError(self.place, error.problem, _SLOW) from None

    def _sleep(self, seconds: float) -> None:
        if self._deadline is None:
            time.sleep(seconds)
            return
        with suppress(OutOfTimeError):
            self._deadline.sleep(seconds)
        self._check_time()

    def _last_answer(self) -> Response | None:
        return self._last.answer if self._last is not None else None

    def _verification(self) -> bool | str:
        if self._ca_file is None or not self._verify_tls:
            return self._verify_tls
        if not self._ca_file.exists():
            raise Unreadable(self._ca_file, None, "does not exist", "correct ca_file")
        if not (self._ca_file.is_file() or self._ca_file.is_dir()):
            raise Unreadable(self._ca_file, None, NOT_REGULAR, "correct ca_file")
        try:
            # A folder of certificates is looked into by OpenSSL, one certificate at a time.
            if not self._ca_file.is_dir():
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(self._ca_file)
        except OSError:
            problem = "cannot be read, or holds no certificate"
            raise Unreadable(self._ca_file, None, problem, "correct ca_file") from None
        return str(self._ca_file)

    def _retried(self, act: Callable[[], T]) -> T:
        if not self._retries:
            return act()
        from tenacity import (  # noqa: PLC0415 (a twentieth of a second)
            Retrying,
            retry_if_exception_type,
            wait_random_exponential,
        )

        backoff = wait_random_exponential(multiplier=self._first_wait, max=_LONGEST_WAIT)
        retrying = Retrying(
            retry=retry_if_exception_type(UnavailableError),
            wait=lambda state: self._pause(backoff(state)),
            stop=self._gives_up,
            sleep=self._sleep,
            reraise=True,
        )
        return retrying(act)

    def _pause(self, seconds: float) -> float:
        """At least as long as MISP asks for."""
        asked = self.number("Retry-After") or 0
        answer = self._last_answer()
        if answer is not None and answer.status_code == _TOO_MANY:
            # What MISP itself says of its rate limit: seconds to the end of its window.
            asked = max(asked, self.number("X-Rate-Limit-Reset") or 0)
        seconds = max(seconds, asked)
        self._waited += seconds
        return seconds

    def _gives_up(self, state: RetryCallState) -> bool:
        return state.attempt_number > self._retries or self._waited > _LONGEST_WAITS
