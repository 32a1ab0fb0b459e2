"""The message inside a rule: what the SOC learns when it opens (docs/format.md, section 4)."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from inkgate.rules.errors import PackError

Action = Literal["block", "log"]

RecordedAction = Literal["block", "log", "canary"]
"""What is recorded of a rule: its action, or that it is a canary, which blocks, too."""

CANARY: Final = "canary"

MIN_PADDED: Final = 128
MAX_PADDED: Final = 65_536
MAX_FIELD: Final = 1024


class Message(msgspec.Struct, frozen=True):
    """Course of action and, per attribute, the fields that the publisher chose.

    Attributes:
        canary: whether the rule is there for the check alone (section 11). Unset means no.
        more: attributes that found no room.
        expires: seconds since 1970 from which on the rule no longer counts.
    """

    action: Action
    attributes: Annotated[tuple[dict[str, str], ...], msgspec.Meta(min_length=1)]
    canary: bool | msgspec.UnsetType = msgspec.UNSET
    more: int = 0
    expires: int | msgspec.UnsetType = msgspec.UNSET

    def is_over(self, now: float) -> bool:
        """Whether the rule has expired by itself."""
        return self.expires is not msgspec.UNSET and self.expires <= now

    @property
    def is_canary(self) -> bool:
        """Whether the rule is there for the check alone: its matches are told to nobody."""
        return self.canary is True

    @property
    def recorded_action(self) -> RecordedAction:
        """What is shown and recorded as its action."""
        return "canary" if self.is_canary else self.action

    def uuids(self) -> tuple[str, ...]:
        """The MISP attribute UUIDs, where the message carries them."""
        # Nearly every rule stands for one attribute, and each match comes through here.
        if len(self.attributes) == 1:
            (only,) = self.attributes
            return (only["uuid"],) if "uuid" in only else ()
        return tuple(a["uuid"] for a in self.attributes if "uuid" in a)

    def event_ids(self) -> tuple[str, ...]:
        """MISP event ids in the order of `uuids`, then those of attributes without a UUID."""
        if len(self.attributes) == 1:
            (only,) = self.attributes
            return (only.get("event_id", ""),) if "uuid" in only or "event_id" in only else ()
        with_uuid = [a.get("event_id", "") for a in self.attributes if "uuid" in a]
        others = [a["event_id"] for a in self.attributes if "uuid" not in a and "event_id" in a]
        return (*with_uuid, *others)


_ENCODER = msgspec.json.Encoder(order="sorted")
_DECODER = msgspec.json.Decoder(Message)


def encode_message(
    action: RecordedAction, attributes: list[dict[str, str]], expires: int = 0
) -> bytes:
    """Encode and pad a message; attributes beyond the size limit are counted, not listed.

    The order of the attributes does not matter: the same ones give the same bytes.

    Args:
        action: a canary is written as a rule that blocks and has one member more: readers
            that do not know the member block it like any other.
        expires: seconds since 1970; 0 for never.
    """
    short = sorted(
        ({name: value[:MAX_FIELD] for name, value in a.items()} for a in attributes),
        key=lambda a: tuple(sorted(a.items())),
    )
    listed = len(short)
    while True:
        body = _ENCODER.encode(
            Message(
                action="block" if action == CANARY else action,
                attributes=tuple(short[:listed]),
                canary=True if action == CANARY else msgspec.UNSET,
                more=len(short) - listed,
                expires=expires or msgspec.UNSET,
            )
        )
        if len(body) + 4 <= MAX_PADDED:
            return _pad(body)
        listed = min(listed - 1, listed * (MAX_PADDED - 64) // len(body))


def decode_message(padded: bytes) -> Message:
    """Undo `encode_message`.

    Raises:
        PackError: `bad-rules`, whatever is wrong with the bytes.
    """
    size = int.from_bytes(padded[:4])
    if size > len(padded) - 4 or len(padded) > MAX_PADDED:
        raise PackError("bad-rules", "a message has the wrong length", "refresh the rule set")
    try:
        return _DECODER.decode(padded[4 : 4 + size])
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        # "from None": the decoder's text may quote the message.
        raise PackError(
            "bad-rules", "a message is not in the expected form", "refresh the rule set"
        ) from None


def _pad(body: bytes) -> bytes:
    padded = MIN_PADDED
    while padded < len(body) + 4:
        padded *= 2
    return (len(body).to_bytes(4) + body).ljust(padded, b"\0")
