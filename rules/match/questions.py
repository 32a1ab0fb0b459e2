"""Values asked for by hand, `TYPE=VALUE`: what a proxy would find of each, and of them together.

A question becomes an entry, as a line of a log does. So a URL also finds rules for its
host, and a name those for its parents. Questions that follow each other are one
observation until a type comes again: `ip-dst=… port=…` also finds `ip-dst|port`.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Final, NamedTuple

from inkgate.rules.canonical import (
    ObservedAt,
    Refused,
    Value,
    canonical_attribute,
    class_of,
    refang,
)
from inkgate.rules.canonical.classes import CLASSES
from inkgate.rules.canonical.defang import refang_url
from inkgate.rules.canonical.misp_types import MISP_TYPES
from inkgate.rules.lookup.matcher import Match
from inkgate.rules.lookup.target import parse_target
from inkgate.rules.match.engine import Engine
from inkgate.rules.match.errors import MatchError
from inkgate.rules.match.logs.entry import Entry

_SERVER: Final = {ObservedAt.ADDRESS, ObservedAt.ADDRESS_WITH_PORT}
_HOST: Final = {
    ObservedAt.HOST_OR_PARENT,
    ObservedAt.HOST,
    ObservedAt.HOST_WITH_PORT,
    ObservedAt.HOST_WITH_ADDRESS,
}
_PORT: Final = {ObservedAt.HOST_WITH_PORT, ObservedAt.ADDRESS_WITH_PORT}
# Types whose first part is an address, which no front end observes as this type.
_SERVERS: Final = frozenset(("ip",))
_CLIENTS: Final = frozenset(("ip-src|port",))


class Question(NamedTuple):
    """One argument.

    Attributes:
        shown: as it was typed.
        name: the MISP type.
        entry: what it shows.
    """

    shown: str
    name: str
    text: str
    entry: Entry


def parse_question(argument: str, number: int, installed: Container[str]) -> Question:
    """Read an argument `TYPE=VALUE`.

    Args:
        number: its place among the arguments, from 1.
        installed: classes of the installed set, which may have types that are not known here.

    Raises:
        MatchError: the type is unknown, or the value is none of this type.
    """
    name, _, text = argument.partition("=")
    if name not in MISP_TYPES and name not in CLASSES and name not in installed:
        near = get_close_matches(name.lower(), [*CLASSES, *MISP_TYPES], 1)
        remedy = f"do you mean {near[0]}?" if near else "write for instance domain=listed.example"
        raise MatchError(
            f"argument {number}: {name!r} is no type of MISP; {remedy} (a file of this name is "
            "read as ./NAME)"
        )
    try:
        return Question(argument, name, text, _entry(name, text))
    except Refused as refused:
        raise MatchError(f"argument {number}: {name}: {refused.reason}; correct it") from None


def answers(engine: Engine, questions: Sequence[Question]) -> Iterator[tuple[str, Match]]:
    """What questions find, each rule once for a question; with the questions' text.

    Raises:
        PackError: the rule set is damaged.
    """
    for group in _observations(questions):
        told: set[tuple[str, str]] = set()
        for question in group:
            for match in engine.matches(question.entry):
                told.add(_identity(match))
                yield question.shown, match
        if len(group) > 1:
            shown = " ".join(question.shown for question in group)
            for match in engine.matches(_joined(group)):
                if _identity(match) not in told:
                    yield shown, match


def _identity(match: Match) -> tuple[str, str]:
    return match.indicator_class, str(match.message)


def _observations(questions: Iterable[Question]) -> Iterator[list[Question]]:
    """Questions that follow each other, until a type comes again."""
    group: list[Question] = []
    for question in questions:
        if any(question.name == other.name for other in group):
            yield group
            group = []
        group.append(question)
    if group:
        yield group


def _entry(name: str, text: str) -> Entry:
    """What a proxy sees of a value.

    Raises:
        Refused: nothing that could be listed.
    """
    at = set(class_of(name).observed_at)
    try:
        value = canonical_attribute(name, text)
    except Refused:
        # A proxy also sees what nobody would list: a strange path on a listed host.
        entry = _as_seen(at, text)
        if entry is None:
            raise
        return entry
    entry = (_as_seen(at, text) if ObservedAt.URL in at else None) or _of_parts(name, at, value)
    return entry._replace(values=tuple(dict.fromkeys(((name, text), *_values(name, value)))))


def _as_seen(at: set[ObservedAt], text: str) -> Entry | None:
    """A host or URL as a proxy reads it; None if it cannot."""
    if ObservedAt.URL in at:
        uri = refang_url(text).strip()
        return Entry(uri=uri) if parse_target("GET", uri) else None
    if at & {ObservedAt.HOST_OR_PARENT, ObservedAt.HOST}:
        name = refang(text).strip()
        return Entry(names=(name,)) if parse_target("GET", f"//{name}/") else None
    return None


def _of_parts(name: str, at: set[ObservedAt], value: Value) -> Entry:
    first, last = value.parts[0], value.parts[-1]
    port = last if at & _PORT or name in _CLIENTS else ""
    if "/" in first:
        # A URL without a scheme is read above, so this is a network, or a path.
        return Entry()
    if at & _SERVER or name in _SERVERS:
        return Entry(server=first, port=port, names=(_bracketed(first),))
    if at & _HOST:
        addresses = (last,) if ObservedAt.HOST_WITH_ADDRESS in at else ()
        return Entry(names=(_bracketed(first),), addresses=addresses, port=port)
    if ObservedAt.CLIENT in at or name in _CLIENTS:
        return Entry(client=first)
    return Entry(user_agent=first) if ObservedAt.USER_AGENT in at else Entry()


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _values(name: str, value: Value) -> Iterator[tuple[str, str]]:
    """The parts of a conjunction by themselves, and the classes that are made of the same parts."""
    if len(value.parts) == 1:
        return
    names = name.split("|")
    if name == "malware-sample":
        names = ["filename", "md5"]
    yield from _composed(names[0], names[1], "|".join(value.parts))
    if len(names) == len(value.parts):
        yield from zip(names, value.parts, strict=True)


def _composed(first: str, last: str, text: str) -> Iterator[tuple[str, str]]:
    yield f"{first}|{last}", text
    if (first, last) == ("filename", "md5"):
        yield "malware-sample", text


def _joined(group: Sequence[Question]) -> Entry:
    """What several questions of one observation show together."""
    entries = [question.entry for question in group]
    servers = [entry.server for entry in entries if entry.server]
    named = [entry.names for entry in entries if entry.names and not entry.server]
    ports = [question.text.strip() for question in group if question.name == "port"]
    server = _first(servers)
    values = (
        composed
        for one in group
        for other in group
        if one is not other and "|" not in one.name + other.name
        for composed in _composed(one.name, other.name, f"{one.text}|{other.text}")
    )
    return Entry(
        uri=_first(entry.uri for entry in entries),
        server=server,
        user_agent=_first(entry.user_agent for entry in entries),
        client=_first(entry.client for entry in entries),
        port=_first(ports),
        names=tuple(name for names in named for name in names) or _hosts(server),
        addresses=tuple(servers),
        values=tuple(dict.fromkeys(values)),
    )


def _first(texts: Iterable[str]) -> str:
    return next(filter(None, texts), "")


def _hosts(server: str) -> tuple[str, ...]:
    return (_bracketed(server),) if server else ()
