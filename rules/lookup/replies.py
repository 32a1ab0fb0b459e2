"""What a reply matches: its server's address, its body's digests, its file's name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from inkgate.rules.canonical import Refused, canonical_address
from inkgate.rules.canonical.fields import length_prefixed
from inkgate.rules.lookup.matcher import Match, Matcher
from inkgate.rules.lookup.target import parse_target

# The digests of a whole body that have a MISP type of their own, by hashlib's name.
ALGORITHMS: Final = {
    "md5": "md5",
    "sha1": "sha1",
    "sha224": "sha224",
    "sha256": "sha256",
    "sha384": "sha384",
    "sha512": "sha512",
    "sha512/224": "sha512_224",
    "sha512/256": "sha512_256",
    "sha3-224": "sha3_224",
    "sha3-256": "sha3_256",
    "sha3-384": "sha3_384",
    "sha3-512": "sha3_512",
}
_NAMED: Final = "filename|"
_SAMPLE: Final = "malware-sample"


class ReplyClasses(NamedTuple):
    """Which classes of a rule set a reply can match.

    Attributes:
        digests: classes that are a digest alone.
        named: classes that are a file's name with a digest, and the digest's type.
        filename: whether names by themselves are listed.
    """

    digests: tuple[str, ...] = ()
    named: tuple[tuple[str, str], ...] = ()
    filename: bool = False

    @property
    def algorithms(self) -> frozenset[str]:
        """The digests to compute, by MISP type."""
        return frozenset((*self.digests, *(digest for _, digest in self.named)))

    @property
    def any(self) -> bool:
        """Whether anything of a body or its name can match."""
        return bool(self.digests or self.named or self.filename)


def reply_classes(matcher: Matcher | None) -> ReplyClasses:
    """What a rule set asks of a reply."""
    if matcher is None:
        return ReplyClasses()
    has = matcher.generation.has_class
    named = [(_NAMED + digest, digest) for digest in ALGORITHMS] + [(_SAMPLE, "md5")]
    return ReplyClasses(
        tuple(name for name in ALGORITHMS if has(name)),
        tuple(pair for pair in named if has(pair[0])),
        has("filename"),
    )


def server_matches(server: str, method: str, uri: str, matcher: Matcher) -> tuple[Match, ...]:
    """Matches of the address that answered, alone and together with the name asked for.

    Raises:
        PackError: the rule set is damaged.
    """
    try:
        address = canonical_address(server)
    except Refused:
        return ()
    target = parse_target(method, uri)
    if target is None:
        return matcher.server_address(address)
    return matcher.server_address(address, target.host, target.port)


def filename_matches(names: Iterable[str], matcher: Matcher) -> Iterator[Match]:
    """Matches of a file's possible names by themselves.

    Raises:
        PackError: the rule set is damaged.
    """
    for name in names:
        if match := matcher.look_up("filename", "text", _encoded(name)):
            yield match


def digest_matches(
    digests: Mapping[str, str], names: Iterable[str], classes: ReplyClasses, matcher: Matcher
) -> Iterator[Match]:
    """Matches of one body.

    Args:
        digests: lower-case hexadecimal by MISP type.
        names: what the file may be called.
        classes: what `reply_classes` gave for this matcher.
        matcher: the rule set.

    Raises:
        PackError: the rule set is damaged.
    """
    for name in classes.digests:
        if match := matcher.look_up(name, "digest", digests[name].encode()):
            yield match
    for file in names:
        for name, digest in classes.named:
            data = length_prefixed(_encoded(file), digests[digest].encode())
            if match := matcher.look_up(name, "digest", data):
                yield match


def _encoded(name: str) -> bytes:
    return name.strip().encode("utf-8", "surrogateescape")
