"""What a reply matches: its server's address, its body's digests, its file's name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from inkgate.rules.canonical import ObservedAt, Refused, canonical_address, class_of
from inkgate.rules.canonical.fields import length_prefixed
from inkgate.rules.lookup.matcher import Match, Matcher
from inkgate.rules.lookup.steps import Steps
from inkgate.rules.lookup.target import parse_target


class ReplyClasses(NamedTuple):
    """Which classes of a rule set a reply can match.

    Attributes:
        digests: classes that are a digest alone, and hashlib's name of the digest.
        named: classes that are a file's name with a digest, and that of the digest.
        names: classes that are a file's name alone.
    """

    digests: tuple[tuple[str, str], ...] = ()
    named: tuple[tuple[str, str], ...] = ()
    names: tuple[str, ...] = ()

    @property
    def filename(self) -> bool:
        """Whether names by themselves are listed."""
        return bool(self.names)

    @property
    def algorithms(self) -> frozenset[str]:
        """The digests to compute, by hashlib's names."""
        return frozenset(algorithm for _, algorithm in (*self.digests, *self.named))

    @property
    def any(self) -> bool:
        """Whether anything of a body or its name can match."""
        return bool(self.digests or self.named or self.names)


def reply_classes(matcher: Matcher | None) -> ReplyClasses:
    """What a rule set asks of a reply."""
    if matcher is None:
        return ReplyClasses()
    at = matcher.classes.at
    return ReplyClasses(
        tuple((keys.name, _algorithm(keys.name)) for keys in at[ObservedAt.BODY]),
        tuple((keys.name, _algorithm(keys.name)) for keys in at[ObservedAt.FILE_NAME_WITH_BODY]),
        tuple(keys.name for keys in at[ObservedAt.FILE_NAME]),
    )


def _algorithm(name: str) -> str:
    # In a class with a file's name, the digest is the second of its forms.
    return class_of(name).forms[-1].algorithm


def server_match_steps(
    server: str,
    method: str,
    uri: str,
    matcher: Matcher,
    into: list[Match],
    port: int | None = None,
) -> Steps[None]:
    """Look up the address that answered, alone and together with the name asked for.

    Args:
        server: its address.
        method: the request's.
        uri: the request's.
        matcher: the rule set.
        port: of the connection to it, if that is known; else the URI's counts.
        into: an empty list that has each match as soon as it is found. That of the other
            steps is the same.
    """
    try:
        address = canonical_address(server)
    except Refused:
        return
    target = parse_target(method, uri)
    if target is None:
        yield from matcher.server_steps(address, None, port, into)
        return
    if port is None:
        port = target.port
    elif port != target.port and target.whole:
        yield from matcher.host_port_steps(target.host, port, into)
    yield from matcher.server_steps(address, target.host, port, into)


def filename_steps(names: Iterable[str], matcher: Matcher, into: list[Match]) -> Steps[None]:
    """Look up a file's possible names by themselves."""
    for name in names:
        for keys in matcher.classes.at[ObservedAt.FILE_NAME]:
            match = yield from matcher.look_up_steps(keys.name, "text", _encoded(name))
            if match:
                into.append(match)


def digest_steps(
    digests: Mapping[str, str],
    names: Iterable[str],
    classes: ReplyClasses,
    matcher: Matcher,
    into: list[Match],
) -> Steps[None]:
    """Look up one body.

    Args:
        digests: lower-case hexadecimal by hashlib's names.
        names: what the file may be called.
        classes: what `reply_classes` gave for this matcher.
        matcher: the rule set.
        into: has each match as soon as it is found.
    """
    for name, algorithm in classes.digests:
        data = digests[algorithm].encode()
        if match := (yield from matcher.look_up_steps(name, "digest", data)):
            into.append(match)
    for file in names:
        for name, algorithm in classes.named:
            data = length_prefixed(_encoded(file), digests[algorithm].encode())
            if match := (yield from matcher.look_up_steps(name, "digest", data)):
                into.append(match)


def _encoded(name: str) -> bytes:
    return name.strip().encode("utf-8", "surrogateescape")
