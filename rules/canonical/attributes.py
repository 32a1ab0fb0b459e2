"""From a MISP attribute's type and value to the canonical value that is derived from."""

from __future__ import annotations

from typing import NamedTuple

from inkgate.rules.canonical.classes import IndicatorClass, class_of, joint_kind
from inkgate.rules.canonical.defang import refang
from inkgate.rules.canonical.fields import length_prefixed
from inkgate.rules.canonical.forms import PORT, CanonicalForm, Kind
from inkgate.rules.canonical.hosts import Host
from inkgate.rules.canonical.refused import MAX_VALUE_BYTES, Refused, check_size


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


def canonical_attribute(misp_type: str, text: str) -> Value:
    """Mend what is unambiguous in an indicator's spelling and canonicalise it.

    Raises:
        Refused: there is no canonical form; the reason never holds the value.
    """
    known = class_of(misp_type)
    check_size(text)
    text = _keepable(text)
    value = _conjunction(known, text) if len(known.forms) > 1 else _single(known, text)
    # Escapes make some values longer than their text, and no reader derives such a one.
    if len(value.data) > MAX_VALUE_BYTES:
        raise Refused(f"longer than {MAX_VALUE_BYTES} bytes in canonical form")
    return value


def _single(known: IndicatorClass, text: str) -> Value:
    part = known.forms[0].write(text)
    host = part.host if known.gated else None
    return Value(part.kind, part.text.encode(), host, part.is_url, (part.text,))


def _keepable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Refused("not Unicode text") from None
    return text


def _conjunction(known: IndicatorClass, text: str) -> Value:
    texts = _split_parts(known.forms, text)
    parts = [form.write(value) for form, value in zip(known.forms, texts, strict=True)]
    kind = joint_kind(part.kind for part in parts)
    data = length_prefixed(*(part.text.encode() for part in parts))
    host = parts[0].host if known.gated else None
    return Value(kind, data, host, False, tuple(part.text for part in parts))


def _split_parts(forms: tuple[CanonicalForm, ...], text: str) -> list[str]:
    # A file name may hold a `|`, so the parts after the first are cut from the end.
    texts = text.rsplit("|", len(forms) - 1)
    if len(texts) != len(forms) and forms[-1] is PORT:
        # Old events write `address:port` (MISP converts it on input since 2.4).
        texts = refang(text).rsplit(":", 1)
    if len(texts) != len(forms):
        raise Refused(f"not {len(forms)} values joined by '|'")
    return texts
