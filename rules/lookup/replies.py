"""What a reply matches: its server's address, its body's digests, its file's name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from inkgate.rules.canonical import ObservedAt, Refused, canonical_address, class_of
from inkgate.rules.canonical.fields import length_prefixed
from inkgate.rules.lookup.matcher import Match, Matcher
from inkgate.rules.lookup.steps import finish
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


def server_matches(
    server: str, method: str, uri: str, matcher: Matcher, port: int | None = None
) -> tuple[Match, ...]:
    """Matches of the address that answered, alone and together with the name asked for.

    Args:
        server: its address.
        method: the request's.
        uri: the request's.
        matcher: the rule set.
        port: of the connection to it, if that is known; else the URI's counts.

    Raises:
        PackError: the rule set is damaged.
    """
    try:
        address = canonical_address(server)
    except Refused:
        return ()
    target = parse_target(method, uri)
    if target is None:
        return matcher.server_address(address, None, port)
    if port in (None, target.port):
        return matcher.server_address(address, target.host, target.port)
    steps = matcher.host_steps(target.host, port, whole=target.whole)
    at_host = finish(steps, matcher.stretch)
    return (*at_host.matches, *matcher.server_address(address, target.host, port))


def filename_matches(names: Iterable[str], matcher: Matcher) -> Iterator[Match]:
    """Matches of a file's possible names by themselves.

    Raises:
        PackError: the rule set is damaged.
    """
    for name in names:
        for keys in matcher.classes.at[ObservedAt.FILE_NAME]:
            if match := matcher.look_up(keys.name, "text", _encoded(name)):
                yield match


def digest_matches(
    digests: Mapping[str, str], names: Iterable[str], classes: ReplyClasses, matcher: Matcher
) -> Iterator[Match]:
    """Matches of one body.

    Args:
        digests: lower-case hexadecimal by hashlib's names.
        names: what the file may be called.
        classes: what `reply_classes` gave for this matcher.
        matcher: the rule set.

    Raises:
        PackError: the rule set is damaged.
    """
    for name, algorithm in classes.digests:
        if match := matcher.look_up(name, "digest", digests[algorithm].encode()):
            yield match
    for file in names:
        for name, algorithm in classes.named:
            data = length_prefixed(_encoded(file), digests[algorithm].encode())
            if match := matcher.look_up(name, "digest", data):
                yield match


def _encoded(name: str) -> bytes:
    return name.strip().encode("utf-8", "surrogateescape")
