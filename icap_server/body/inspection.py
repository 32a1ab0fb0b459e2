"""The digests of a body, as it was sent and as it is when its encodings are undone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Final

from icap_server.body.decoding import Decoder, DecodingError, decode, decoders
from rules.live.replies import ALGORITHMS

# A small body may be all repetition; only what is large as well is a bomb.
_RATIO_FROM_BYTES: Final = 8 << 20


class Hashes:
    """Several digests of one stream.

    Args:
        types: MISP types of digests.
    """

    def __init__(self, types: Iterable[str]) -> None:
        self._hashes = {name: hashlib.new(ALGORITHMS[name]) for name in types}

    def feed(self, data: bytes) -> None:
        """Take some more of the stream."""
        for one in self._hashes.values():
            one.update(data)

    def digests(self) -> dict[str, str]:
        """Lower-case hexadecimal by MISP type, of what has come so far."""
        return {name: one.hexdigest() for name, one in self._hashes.items()}


class Inspection:
    """Takes a body as it streams.

    Args:
        types: MISP types of the digests to compute.
        encodings: Content-Encoding.
        limit: bytes that are looked at, in either form.
        ratio: how many times its size a body may have when it is decoded.

    Attributes:
        raw_bytes: how much has come.
        unchecked: why the body cannot be checked (any more), or empty.
    """

    def __init__(
        self, types: Iterable[str], encodings: tuple[str, ...], limit: int, ratio: int
    ) -> None:
        types = tuple(types)
        self._raw = Hashes(types)
        self._limit, self._ratio = limit, ratio
        self.raw_bytes = self._decoded_bytes = 0
        self._decoded: Hashes | None = None
        self._layers: list[Decoder] = []
        self.unchecked = ""
        if encodings:
            try:
                self._layers = decoders(encodings)
                self._decoded = Hashes(types)
            except DecodingError as error:
                self.unchecked = str(error)

    def feed(self, data: bytes) -> int:
        """Take some more of the body as it was sent; how many bytes of content it holds."""
        self.raw_bytes += len(data)
        if self.raw_bytes > self._limit:
            self._give_up("too long")
            return len(data)
        self._raw.feed(data)
        if self._decoded is None:
            return len(data)
        return self._decode(data, self._decoded)

    def digests(self) -> Iterator[dict[str, str]]:
        """The digests of each form of the body, of what has come so far."""
        if self.raw_bytes <= self._limit:
            yield self._raw.digests()
        if self._decoded is not None:
            yield self._decoded.digests()

    def _decode(self, data: bytes, hashes: Hashes) -> int:
        before = self._decoded_bytes
        try:
            for piece in decode(self._layers, data):
                self._decoded_bytes += len(piece)
                hashes.feed(piece)
                if self._is_bomb():
                    self._give_up("grows too much when decoded")
                    break
        except DecodingError as error:
            self._give_up(str(error))
        return self._decoded_bytes - before

    def _give_up(self, why: str) -> None:
        self.unchecked = why
        self._decoded = None

    def _is_bomb(self) -> bool:
        most = max(_RATIO_FROM_BYTES, self.raw_bytes * self._ratio)
        return self._decoded_bytes > min(most, self._limit)
