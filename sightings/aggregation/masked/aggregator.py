"""Protocol `masked`, the aggregator's side (Bonawitz et al., CCS 2017).

Inputs are added up as they come, so one vector is held in memory, not one for each subscriber.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from inkgate.rules.canonical.fields import length_prefixed
from inkgate.sightings.aggregation.accepted import AcceptedMessages
from inkgate.sightings.aggregation.errors import AggregationError
from inkgate.sightings.aggregation.group import MAX_SUBSCRIBERS
from inkgate.sightings.aggregation.keystream import add_stream
from inkgate.sightings.aggregation.masked import masks
from inkgate.sightings.aggregation.masked.reconstruction import reconstruct
from inkgate.sightings.aggregation.masked.secret_sharing import SECRET_BYTES
from inkgate.sightings.aggregation.masked.subscriber import INPUT, KEYS, ROUNDS, SHARES, SURVIVORS
from inkgate.sightings.aggregation.optional import need
from inkgate.sightings.aggregation.protocol import Totals, believable, too_few
from inkgate.sightings.aggregation.session import Session
from inkgate.sightings.aggregation.wire import (
    join_names,
    join_pairs,
    names_digest,
    split_pairs,
    unseal,
)

_PER_FRAME: Final = masks.SEALED_BYTES  # bytes that sealing adds to a list of pairs
_PER_NAME: Final = 128  # the most bytes of a name and its value in a list of pairs


class MaskedAggregator:
    """Runs the rounds and takes the masks off the sum.

    Args:
        session: the aggregation.
        key: the aggregator's X25519 secret, raw.
    """

    rounds = ROUNDS

    def __init__(self, session: Session, key: bytes) -> None:
        self._session = session
        self._key = key
        self._round = 0
        self._accepted = AcceptedMessages()
        self._allowed = sorted(session.group.subscribers)
        self._keys: dict[str, bytes] = {}
        self._messages: dict[str, bytes] = {}
        self._sealed: dict[str, dict[str, bytes]] = {}
        self._commitments: dict[str, bytes] = {}
        self._survivors: list[str] = []
        self._shares: dict[str, dict[int, bytes]] = {}
        self._sum: Any = None

    @property
    def expected(self) -> frozenset[str]:
        """Subscribers that may still send (protocol.Aggregator)."""
        return frozenset(self._allowed).difference(self._accepted.names())

    @property
    def most(self) -> int:
        """Bytes of a body (protocol.Aggregator)."""
        if ROUNDS[self._round] == INPUT:
            return masks.KEY_BYTES + 8 * len(self._session.labels)
        return _PER_FRAME + (_PER_NAME + masks.SEALED_BYTES) * len(self._session.group.subscribers)

    def accept(self, message: bytes) -> str:
        """Take one subscriber's message (protocol.Aggregator)."""
        sender, body = unseal(ROUNDS[self._round], self._session, message, most=self.most)
        if sender not in self._allowed:
            raise AggregationError("unknown-sender", f"{sender} dropped out before", "drop it")
        if self._accepted.is_new(sender, body):
            self._take(sender, body, message)
            self._accepted.add(sender, body)
        return sender

    def _take(self, sender: str, body: bytes, message: bytes) -> None:
        match ROUNDS[self._round]:
            case kind if kind == KEYS:
                self._check_keys(sender, body)
                self._keys[sender], self._messages[sender] = body, message
            case kind if kind == SHARES:
                self._take_sealed(sender, body)
            case kind if kind == INPUT:
                self._take_input(sender, body)
            case kind if kind == SURVIVORS:
                if body != names_digest(self._survivors):
                    raise _wrong(sender, "other survivors")
                self._messages[sender] = message
            case _:
                self._take_shares(sender, body)

    def _check_keys(self, sender: str, body: bytes) -> None:
        _check_length(sender, body, 2 * masks.KEY_BYTES)
        new = {body[: masks.KEY_BYTES], body[masks.KEY_BYTES :]}
        for key in new:
            masks.check_public(key)
        # Subscribers refuse a roster that has a key twice, and would take the aggregator for
        # dishonest.
        known = {
            k[at : at + masks.KEY_BYTES] for k in self._keys.values() for at in (0, masks.KEY_BYTES)
        }
        if len(new) != 2 or new & known:
            raise _wrong(sender, "a key that is there already")

    def _take_sealed(self, sender: str, body: bytes) -> None:
        sealed = split_pairs(body, most=MAX_SUBSCRIBERS)
        if list(sealed) != sorted(self._keys):
            raise _wrong(sender, "shares for others than the roster's")
        for share in sealed.values():
            _check_length(sender, share, masks.SEALED_BYTES)
        self._sealed[sender] = sealed

    def _take_input(self, sender: str, body: bytes) -> None:
        numpy = need("numpy")
        _check_length(sender, body, self.most)
        if self._sum is None:
            self._sum = numpy.zeros(len(self._session.labels), numpy.uint64)
        self._sum += numpy.frombuffer(body, "<u8", offset=masks.KEY_BYTES)
        self._commitments[sender] = body[: masks.KEY_BYTES]

    def _take_shares(self, sender: str, body: bytes) -> None:
        opened = masks.open_unmask(self._session.id, self._key, sender, body)
        shares = split_pairs(opened, most=MAX_SUBSCRIBERS)
        if not shares.keys() <= self._sealed.keys():
            raise _wrong(sender, "shares of others than the session's")
        for share in shares.values():
            _check_length(sender, share, SECRET_BYTES)
        holder = 1 + sorted(self._keys).index(sender)
        for name, share in shares.items():
            self._shares.setdefault(name, {})[holder] = share

    def close(self) -> dict[str, bytes]:
        """End the round (protocol.Aggregator)."""
        there = self._accepted.names()
        group = self._session.group
        needed = group.threshold
        if self._round < 3:
            needed = max(needed, group.quota_subscribers)
        if len(there) < needed:
            raise too_few(len(there), needed, f"took part in round {self._round}")
        send = self._broadcast(there)
        self._round += 1
        self._allowed, self._accepted = there, AcceptedMessages()
        return send

    def _broadcast(self, there: list[str]) -> dict[str, bytes]:
        match ROUNDS[self._round]:
            case kind if kind == SHARES:
                return {u: join_pairs({v: self._sealed[v][u] for v in there}) for u in there}
            case kind if kind == INPUT:
                self._survivors, self._messages = there, {}
                return dict.fromkeys(there, join_names(there))
            case kind if kind in {KEYS, SURVIVORS}:
                messages = length_prefixed(*(self._messages[name] for name in there))
                return dict.fromkeys(there, messages)
            case _:
                return {}

    def totals(self) -> Totals:
        """Take the masks off (protocol.Aggregator)."""
        numpy = need("numpy")
        total = self._sum.copy()
        for name in sorted(self._sealed):
            if name in self._survivors:
                self._remove_self_mask(total, name)
            else:
                self._remove_pair_masks(total, name)
        values = total.astype(numpy.int64).tolist()
        count, group = len(self._survivors), self._session.group
        found = [believable(value, count, group) for value in values]
        return Totals(contributors=count, values=found)

    def _remove_self_mask(self, total: Any, name: str) -> None:
        session, expected = self._session.id, self._commitments[name]
        seed = self._open(name, lambda seed: masks.commitment(session, seed) == expected)
        add_stream(total, masks.self_mask(session, seed), negative=True)

    def _remove_pair_masks(self, total: Any, name: str) -> None:
        expected = self._keys[name][masks.KEY_BYTES :]
        key = self._open(name, lambda key: masks.public_of(key) == expected)
        keys = {other: both[masks.KEY_BYTES :] for other, both in self._keys.items()}
        for other in self._survivors:
            mask = masks.pair_mask(self._session.id, key, name, other, keys)
            # `other` subtracted the mask if `name` comes before it: then the mask is added here.
            add_stream(total, mask, negative=name > other)

    def _open(self, name: str, is_right: Callable[[bytes], bool]) -> bytes:
        shares = self._shares.get(name, {})
        secret = reconstruct(shares, self._session.group.threshold, is_right)
        if secret is None:
            raise AggregationError(
                "bad-share",
                f"the masks of {name} cannot be opened: its shares do not fit",
                "this period gives no totals",
            )
        return secret


def _check_length(sender: str, body: bytes, length: int) -> None:
    if len(body) != length:
        raise AggregationError("wrong-length", f"{sender} sent a wrong length", "drop it")


def _wrong(sender: str, what: str) -> AggregationError:
    return AggregationError("bad-message", f"{sender} sent {what}", "drop it")
