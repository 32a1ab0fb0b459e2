"""Content-encodings undone in pieces, in bounded memory, in every way that clients do it.

Clients differ (docs/decisions/0077-every-reading-of-a-body.md): some undo all encodings,
some only one, some pass over names that they do not know; some take zlib for gzip. Each
body that one of them may end up with is a reading, and all are made side by side.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, Protocol

from inkgate.icap_server.body.brotli_stream import Brotli
from inkgate.icap_server.body.inflate import (
    PIECE_BYTES,
    DecodingError,
    Deflate,
    Gzip,
    Zlib,
    is_gzip,
    is_zlib,
)
from inkgate.icap_server.body.memory import Memory, Taken
from inkgate.icap_server.body.zstd_stream import Zstd

# Firefox undoes the outermost 16 and no more, Chromium 10, curl 5.
_MAX_LAYERS: Final = 16
# Zlib and raw deflate can be told apart only by trying. A body that stays both at layer
# after layer was made so; no client needs more than this at a time.
_MAX_READINGS: Final = 32
# All decoders together may make so many times what one may. Each layer of an honest body is
# a fraction of what is inside it.
_ALL_LAYERS: Final = 4
# A step is some microseconds that cost nothing to ask for: a block of three bytes, a tenth of
# a member. A body has so many, and more by its length: no honest one has blocks so small.
_STEPS: Final = 16_384
_BYTES_OF_STEP: Final = 16
# A decoder that fails may decode its last piece several times over, to find where it failed.
_STEPS_OF_DECODER: Final = 128
# So much of a body says in which of the formats it may be.
_HEAD_BYTES: Final = 2
# What decoders give in smaller pieces is put together: each piece costs time at all layers.
_SMALL_BYTES: Final = 4096
_INFLATED: Final = ("gzip", "x-gzip", "deflate")
_KNOWN: Final = (*_INFLATED, "br", "zstd")

_DAMAGED: Final = "damaged"


class Reading(Protocol):
    """What takes a body in one of its readings."""

    def feed(self, data: bytes) -> None:
        """Take some more of it."""

    def ended(self) -> None:
        """What came so far may be all that some client keeps."""

    def goes_on(self) -> None:
        """More follows behind what was a whole; some clients stop there."""


class Decoder(Protocol):
    """Undoes one encoding."""

    @property
    def kept(self) -> int:
        """Bytes that it keeps in memory, where that may be many."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What some more data decodes to, in bounded pieces.

        Raises:
            DecodingError: it does not decode.
        """


_NewDecoder = Callable[[Callable[[], None], Callable[[], None], Callable[[int], None]], Decoder]


class _Tree:
    """What all layers of one body share.

    Attributes:
        most: bytes that one decoder may have made.
        most_steps: steps that all decoders may have taken.
        readings: decoders that have not failed.
        failed: why some reading could not be followed to its end although its data is sound
            so far, or empty. A client may have it.
        has_damage: whether some decoder met damage.
    """

    def __init__(self, new_reading: Callable[[], Reading], new_taken: Callable[[], Taken]) -> None:
        self.new_reading, self.new_taken = new_reading, new_taken
        self.most = self.most_steps = self.readings = 0
        self.failed = ""
        self.has_damage = False
        self._made = self._steps = 0

    def note(self, why: str) -> None:
        """A decoder failed. Where the data is damaged, that is so for clients as well."""
        self.has_damage = self.has_damage or why == _DAMAGED
        if why != _DAMAGED:
            self.failed = self.failed or why

    def spend(self, steps: int) -> None:
        """Count what decoders do for few bytes.

        Raises:
            DecodingError: it is too much.
        """
        self._steps += steps
        if self._steps > self.most_steps:
            raise DecodingError("needs too many steps to decode")

    def count(self, made: int, by_one: int) -> None:
        """Count bytes that a decoder made.

        Args:
            made: by this call.
            by_one: by this decoder, from the beginning.

        Raises:
            DecodingError: it is too much.
        """
        self._made += made
        if by_one > self.most or self._made > _ALL_LAYERS * self.most:
            raise DecodingError("grows too much when decoded")


class _Branch:
    """One decoder, the reading of what it makes, and the layer behind it."""

    def __init__(self, tree: _Tree, names: tuple[str, ...], new: _NewDecoder) -> None:
        self._tree = tree
        self._reading = tree.new_reading()
        self._taken = tree.new_taken()
        self._small = bytearray()
        self._made = 0
        self.inner = _Layer(tree, names)
        # No circle: the memory of all decoders is free as soon as the body is done with.
        branch = weakref.proxy(self)
        at_end, at_second = partial(_Branch.ended, branch), partial(_Branch.goes_on, branch)
        self._decoder = new(at_end, at_second, tree.spend)
        tree.readings += 1

    def feed(self, data: bytes) -> None:
        """Take what the layer before made.

        Raises:
            DecodingError: it does not decode; what was decoded before is in the reading.
        """
        try:
            for piece in self._decoder.feed(data):
                self._made += len(piece)
                self._tree.count(len(piece), self._made)
                self._take(piece)
            self._pass_on()
        except DecodingError:
            self.ended()
            raise

    def ended(self) -> None:
        """A member, or all of the encoding, is at its end."""
        self._hand_over()
        self._reading.ended()
        self.inner.ended()

    def goes_on(self) -> None:
        """Another member follows."""
        self._hand_over()
        self._reading.goes_on()
        self.inner.goes_on()

    def _take(self, piece: bytes) -> None:
        if len(piece) < _SMALL_BYTES:
            self._small += piece
            if len(self._small) >= PIECE_BYTES:
                self._pass_on()
        else:
            self._hand_over()
            self._give(piece)

    def _pass_on(self) -> None:
        """Give what was put together, if there is memory for what the decoder keeps.

        Raises:
            DecodingError: there is none.
        """
        if not self._taken.fit(self._decoder.kept):
            raise DecodingError("no memory left for windows")
        self._hand_over()

    def _hand_over(self) -> None:
        if self._small:
            small = bytes(self._small)
            self._small.clear()
            self._give(small)

    def _give(self, piece: bytes) -> None:
        self._reading.feed(piece)
        self.inner.feed(piece)


class _Layer:
    """One encoding: its decoders, one for each format that the data may be in.

    Args:
        tree: whose layer this is.
        names: this encoding, and those inside it.
    """

    def __init__(self, tree: _Tree, names: tuple[str, ...]) -> None:
        self._tree = tree
        self._name, self._inner = names[0] if names else "", names[1:]
        self._head = b""
        self._branches: list[_Branch] | None = None

    def feed(self, data: bytes) -> None:
        """Take some more data; a decoder that fails is done with, and noted."""
        if not self._name or not data:
            return
        if self._branches is None:
            data = self._head = self._head + data
            if len(data) < _HEAD_BYTES:
                return
            self._head = b""
            self._branches = self._begun(data)
        for branch in tuple(self._branches):
            try:
                branch.feed(data)
            except DecodingError as error:
                self._branches.remove(branch)
                self._tree.readings -= 1 + branch.inner.readings
                self._tree.note(str(error))

    def _begun(self, head: bytes) -> list[_Branch]:
        tree, formats = self._tree, _decoders(self._name, head)
        room = max(0, _MAX_READINGS - tree.readings)
        if len(formats) > room:
            tree.note("too many readings")
        try:
            tree.spend(_STEPS_OF_DECODER * len(formats))
        except DecodingError as error:
            tree.note(str(error))
            return []
        return [_Branch(tree, self._inner, new) for new in formats[:room]]

    @property
    def readings(self) -> int:
        """Decoders at this layer and behind it that have not failed."""
        return sum(1 + branch.inner.readings for branch in self._branches or ())

    @property
    def is_readable(self) -> bool:
        """Whether one decoder at each layer has not failed."""
        if self._branches is None:
            return True
        return any(branch.inner.is_readable for branch in self._branches)

    def ended(self) -> None:
        """What came is a whole."""
        for branch in self._branches or ():
            branch.ended()

    def goes_on(self) -> None:
        """More follows behind a whole."""
        for branch in self._branches or ():
            branch.goes_on()


def _decoders(name: str, head: bytes) -> tuple[_NewDecoder, ...]:
    """In which formats clients may read what begins so.

    gzip and deflate are mixed up on both sides, so each stands for all three formats.
    """
    if name == "br":
        return (lambda at_end, _, spend: Brotli(at_end, spend),)
    if name == "zstd":
        return (Zstd,)
    if is_gzip(head):
        return (Gzip,)
    return (Zlib, Deflate) if is_zlib(head) else (Deflate,)


class Layers:
    """Undoes the encodings of a body, from the outermost inwards.

    Args:
        encodings: as in Content-Encoding: in the order in which they were applied. Names
            that nobody knows are passed over.
        new_reading: makes what takes one reading; called once for each.
        memory: for what decoders keep.
        client: whose part of it they take.

    Attributes:
        failed: why some client may have a reading that is not all here, or empty: a reading
            that could not be followed, whatever others there are, or damage to that of clients
            that undo all encodings. Other readings are still made.
    """

    def __init__(
        self,
        encodings: tuple[str, ...],
        new_reading: Callable[[], Reading],
        memory: Memory,
        client: bytes = b"",
    ) -> None:
        self._tree = _Tree(new_reading, lambda: Taken(memory, client))
        self._starts = [_Layer(self._tree, names) for names in _orders(encodings)]
        self._raw_bytes = 0
        self.failed = ""

    def feed(self, data: bytes, most: int) -> None:
        """Take some more data.

        Args:
            data: as it was sent.
            most: bytes that one decoder may have made, from the beginning. What one makes is
                work for the next even if nothing comes out at the end.
        """
        tree = self._tree
        self._raw_bytes += len(data)
        tree.most, tree.most_steps = most, _STEPS + self._raw_bytes // _BYTES_OF_STEP
        for start in self._starts:
            start.feed(data)
        if not self.failed:
            is_damaged = tree.has_damage and not self._starts[0].is_readable
            self.failed = tree.failed or (_DAMAGED if is_damaged else "")


def _orders(encodings: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The encodings from the outermost inwards: all, or all but some that came last.

    wget and aria2 know the first line of Content-Encoding only. What differs only in what
    is inside needs no order of its own: each layer is a reading.
    """
    known = [name for name in encodings if name in _KNOWN]
    found: dict[str, tuple[str, ...]] = {}
    for last in range(len(known), 0, -1):
        names = tuple(reversed(known[:last]))[:_MAX_LAYERS]
        found.setdefault("deflate" if names[0] in _INFLATED else names[0], names)
    return list(found.values())


def is_known(name: str) -> bool:
    """Whether an encoding can be undone."""
    return name in _KNOWN
