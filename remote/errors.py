"""Why another machine's answer was not taken."""

from __future__ import annotations

from inkgate.config.errors import InkgateError


class RemoteError(InkgateError):
    """An answer was not taken. Whoever asked adds the place, and says it in its own words.

    Args:
        problem: what is wrong, to be read after the place. Holds nothing that was received.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class OutOfTimeError(RemoteError):
    """All answers together took longer than the deadline allows."""


class TooLargeError(RemoteError):
    """An answer is larger than allowed, packed or unpacked, or of too many parts."""


class BrokenBodyError(RemoteError):
    """An answer's body cannot be unpacked, or ends too early."""


class InnerAddressError(RemoteError):
    """A host that was outside has an address of this machine or network now."""


class RedirectRefusedError(RemoteError):
    """A redirect leads to where none is followed.

    Attributes:
        url: what was asked.
        location: where it leads, as it was received: not to be printed as it is.
    """

    def __init__(self, url: str, location: str) -> None:
        super().__init__("redirects to where inkgate does not follow")
        self.url = url
        self.location = location


class UntrustedCertificateError(RemoteError):
    """The certificate of who is asked is not trusted: waiting does not help."""
