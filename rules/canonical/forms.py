"""Canonical forms: how the text of one value is written in one way (docs/format.md, section 2).

A class of indicators is made of one of them, or of several as a conjunction
(`inkgate.rules.canonical.classes`).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from inkgate.rules.canonical.addresses import canonical_network, check_unambiguous
from inkgate.rules.canonical.defang import refang, refang_url
from inkgate.rules.canonical.digests import canonical_digest
from inkgate.rules.canonical.hosts import Host, canonical_host
from inkgate.rules.canonical.refused import Refused
from inkgate.rules.canonical.shown import check_can_be_shown, check_no_placeholder
from inkgate.rules.canonical.text import (
    as_number,
    canonical_text,
    lower_text,
    port_number,
    upper_text,
)
from inkgate.rules.canonical.urls import Url, canonical_url

Kind = Literal["name", "ip", "url", "digest", "text"]

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class Part(NamedTuple):
    """A canonical value, or one of the parts of a conjunction.

    Attributes:
        host: the host that the gates must let through, if it has one.
        is_url: whether that is the host of a URL.
    """

    kind: Kind
    text: str
    host: Host | None = None
    is_url: bool = False


class CanonicalForm(NamedTuple):
    """A way to write values.

    Attributes:
        kind: of its values; a name that turns out to be an address has kind `ip`.
        write: mends what is unambiguous in a spelling and canonicalises it. Raises
            `Refused` for what has no canonical form.
        title: what it is, in the words of docs/format.md.
        lengths: hexadecimal digits that a digest may have.
        algorithm: hashlib's name of a digest that can be made of a file's content alone.
    """

    kind: Kind
    write: Callable[[str], Part]
    title: str
    lengths: tuple[int, ...] = ()
    algorithm: str = ""


def digest(name: str, *lengths: int, algorithm: str = "") -> CanonicalForm:
    """The form of a digest in hexadecimal, of so many digits."""
    write = functools.partial(_digest, lengths=lengths, name=name)
    digits = " or ".join(map(str, lengths))
    return CanonicalForm("digest", write, f"{digits} hex digits", lengths, algorithm)


def _name(text: str) -> Part:
    text = refang(text)
    scheme = _SCHEME.match(text)
    if scheme:
        text = text[scheme.end() :]
    text = text.strip().removesuffix("/")
    check_no_placeholder(text)
    if "/" in text or "?" in text:
        raise Refused("a URL, not a name")
    host = canonical_host(text.removeprefix("*."))
    # `none.` is one as well, by what it is written as in the end.
    check_no_placeholder(host.value)
    return Part(host.kind, host.value, host)


def _address(text: str) -> Part:
    text = refang(text)
    check_unambiguous(text)
    network = canonical_network(text)
    return Part("ip", network, None if "/" in network else Host("ip", network))


def _url(text: str) -> Part:
    text = refang_url(text)
    return _of_url(text, canonical_url(text))


def _url_or_path(text: str) -> Part:
    text = refang_url(text)
    try:
        url = canonical_url(text)
    except Refused:
        # MISP's `uri` is often a path only: it is kept as text.
        return _text(text)
    return _of_url(text, url)


def _of_url(text: str, url: Url) -> Part:
    check_can_be_shown(text, url)
    return Part("url", url.value, url.host, is_url=True)


def _digest(text: str, lengths: tuple[int, ...], name: str) -> Part:
    return Part("digest", canonical_digest(text, lengths, name))


def _text(text: str) -> Part:
    return Part("text", canonical_text(text))


def _lower(text: str) -> Part:
    return Part("text", lower_text(text))


def _upper(text: str) -> Part:
    return Part("text", upper_text(text))


def _as_number(text: str) -> Part:
    return Part("text", as_number(text))


def _port(text: str) -> Part:
    return Part("text", port_number(text))


def _of_email(text: str) -> Part:
    refanged = refang(text)
    return _text(refanged if "@" in refanged else text)


def _email_address(text: str) -> Part:
    part = _of_email(text)
    return part._replace(text=part.text.lower())


NAME: Final = CanonicalForm("name", _name, "name")
ADDRESS: Final = CanonicalForm("ip", _address, "address or network")
URL: Final = CanonicalForm("url", _url, "URL")
URL_OR_PATH: Final = CanonicalForm("url", _url_or_path, "URL (text if it has no host)")
TEXT: Final = CanonicalForm("text", _text, "text")
LOWER: Final = CanonicalForm("text", _lower, "text in lower case")
UPPER: Final = CanonicalForm("text", _upper, "text in upper case")
AS_NUMBER: Final = CanonicalForm("text", _as_number, "number without `AS`")
PORT: Final = CanonicalForm("text", _port, "port number")
EMAIL_ADDRESS: Final = CanonicalForm("text", _email_address, "e-mail address")
OF_EMAIL: Final = CanonicalForm("text", _of_email, "text of an e-mail")

MD5: Final = digest("md5", 32, algorithm="md5")
SHA1: Final = digest("sha1", 40, algorithm="sha1")
SHA224: Final = digest("sha224", 56, algorithm="sha224")
SHA256: Final = digest("sha256", 64, algorithm="sha256")
SHA384: Final = digest("sha384", 96, algorithm="sha384")
SHA512: Final = digest("sha512", 128, algorithm="sha512")
SHA512_224: Final = digest("sha512/224", 56, algorithm="sha512_224")
SHA512_256: Final = digest("sha512/256", 64, algorithm="sha512_256")
SHA3_224: Final = digest("sha3-224", 56, algorithm="sha3_224")
SHA3_256: Final = digest("sha3-256", 64, algorithm="sha3_256")
SHA3_384: Final = digest("sha3-384", 96, algorithm="sha3_384")
SHA3_512: Final = digest("sha3-512", 128, algorithm="sha3_512")
AUTHENTIHASH: Final = digest("authentihash", 64)
IMPHASH: Final = digest("imphash", 32)
PEHASH: Final = digest("pehash", 40)
