"""The description of a group: its members and rules, which every member pins before taking part."""

from __future__ import annotations

import hashlib
import re
from datetime import date, timedelta
from typing import Annotated, Final, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from inkgate.rules.canonical.fields import length_prefixed
from inkgate.sightings.aggregation.errors import AggregationError

FORMAT: Final = 1
MAX_SUBSCRIBERS: Final = 1000
MAX_GROUP_BYTES: Final = 1 << 20
MAX_TOTAL: Final = (1 << 24) - 1
"""The largest total of one indicator in one period, in every protocol."""
MIN_RATIO: Final = 0.01
"""The least epsilon / max_count: with less, the noise is far larger than any count."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KEY: Final = re.compile(r"[0-9a-f]{64}")
_FIRST_DAY: Final = date(2024, 1, 1)  # a Monday: periods of 7 days begin on Mondays


class NoiseSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Diluted geometric noise (Shi et al., NDSS 2011).

    Attributes:
        epsilon: privacy lost in one period, for one count of one indicator.
        delta: probability that too few subscribers added noise.
        honest: fraction of the subscribers that are assumed not to collude.
        budget: sum of the epsilons after which a subscriber takes part no more.
    """

    epsilon: Annotated[float, msgspec.Meta(gt=0, le=20)]
    delta: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 1e-6
    honest: Annotated[float, msgspec.Meta(gt=0, le=1)] = 2 / 3
    budget: Annotated[float, msgspec.Meta(gt=0)] = 10.0


class AggregatorKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Public keys of a group's aggregator, raw, hexadecimal.

    Attributes:
        signing: Ed25519; what subscribers get is signed with it.
        sealing: X25519; what only the aggregator may read is encrypted to it.
    """

    signing: str
    sealing: str


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The members and rules of an aggregation.

    Attributes:
        name: of the group.
        protocol: the name of one in registry.py.
        subscribers: Ed25519 public keys (raw, hexadecimal) by name.
        aggregator: the aggregator's public keys.
        threshold: subscribers whose help opens a dropped subscriber's masks, in protocols
            that have masks.
        quota_subscribers: publish only what at least so many subscribers contributed to.
        quota_total: publish only totals of at least this.
        max_count: the most that one subscriber counts for one indicator in one period.
        period_days: length of a period.
        noise: added by the subscribers, or none.
        format: of this description.
    """

    name: str
    protocol: str
    subscribers: dict[str, str]
    aggregator: AggregatorKeys
    threshold: int
    quota_subscribers: int
    quota_total: int = 1
    max_count: Annotated[int, msgspec.Meta(ge=1)] = 1000
    period_days: Annotated[int, msgspec.Meta(ge=1, le=366)] = 7
    noise: NoiseSettings | None = None
    format: Literal[1] = FORMAT

    def __post_init__(self) -> None:
        """Refuse what no group can be, whatever its protocol (`description.check_group`).

        Raises:
            ValueError: the text names the fault; msgspec makes it a validation error.
        """
        for name in (self.name, *self.subscribers):
            if not _NAME.fullmatch(name):
                raise ValueError(f"name {name!r}: letters, digits, '.', '_' and '-' only")
        _check_keys(self.subscribers)
        if not _KEY.fullmatch(self.aggregator.signing) or not _KEY.fullmatch(
            self.aggregator.sealing
        ):
            raise ValueError("aggregator: a key is 64 lower-case hexadecimal digits")
        size = len(self.subscribers)
        if not 3 <= size <= MAX_SUBSCRIBERS:
            raise ValueError(f"a group has 3 to {MAX_SUBSCRIBERS} subscribers, not {size}")
        if not size // 2 < self.threshold <= size:
            raise ValueError(f"threshold: more than half of {size} subscribers, and at most all")
        if not 3 <= self.quota_subscribers <= size:
            raise ValueError(f"quota_subscribers lies between 3 and {size}")
        if size * self.max_count > MAX_TOTAL:
            raise ValueError(f"max_count: {size} subscribers could count more than {MAX_TOTAL}")
        if self.noise is not None and self.noise.epsilon / self.max_count < MIN_RATIO:
            raise ValueError(f"noise: epsilon / max_count is below {MIN_RATIO}; lower max_count")

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical description: what members compare out of band."""
        data = length_prefixed(b"inkgate/v1 aggregation group", self.encoded)
        return hashlib.sha256(data).digest()

    @property
    def encoded(self) -> bytes:
        """JSON without white space, members in alphabetical order."""
        return msgspec.json.encode(self, order="sorted")

    def identity(self, name: str) -> Ed25519PublicKey:
        """The key that a subscriber signs with.

        Raises:
            AggregationError: there is no such subscriber (`unknown-sender`).
        """
        key = self.subscribers.get(name)
        if key is None:
            raise AggregationError(
                "unknown-sender", f"{name[:64]!r} is no subscriber of group {self.name}", "drop it"
            )
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))

    @property
    def aggregator_identity(self) -> Ed25519PublicKey:
        """The key that the aggregator signs with."""
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.aggregator.signing))

    def period(self, text: str) -> tuple[date, date]:
        """First day of a period and of the next one; periods of a group never overlap.

        Raises:
            AggregationError: no period begins on that day (`wrong-period`).
        """
        try:
            first = date.fromisoformat(text)
        except ValueError:
            raise AggregationError(
                "wrong-period", "a period is named by its first day", "write YYYY-MM-DD"
            ) from None
        off = (first - _FIRST_DAY).days % self.period_days
        if off or text != first.isoformat():
            before = first - timedelta(days=off)
            raise AggregationError(
                "wrong-period",
                f"no period of {self.period_days} days begins on {text}",
                f"the one with that day begins on {before}",
            )
        return first, first + timedelta(days=self.period_days)


def default_threshold(subscribers: int) -> int:
    """The least threshold against an active aggregator and a third of the subscribers.

    Bonawitz et al. (CCS 2017): floor(2n/3) + 1.
    """
    return 2 * subscribers // 3 + 1


def _check_keys(subscribers: dict[str, str]) -> None:
    for name, key in subscribers.items():
        if not _KEY.fullmatch(key):
            raise ValueError(f"subscriber {name}: a key is 64 lower-case hexadecimal digits")
    if len(set(subscribers.values())) != len(subscribers):
        raise ValueError("two subscribers have the same key")
