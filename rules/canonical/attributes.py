"""From a MISP attribute's type and value to the canonical value that is derived from."""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

from inkgate.rules.canonical.addresses import canonical_network, check_unambiguous
from inkgate.rules.canonical.defang import refang, refang_url
from inkgate.rules.canonical.digests import DIGEST_LENGTHS, canonical_digest
from inkgate.rules.canonical.fields import length_prefixed
from inkgate.rules.canonical.hosts import Host, canonical_host
from inkgate.rules.canonical.refused import Refused, check_size
from inkgate.rules.canonical.text import canonical_text
from inkgate.rules.canonical.urls import canonical_url

Kind = Literal["name", "ip", "url", "digest", "text"]

_TYPE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9|_./ -]{0,63}", re.ASCII)
_NAMES: Final = frozenset(("domain", "hostname"))
_ADDRESSES: Final = frozenset(("ip-src", "ip-dst", "ip"))
_URLS: Final = frozenset(("url", "uri", "link"))
_NO_GATE: Final = frozenset(("ip-src", "ip-src|port"))
_PARTS: Final = {"malware-sample": ("filename", "md5")}
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class Value(NamedTuple):
    """A canonical value.

    Attributes:
        kind: chooses the KDF profile.
        data: the bytes that go into the derivation.
        host: the host that the gates must let through, if it has one.
        is_url: whether that is the host of a URL.
        parts: the canonical parts; one unless the type has several.
    """

    kind: Kind
    data: bytes
    host: Host | None
    is_url: bool
    parts: tuple[str, ...]


class _Part(NamedTuple):
    kind: Kind
    text: str
    host: Host | None = None
    is_url: bool = False


def canonical_attribute(misp_type: str, text: str) -> Value:
    """Mend what is unambiguous in an indicator's spelling and canonicalise it.

    Raises:
        Refused: there is no canonical form; the reason never holds the value.
    """
    if not _TYPE.fullmatch(misp_type):
        raise Refused("not a MISP type")
    check_size(text)
    text = _keepable(text)
    types = _PARTS.get(misp_type) or tuple(misp_type.split("|"))
    if len(types) == 1:
        part = _single(misp_type, text)
        host = None if misp_type in _NO_GATE else part.host
        return Value(part.kind, _encode(part.text), host, part.is_url, (part.text,))
    return _conjunction(misp_type, types, text)


def _keepable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Refused("not Unicode text") from None
    return text


def _conjunction(misp_type: str, types: tuple[str, ...], text: str) -> Value:
    texts = _split_parts(types, text)
    parts = [_single(name, value) for name, value in zip(types, texts, strict=True)]
    kinds = [part.kind for part in parts]
    kind: Kind = "digest" if "digest" in kinds else next((k for k in kinds if k != "text"), "text")
    data = length_prefixed(*(_encode(part.text) for part in parts))
    host = None if misp_type in _NO_GATE else parts[0].host
    return Value(kind, data, host, False, tuple(part.text for part in parts))


def _split_parts(types: tuple[str, ...], text: str) -> list[str]:
    # A file name may hold a `|`, so the parts after the first are cut from the end.
    texts = text.rsplit("|", len(types) - 1)
    if len(texts) != len(types) and types[-1] == "port":
        # Old events write `address:port` (MISP converts it on input since 2.4).
        texts = refang(text).rsplit(":", 1)
    if len(texts) != len(types):
        raise Refused(f"not {len(types)} values joined by '|'")
    return texts


def _single(misp_type: str, text: str) -> _Part:
    if misp_type in _NAMES:
        return _name(refang(text))
    if misp_type in _ADDRESSES:
        return _address(refang(text))
    if misp_type in _URLS:
        return _url(misp_type, refang_url(text))
    if misp_type in DIGEST_LENGTHS:
        return _Part("digest", canonical_digest(misp_type, text))
    if misp_type.startswith("email"):
        text = refang(text) if "@" in refang(text) else text
    return _Part("text", canonical_text(misp_type, text))


def _name(text: str) -> _Part:
    scheme = _SCHEME.match(text)
    if scheme:
        text = text[scheme.end() :]
    text = text.strip().removesuffix("/")
    if "/" in text or "?" in text:
        raise Refused("a URL, not a name")
    host = canonical_host(text.removeprefix("*."))
    return _Part(host.kind, host.value, host)


def _address(text: str) -> _Part:
    check_unambiguous(text)
    network = canonical_network(text)
    return _Part("ip", network, None if "/" in network else Host("ip", network))


def _url(misp_type: str, text: str) -> _Part:
    try:
        url = canonical_url(text)
    except Refused:
        if misp_type != "uri":
            raise
        # MISP's `uri` is often a path only: it is kept as text.
        return _Part("text", canonical_text(misp_type, text))
    return _Part("url", url.value, url.host, True)


def _encode(text: str) -> bytes:
    return text.encode()
