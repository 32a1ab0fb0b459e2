"""What the thesis's matcher makes of a listed value when somebody has met it.

It sees a URL as a client sent it: without fragment and user, with slashes for
backslashes, and the name as an A-label. Then it spells it with the url-normalize that is
installed there. Most other values it leaves as they stand in the log.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from typing import Final

from inkgate.rules.canonical import (
    Refused,
    canonical_attribute,
    canonical_authority,
    class_of,
)
from inkgate.rules.canonical.defang import refang_url
from inkgate.rules.canonical.forms import CanonicalForm
from inkgate.rules.foreign.rule import Values
from inkgate.rules.foreign.spelling import URL_TYPES, thesis_value
from inkgate.rules.foreign.url_versions import NEWEST, VERSIONS
from inkgate.rules.sources.attribute import Attribute

_AFTER_AUTHORITY: Final = re.compile(r"[/\\?]")


def thesis_values(attribute: Attribute, versions: Iterable[str] = tuple(VERSIONS)) -> list[Values]:
    """An attribute's types and values as the matcher may look for them, each spelling once.

    Args:
        versions: of the partner's url-normalize; keys of `VERSIONS`.

    Raises:
        Refused: there is no canonical form of the value.
    """
    value = canonical_attribute(attribute.type, attribute.value)
    names = attribute.type.split("|")
    if len(names) != len(value.parts):
        # The value of malware-sample has two parts, but for the thesis it is one type.
        return [{attribute.type: "|".join(value.parts)}]
    versions = tuple(versions) if URL_TYPES.intersection(names) else (NEWEST,)
    spellings: list[Values] = []
    for met in _as_met(names, attribute):
        for version in versions:
            spelt = {
                name: thesis_value(name, text, version)
                for name, text in zip(names, met, strict=True)
            }
            if spelt not in spellings:
                spellings.append(spelt)
    return spellings


def _as_met(names: list[str], attribute: Attribute) -> Iterator[list[str]]:
    forms = class_of(attribute.type).forms
    for texts in _splits(attribute.value, len(names)):
        with contextlib.suppress(Refused):
            parts = [list(_part(*part)) for part in zip(names, forms, texts, strict=True)]
            for number in range(max(map(len, parts))):
                yield [part[min(number, len(part) - 1)] for part in parts]


def _splits(text: str, parts: int) -> list[list[str]]:
    # A file name may hold a `|` and so may a registry value: where it is not clear which
    # of them separates, both ends are tried; a part that is no digest refuses one way.
    ways = [text.rsplit("|", parts - 1), text.split("|", parts - 1)]
    if len(ways[0]) != parts:
        # Old events write `address:port`.
        ways = [text.rsplit(":", parts - 1)]
    return ways if ways[0] != ways[-1] else ways[:1]


def _part(name: str, form: CanonicalForm, text: str) -> Iterator[str]:
    part = form.write(text)
    if name in URL_TYPES and part.kind == "url":
        yield _as_requested(text)
        yield refang_url(text)
    else:
        yield part.text
        # The matcher leaves names and digests in the case that a log has.
        written = text.strip()
        if part.kind == "text" or written.lower() == part.text:
            yield written


def _as_requested(text: str) -> str:
    """A URL as Squid logs it when a client asks for it."""
    text = refang_url(text).partition("#")[0]
    authority = canonical_authority(text)
    if authority.scheme:
        text = text.partition(":")[2]
    text = text.lstrip("/\\")
    found = _AFTER_AUTHORITY.search(text)
    path, mark, query = (text[found.start() :] if found else "").partition("?")
    host = authority.host.value
    return (
        f"{authority.scheme or 'http'}://"
        + (f"[{host}]" if ":" in host else host)
        + (f":{authority.port}" if authority.port is not None else "")
        + path.replace("\\", "/")
        + mark
        + query
    )
