"""A real, bounded attack on the installed set, with the token: what a thief would run."""

from __future__ import annotations

import ipaddress
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from inkgate.rules.canonical import Refused, canonical_attribute, class_of, single_classes
from inkgate.rules.crypto.derive import Unstretched
from inkgate.rules.lookup.matcher import Matcher
from inkgate.rules.lookup.steps import Stretch
from inkgate.rules.match.errors import MatchError

_MAX_LINE: Final = 8192
_DIGESTS: Final = {
    digits: tuple(n for n in single_classes("digest") if digits in class_of(n).forms[0].lengths)
    for digits in (32, 40, 56, 64, 96, 128)
}
_NAMES: Final = single_classes("name")
_URLS: Final = single_classes("url")
_NETWORKS: Final = single_classes("ip")
# A name may be an address (docs/format.md, section 2.7).
_ADDRESSES: Final = (*_NETWORKS, *_NAMES)

Guess = tuple[str, bytes, tuple[str, ...], str]
"""Kind and canonical value, the classes in which it may be, and how it was given."""


class Attack(NamedTuple):
    """What an attack found, and what it took.

    Attributes:
        recovered: matched rules, by class.
        values: what was recovered, in clear.
        tested: guesses; each cost one derivation.
    """

    recovered: Counter[str]
    values: tuple[tuple[str, str], ...]
    tested: Counter[str]
    cpu: float
    wall: float


class LastOnly:
    """A derivation that remembers its last value: one guess, many classes, one derivation."""

    def __init__(self, derive: Stretch) -> None:
        self._derive = derive
        self._value: Unstretched = ("", b"")
        self._stretched = b""

    def __call__(self, kind: str, data: bytes) -> bytes:
        """The stretched bytes of a value."""
        if self._value != (kind, data):
            self._stretched = self._derive(kind, data)
            self._value = (kind, data)
        return self._stretched


def attack(matcher: Matcher, guesses: Iterable[Guess]) -> Attack:
    """Try guesses one by one.

    Args:
        matcher: made with `LastOnly`.

    Raises:
        PackError: the rule set is damaged.
    """
    recovered: Counter[str] = Counter()
    tested: Counter[str] = Counter()
    values: list[tuple[str, str]] = []
    wall, cpu = time.perf_counter(), time.process_time()
    for kind, data, classes, text in guesses:
        tested[kind] += 1
        matcher.stretch(kind, data)
        for name in classes:
            found = matcher.look_up(name, kind, data)
            # A canary is no indicator: nothing is lost with it.
            if found is not None and not found.message.is_canary:
                recovered[name] += 1
                values.append((name, text))
    return Attack(
        recovered, tuple(values), tested, time.process_time() - cpu, time.perf_counter() - wall
    )


def addresses(text: str, lengths: Iterable[int], limit: int) -> Iterator[Guess]:
    """All addresses of a network, and its networks of the lengths that the set has.

    Raises:
        MatchError: it is no network, or a larger one than `limit` addresses.
    """
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise MatchError(f"--range {text}: is no network; for instance 192.0.2.0/24") from None
    if network.num_addresses > limit:
        raise MatchError(
            f"--range {text}: has {network.num_addresses:,} addresses; name a smaller one, or "
            "raise --limit"
        )
    return _addresses(network, lengths)


def words(path: Path, limit: int) -> Iterator[Guess]:
    """Guesses of a file, one a line: names, URLs, addresses, digests.

    Raises:
        MatchError: it cannot be read, or has more than `limit` lines.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(_MAX_LINE), b""), 1):
                if number > limit:
                    raise MatchError(f"{path}: has over {limit:,} lines; raise --limit")
                guess = _guess(line.decode("utf-8", "replace").strip())
                if guess is not None:
                    yield guess
    except OSError as error:
        raise MatchError(f"{path}: {error.strerror}; check --wordlist") from None


def _addresses(
    network: ipaddress.IPv4Network | ipaddress.IPv6Network, lengths: Iterable[int]
) -> Iterator[Guess]:
    for length in lengths:
        if network.prefixlen <= length < network.max_prefixlen:
            for part in network.subnets(new_prefix=length):
                yield "ip", str(part).encode(), _NETWORKS, str(part)
    for address in network:
        yield "ip", str(address).encode(), _ADDRESSES, str(address)


def _guess(text: str) -> Guess | None:
    if not text or text.startswith("#"):
        return None
    classes = _classes(text)
    try:
        value = canonical_attribute(classes[0], text)
    except Refused:
        return None
    return value.kind, value.data, _ADDRESSES if value.kind == "ip" else classes, text


def _classes(text: str) -> tuple[str, ...]:
    if len(text) in _DIGESTS and all(c in "0123456789abcdefABCDEF" for c in text):
        return _DIGESTS[len(text)]
    return _URLS if "/" in text or "?" in text else _NAMES
