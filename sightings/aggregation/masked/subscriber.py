"""Protocol `masked`, a subscriber's side: Bonawitz et al., "Practical Secure Aggregation for
Privacy-Preserving Machine Learning", CCS 2017, with what an active aggregator needs.

Round 0 advertises keys, 1 shares their secrets, 2 sends the masked input, 3 signs the set of
subscribers in the sum, 4 hands out shares: of the self mask for a subscriber in the sum, of the
mask key for one that dropped out, never both for one subscriber. The shares are encrypted to the
aggregator, since they open the sum.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from inkgate.sightings.aggregation.errors import AggregationError
from inkgate.sightings.aggregation.group import MAX_SUBSCRIBERS
from inkgate.sightings.aggregation.keystream import add_stream
from inkgate.sightings.aggregation.masked import masks
from inkgate.sightings.aggregation.masked.secret_sharing import SECRET_BYTES, split_secret
from inkgate.sightings.aggregation.optional import need
from inkgate.sightings.aggregation.protocol import too_few
from inkgate.sightings.aggregation.session import Session
from inkgate.sightings.aggregation.wire import (
    decode_names,
    join_pairs,
    names_digest,
    seal,
    split_fields,
    split_pairs,
)
from inkgate.sightings.aggregation.wire import unseal as unseal_message

ROUNDS: Final = ("keys", "shares", "input", "survivors", "unmask")
KEYS, SHARES, INPUT, SURVIVORS, UNMASK = ROUNDS


class MaskedContributor:
    """One subscriber in one session.

    Args:
        session: the aggregation.
        name: this subscriber's.
        identity: its signing key.
        secret: 32 random bytes, new for each session.
    """

    def __init__(
        self, session: Session, name: str, identity: Ed25519PrivateKey, secret: bytes
    ) -> None:
        self._session = session
        self._name = name
        self._identity = identity
        self._secrets = masks.Secrets(session.id, secret)
        self._needed = max(session.group.threshold, session.group.quota_subscribers)

    def answer(self, history: Sequence[bytes], vector: Sequence[int]) -> bytes:
        """The message of the round that begins (protocol.Contributor)."""
        match len(history):
            case 0:
                body = self._secrets.public
            case 1:
                body = self._share(self._roster(history[0]))
            case 2:
                body = self._mask(history, vector)
            case 3:
                body = names_digest(self._survivors(history))
            case _:
                body = self._unmask(history)
        kind = ROUNDS[len(history)]
        return seal(kind, self._session, self._name, body, self._identity)

    def _roster(self, received: bytes) -> dict[str, bytes]:
        """Both public keys of each subscriber, signed by it."""
        roster: dict[str, bytes] = {}
        for message in split_fields(received, most=MAX_SUBSCRIBERS):
            sender, keys = unseal_message(KEYS, self._session, message, most=2 * masks.KEY_BYTES)
            if sender in roster or len(keys) != 2 * masks.KEY_BYTES:
                raise _dishonest("a subscriber's keys come twice or have a wrong length")
            roster[sender] = keys
        self._check_set(roster, self._session.group.subscribers)
        if roster[self._name] != self._secrets.public:
            raise _dishonest("this subscriber's own keys were replaced")
        halves = [k[i : i + masks.KEY_BYTES] for k in roster.values() for i in (0, masks.KEY_BYTES)]
        if len(set(halves)) != len(halves):
            raise _dishonest("two keys are the same")
        return dict(sorted(roster.items()))

    def _share(self, roster: dict[str, bytes]) -> bytes:
        threshold, secrets = self._session.group.threshold, self._secrets
        of_mask_key = split_secret(secrets.mask_key, threshold, len(roster))
        of_self_mask = split_secret(secrets.self_mask, threshold, len(roster))
        sealed = {
            name: masks.seal_shares(
                self._session.id,
                secrets.channel_key,
                keys[: masks.KEY_BYTES],
                self._name,
                name,
                of_mask_key[n] + of_self_mask[n],
            )
            for n, (name, keys) in enumerate(roster.items())
        }
        return join_pairs(sealed)

    def _mask(self, history: Sequence[bytes], vector: Sequence[int]) -> bytes:
        numpy = need("numpy")
        roster = self._roster(history[0])
        sealed = self._sealed(history, roster)
        total = numpy.array(vector, numpy.int64).astype(numpy.uint64)
        if len(total) != len(self._session.labels):
            raise AggregationError("wrong-length", "not one count an indicator", "count again")
        session, secrets = self._session.id, self._secrets
        keys = {name: both[masks.KEY_BYTES :] for name, both in roster.items()}
        for name in sealed.keys() - {self._name}:
            key = masks.pair_mask(session, secrets.mask_key, self._name, name, keys)
            add_stream(total, key, negative=name < self._name)
        add_stream(total, masks.self_mask(session, secrets.self_mask))
        return masks.commitment(session, secrets.self_mask) + bytes(total.astype("<u8").data)

    def _sealed(self, history: Sequence[bytes], roster: dict[str, bytes]) -> dict[str, bytes]:
        """The encrypted shares from each subscriber that is still there."""
        sealed = split_pairs(history[1], most=MAX_SUBSCRIBERS)
        self._check_set(sealed, roster)
        return sealed

    def _survivors(self, history: Sequence[bytes]) -> list[str]:
        """The subscribers in the sum, as the aggregator has announced them."""
        sealed = self._sealed(history, self._roster(history[0]))
        names = decode_names(split_fields(history[2], most=MAX_SUBSCRIBERS))
        self._check_set(names, sealed)
        return names

    def _unmask(self, history: Sequence[bytes]) -> bytes:
        survivors = self._survivors(history)
        self._check_signatures(history[3], survivors)
        roster = self._roster(history[0])
        shares: dict[str, bytes] = {}
        for name, sealed in self._sealed(history, roster).items():
            opened = masks.open_shares(
                self._session.id,
                self._secrets.channel_key,
                roster[name][: masks.KEY_BYTES],
                name,
                self._name,
                sealed,
            )
            if opened is not None and len(opened) == 2 * SECRET_BYTES:
                of_mask_key, of_self_mask = opened[:SECRET_BYTES], opened[SECRET_BYTES:]
                shares[name] = of_self_mask if name in survivors else of_mask_key
        body, aggregator = join_pairs(shares), self._session.group.aggregator.sealing
        return masks.seal_unmask(
            self._session.id,
            self._secrets.ephemeral(body),
            bytes.fromhex(aggregator),
            self._name,
            body,
        )

    def _check_signatures(self, received: bytes, survivors: list[str]) -> None:
        """Enough subscribers must have signed the very set that this one signed."""
        expected = names_digest(survivors)
        signers = set()
        for message in split_fields(received, most=MAX_SUBSCRIBERS):
            sender, body = unseal_message(SURVIVORS, self._session, message, most=len(expected))
            if body != expected or sender not in survivors:
                raise _dishonest("subscribers were told different sets of survivors")
            signers.add(sender)
        if len(signers) < self._session.group.threshold:
            raise too_few(len(signers), self._session.group.threshold, "signed the survivors")

    def _check_set(self, names: Collection[str], among: Iterable[str]) -> None:
        if self._name not in names or not set(names) <= set(among):
            raise _dishonest("a set of subscribers lacks this one or names others")
        if len(names) < self._needed:
            raise too_few(len(names), self._needed, "are left")


def _dishonest(problem: str) -> AggregationError:
    return AggregationError("bad-message", problem, "this aggregator cannot be trusted")
