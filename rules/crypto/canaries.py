"""Canaries: values that nobody but a check asks for, the same for publisher and subscriber.

Both derive them from the subscriber's token (docs/format.md, section 11), so nothing is
stored or sent. The publisher seals them into each of the subscriber's sets; the check asks
the proxy for them, and a proxy that lets one pass does not block. Names are below
`.invalid`, which no DNS server resolves (RFC 6761, section 6.4).
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final, NamedTuple

from inkgate.rules.canonical.fields import length_prefixed
from inkgate.rules.crypto.derive import expand
from inkgate.rules.crypto.weak_token import MIN_TOKEN_BYTES

_LABEL: Final = b"inkgate/v1 canary"
_NAME_BYTES: Final = 16
_BODY_BYTES: Final = 32
# Above the ports that Linux and the IANA give to clients for a while, so that the check can
# nearly always listen there, and hardly any service does.
_FIRST_PORT: Final = 61_000
_PORTS: Final = 4_500

REPLY_ADDRESSES: Final = ("127.0.0.1", "::1")
"""Where an origin of the check answers; listed with its port only."""


class Canaries(NamedTuple):
    """One subscriber's canaries, and what lies beside them and must pass.

    Attributes:
        name: a host; it is listed as class `domain`, and so are all hosts below it: a check
            that puts a new label in front is answered by no cache.
        url: on another host; listed as class `url`, with any query, while its host is not.
        neighbour: a host that is not listed, nor is any below it.
        neighbour_url: on the host of `url`; it is not listed.
        reply_port: listed with each of REPLY_ADDRESSES as class `ip-dst|port`.
        body: its digest is listed in sets that list digests.
    """

    name: str
    url: str
    neighbour: str
    neighbour_url: str
    reply_port: int
    body: bytes

    def digest(self, algorithm: str = "sha256") -> str:
        """The body's digest, lower-case hexadecimal.

        Args:
            algorithm: hashlib's name.
        """
        # MD5 and SHA-1 find a file, they protect nothing.
        return hashlib.new(algorithm, self.body, usedforsecurity=False).hexdigest()


def canaries(token: bytes) -> Canaries:
    """The canaries of the subscriber with this token.

    Raises:
        ValueError: the token is shorter than 16 bytes.
    """
    if len(token) < MIN_TOKEN_BYTES:
        raise ValueError(f"a token has at least {MIN_TOKEN_BYTES} bytes")
    key = hmac.digest(length_prefixed(_LABEL), token, "sha256")
    url_host = f"http://{_host(key, 'url')}"
    return Canaries(
        name=_host(key, "name"),
        url=f"{url_host}/canary",
        neighbour=_host(key, "neighbour"),
        neighbour_url=f"{url_host}/neighbour",
        reply_port=_FIRST_PORT + int.from_bytes(_part(key, "port", 8)) % _PORTS,
        body=f"inkgate canary {_part(key, 'body', _BODY_BYTES).hex()}\n".encode(),
    )


def _host(key: bytes, what: str) -> str:
    return f"inkgate-{what}-{_part(key, what, _NAME_BYTES).hex()}.invalid"


def _part(key: bytes, what: str, length: int) -> bytes:
    return expand(key, length_prefixed(_LABEL, what.encode()), length)
