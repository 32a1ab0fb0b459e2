"""Why a MISP could not be asked, or did not do what it was asked to."""

from __future__ import annotations

from inkgate.config.errors import InkgateError


class MispError(InkgateError):
    """A MISP could not be asked. The text holds no key and no indicator.

    Whoever asks turns these into errors of their own, or lets them through.

    Args:
        place: the MISP: host, port and path, without a user or password of its address.
        problem: what is wrong, to be read after the place or after "MISP".
        remedy: what to do about it.
        status: the HTTP status of the answer; 0 if there was none.
    """

    def __init__(self, place: str, problem: str, remedy: str, status: int = 0) -> None:
        super().__init__(f"{place}: {problem}; {remedy}")
        self.place = place
        self.problem = problem
        self.remedy = remedy
        self.status = status


class UnavailableError(MispError):
    """It did not answer this time, or not in full; the next time may be different."""


class RejectedError(MispError):
    """It answered that it does not do this: a status from 400 to 499, in JSON.

    Attributes:
        message: MISP's own words, short and printable. They may quote what was sent.
    """

    def __init__(self, place: str, problem: str, remedy: str, status: int, message: str) -> None:
        super().__init__(place, problem, remedy, status)
        self.message = message


class NotAllowedError(RejectedError):
    """It does not accept the key, or does not let the key's owner do this (401 and 403)."""


class CertificateError(MispError):
    """Its certificate is not trusted."""


class RedirectedError(MispError):
    """It redirects to another address, which is named and was not asked."""


class NotMispError(MispError):
    """Something else than a MISP answers, for instance a login page or another server."""


class TooSlowError(MispError):
    """All requests together took longer than they may."""


class TooLargeError(MispError):
    """An answer is larger than is taken."""
