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
from inkgate.icap_server.body.inflate import DecodingError, Deflate, Gzip, Zlib, is_gzip, is_zlib
from inkgate.icap_server.body.zstd_stream import Zstd

# Firefox undoes the outermost 16 and no more, Chromium 10, curl 5.
_MAX_LAYERS: Final = 16
# Zlib and raw deflate can be told apart only by trying. A body that stays both at layer
# after layer was made so; no client needs more than this.
_MAX_READINGS: Final = 32
# So much of a body says in which of the formats it may be.
_HEAD_BYTES: Final = 2
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

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What some more data decodes to, in bounded pieces.

        Raises:
            DecodingError: it does not decode.
        """


_NewDecoder = Callable[[Callable[[], None], Callable[[], None]], Decoder]


class _Tree:
    """What all layers of one body share.

    Attributes:
        most: bytes that all decoders of one layer may have made.
        made: bytes that they have made, by layer.
        content: bytes made in the last call, by any of them.
        why: why decoders failed.
    """

    def __init__(self, new_reading: Callable[[], Reading]) -> None:
        self.new_reading = new_reading
        self.made = [0] * _MAX_LAYERS
        self.most = self.content = 0
        self.readings = 0
        self.why = ""

    def note(self, why: str) -> None:
        """A decoder failed. That a format was the wrong one says least."""
        if not self.why or self.why == _DAMAGED:
            self.why = why


class _Branch:
    """One decoder, the reading of what it makes, and the layer behind it."""

    def __init__(self, tree: _Tree, depth: int, names: tuple[str, ...], new: _NewDecoder) -> None:
        self._tree, self._depth = tree, depth
        self._reading = tree.new_reading()
        self._next = _Layer(tree, depth + 1, names)
        # No circle: the memory of all decoders is free as soon as the body is done with.
        branch = weakref.proxy(self)
        self._decoder = new(partial(_Branch.ended, branch), partial(_Branch.goes_on, branch))
        tree.readings += 1

    def feed(self, data: bytes) -> None:
        """Take what the layer before made.

        Raises:
            DecodingError: it does not decode; what was decoded before is in the reading.
        """
        try:
            for piece in self._decoder.feed(data):
                self._count(len(piece))
                self._reading.feed(piece)
                self._next.feed(piece)
        except DecodingError:
            self.ended()
            raise

    def ended(self) -> None:
        """A member, or all of the encoding, is at its end."""
        self._reading.ended()
        self._next.ended()

    def goes_on(self) -> None:
        """Another member follows."""
        self._reading.goes_on()
        self._next.goes_on()

    def _count(self, size: int) -> None:
        tree = self._tree
        tree.content += size
        tree.made[self._depth] += size
        if tree.made[self._depth] > tree.most:
            raise DecodingError("grows too much when decoded")


class _Layer:
    """One encoding: its decoders, one for each format that the data may be in.

    Args:
        tree: whose layer this is.
        depth: how many layers were undone before.
        names: this encoding, and those inside it.
    """

    def __init__(self, tree: _Tree, depth: int, names: tuple[str, ...]) -> None:
        self._tree, self._depth = tree, depth
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
            self._branches = [
                _Branch(self._tree, self._depth, self._inner, new)
                for new in _decoders(self._name, data)
            ][: max(1, _MAX_READINGS - self._tree.readings)]
        for branch in tuple(self._branches):
            try:
                branch.feed(data)
            except DecodingError as error:
                self._branches.remove(branch)
                self._tree.note(str(error))

    @property
    def is_readable(self) -> bool:
        """Whether one decoder at each layer has not failed."""
        if self._branches is None:
            return True
        return any(branch._next.is_readable for branch in self._branches)

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
        return (lambda at_end, _: Brotli(at_end),)
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

    Attributes:
        failed: why nothing decodes to the end any more, or empty. Outer encodings may still
            be undone, and be what a client keeps.
    """

    def __init__(self, encodings: tuple[str, ...], new_reading: Callable[[], Reading]) -> None:
        self._tree = _Tree(new_reading)
        self._starts = [_Layer(self._tree, 0, names) for names in _orders(encodings)]
        self.failed = ""

    def feed(self, data: bytes, most: int) -> int:
        """Take some more data.

        Args:
            data: as it was sent.
            most: bytes that all decoders of any layer may have made, from the beginning.
                What one makes is work for the next even if nothing comes out at the end.

        Returns:
            bytes of content in it, in any reading.
        """
        tree = self._tree
        tree.most, tree.content = most, 0
        for start in self._starts:
            start.feed(data)
        if not self.failed and tree.why and not any(one.is_readable for one in self._starts):
            self.failed = tree.why
        return tree.content


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
