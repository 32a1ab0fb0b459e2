"""A subscriber: one of the protocols over its durable record."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from inkgate.sightings.aggregation.errors import AggregationError
from inkgate.sightings.aggregation.exchange.answer_record import AnswerRecord
from inkgate.sightings.aggregation.protocol import Contributor
from inkgate.sightings.aggregation.registry import protocol_of
from inkgate.sightings.aggregation.session import Session


class Participant:
    """Answers the rounds of sessions, each once.

    Args:
        name: in the group.
        identity: its signing key.
        record: the answers that it has given.
        dealt_key: from the dealer, for groups whose protocol has one.
    """

    def __init__(
        self,
        name: str,
        identity: Ed25519PrivateKey,
        record: AnswerRecord,
        dealt_key: bytes | None = None,
    ) -> None:
        self._name = name
        self._identity = identity
        self._record = record
        self._dealt_key = dealt_key

    def rounds(self, session: Session) -> tuple[str, ...]:
        """The rounds' names."""
        return protocol_of(session.group).rounds

    def answer(self, session: Session, number: int, received: bytes) -> bytes:
        """The message of a round; asking again gives the same bytes (Record.answer).

        Args:
            session: whose counts are in the record.
            number: of the round.
            received: what the aggregator sent before it; nothing in round 0.

        Raises:
            AggregationError: the aggregator is not honest, or asks twice.
        """
        sent = self._record.answer(
            session,
            received,
            number,
            lambda secret, history, vector: self._contributor(session, secret).answer(
                history, vector
            ),
        )
        if number == len(self.rounds(session)) - 1:
            self._record.erase(session)
        return sent

    def _contributor(self, session: Session, secret: bytes) -> Contributor:
        protocol = protocol_of(session.group)
        key = secret if protocol.deal is None else self._dealt_key
        if key is None:
            raise AggregationError("bad-group", "there is no key from the dealer", "run join again")
        return protocol.contributor(session, self._name, self._identity, key)
