"""The digests of a body, as it was sent and as it is when its encodings are undone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Final

from inkgate.icap_server.body.decoding import Layers
from inkgate.icap_server.body.inflate import DecodingError

# A small body may well grow a thousandfold. The ratio counts from this size on.
_RATIO_FROM_BYTES: Final = 8 << 20


class Hashes:
    """Several digests of one stream.

    Args:
        algorithms: hashlib's names of digests.

    Attributes:
        is_new: whether the stream has grown since its digests were last asked for.
    """

    def __init__(self, algorithms: Iterable[str]) -> None:
        self._hashes = {name: hashlib.new(name) for name in algorithms}
        self.is_new = True

    def feed(self, data: bytes) -> None:
        """Take some more of the stream."""
        for one in self._hashes.values():
            one.update(data)
        self.is_new = self.is_new or bool(data)

    def digests(self) -> dict[str, str]:
        """Lower-case hexadecimal by hashlib's names, of what has come so far."""
        self.is_new = False
        return {name: one.hexdigest() for name, one in self._hashes.items()}

    def copy(self) -> Hashes:
        """The same so far; each goes on by itself."""
        made = Hashes(())
        made._hashes = {name: one.copy() for name, one in self._hashes.items()}
        return made


class Inspection:
    """Takes a body as it streams.

    Args:
        algorithms: hashlib's names of the digests to compute.
        encodings: Content-Encoding.
        limit: bytes that are looked at, in either form.
        ratio: how many times its size a body may have when it is decoded.

    Attributes:
        raw_bytes: how much has come.
        unchecked: why the body cannot be checked (any more), or empty.
        is_over: whether nothing of what is still to come will be looked at.
    """

    def __init__(
        self, algorithms: Iterable[str], encodings: tuple[str, ...], limit: int, ratio: int
    ) -> None:
        algorithms = tuple(algorithms)
        self._raw, self._decoded = Hashes(algorithms), Hashes(algorithms)
        self._forms = [self._raw]
        self._limit, self._ratio = limit, ratio
        self._layers: Layers | None = None
        self.raw_bytes = 0
        self.unchecked = ""
        self.is_over = False
        if encodings:
            self._begin_decoding(encodings)

    def feed(self, data: bytes) -> int:
        """Take some more of the body as it was sent; how many bytes of content it holds."""
        self.raw_bytes += len(data)
        if self.raw_bytes > self._limit:
            self.is_over = True
            self._give_up("too long")
            return len(data)
        self._raw.feed(data)
        return len(data) if self._layers is None else self._decode(data, self._layers)

    def digests(self) -> Iterator[dict[str, str]]:
        """The digests, of what has come so far, of each form that has not been told yet.

        What was decoded before damage is a form, since clients show it; so is the first
        member of a gzip stream, where some of them stop.
        """
        for form in self._forms:
            if form.is_new:
                yield form.digests()

    def _begin_decoding(self, encodings: tuple[str, ...]) -> None:
        try:
            self._layers = Layers(encodings, self._keep_first)
        except DecodingError as error:
            self.unchecked = str(error)
        else:
            self._forms.append(self._decoded)

    def _decode(self, data: bytes, layers: Layers) -> int:
        most = min(max(_RATIO_FROM_BYTES, self.raw_bytes * self._ratio), self._limit)
        content = 0
        try:
            for piece in layers.feed(data, most):
                self._decoded.feed(piece)
                content += len(piece)
        except DecodingError as error:
            self._give_up(str(error))
        return content

    def _keep_first(self) -> None:
        self._forms.append(self._decoded.copy())

    def _give_up(self, why: str) -> None:
        self.unchecked = why
        self._layers = None
