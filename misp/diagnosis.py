"""From what PyMISP raised, and MISP's last answer, to one of `errors`."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, TypeVar

from inkgate.config.printable import printable
from inkgate.misp.address import redirect_target
from inkgate.misp.errors import (
    CertificateError,
    MispError,
    NotAllowedError,
    NotMispError,
    RedirectedError,
    RejectedError,
    TooLargeError,
    UnavailableError,
)
from inkgate.remote import errors as remote

if TYPE_CHECKING:
    from requests import Response

E = TypeVar("E", bound=BaseException)

_LATER: Final = "try again later"
_URL: Final = "check url"
_TEMPORARY: Final = (408, 425, 429)
_KEY: Final = (401, 403)
_MAX_MESSAGE: Final = 300
_LONGEST_CHAIN: Final = 20
_CA_FILE: Final = "name the file of its CA in ca_file"
# By OpenSSL's X509_V_ERR_…: any other is an authority that is not known here.
_CERTIFICATE_REMEDIES: Final = {
    9: "check the clocks of both hosts",  # NOT_YET_VALID
    10: "have it renewed",  # HAS_EXPIRED
    62: "give url the name that the certificate is for",  # HOSTNAME_MISMATCH
    64: "give url the address that the certificate is for",  # IP_ADDRESS_MISMATCH
}


def diagnosed(place: str, error: Exception | None, answer: Response | None) -> MispError:
    """What went wrong.

    Nothing of the error's text is told: it may quote addresses with keys, or indicators.

    Args:
        place: names the MISP.
        error: what was raised; None if PyMISP took the answer for a good one.
        answer: the last answer; None if there was none.
    """
    if (certificate := _found(error, ssl.SSLCertVerificationError)) is not None:
        remedy = _CERTIFICATE_REMEDIES.get(certificate.verify_code, _CA_FILE)
        problem = f"has a certificate ({certificate.verify_message}) that is not trusted"
        return CertificateError(place, problem, remedy)
    if (large := _found(error, remote.TooLargeError)) is not None:
        problem = f"gives an answer that {large.problem}"
        return TooLargeError(place, problem, "check url, or lower page_size")
    if answer is None:
        return UnavailableError(place, f"does not answer{_kind(error)}", _LATER)
    if answer.is_redirect:
        return _redirected(place, answer)
    if answer.status_code >= 400:
        return _by_status(place, error, answer)
    return _by_content(place, error, answer)


def _redirected(place: str, answer: Response) -> MispError:
    target = redirect_target(answer.url, answer.headers["Location"])
    problem = f"redirects to {target}, where inkgate does not follow"
    return RedirectedError(place, problem, "if MISP is there, correct url", answer.status_code)


def _by_status(place: str, error: Exception | None, answer: Response) -> MispError:
    status = answer.status_code
    problem = f"answers with status {status}"
    if status >= 500 or status in _TEMPORARY:
        return UnavailableError(place, problem, _LATER, status)
    is_whole, said = _content(answer)
    if not is_whole:
        return _without_json(place, error, answer)
    if not isinstance(said, dict):
        return _not_misp(place, answer)
    message = message_of(said)
    if status in _KEY:
        remedy = "check key_file or key_variable"
        return NotAllowedError(place, "does not accept the key", remedy, status, message)
    return RejectedError(place, problem, _LATER, status, message)


def _by_content(place: str, error: Exception | None, answer: Response) -> MispError:
    is_whole, said = _content(answer)
    if not is_whole:
        return _without_json(place, error, answer)
    if isinstance(said, dict) and said.get("errors"):
        return UnavailableError(place, "answers with errors", _LATER, answer.status_code)
    return _not_misp(place, answer)


def _without_json(place: str, error: Exception | None, answer: Response) -> MispError:
    if "json" in answer.headers.get("Content-Type", ""):
        # Cut off, most likely.
        problem = f"does not answer in full{_kind(error)}"
        return UnavailableError(place, problem, _LATER, answer.status_code)
    return _not_misp(place, answer)


def _not_misp(place: str, answer: Response) -> MispError:
    status = answer.status_code
    return NotMispError(place, f"answers with status {status} and not as a MISP", _URL, status)


def _content(answer: Response) -> tuple[bool, Any]:
    """Whether it is JSON and whole, and what it says."""
    try:
        return True, json.loads(answer.content)
    except (ValueError, RuntimeError, OSError):
        return False, None


def _found(error: Exception | None, kind: type[E]) -> E | None:
    """The error of a kind that this one is, or was raised from."""
    return next((cause for cause in _chain(error) if isinstance(cause, kind)), None)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what it was raised from, and so on."""
    for _ in range(_LONGEST_CHAIN):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def _kind(error: Exception | None) -> str:
    if error is None:
        return ""
    # PyMISP packs what it does not know into an error of its own.
    cause = error.__context__ if isinstance(error.__context__, Exception) else error
    return f" ({type(cause).__name__})"


def message_of(said: Any) -> str:
    """MISP's own words in an answer, short and printable. They may quote what was sent."""
    text = str(said.get("message", "")) if isinstance(said, dict) else ""
    return printable(text)[:_MAX_MESSAGE]
