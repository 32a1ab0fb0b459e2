"""The digests of a body, as it was sent and as it is when its encodings are undone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Final

from inkgate.icap_server.body.decoding import Layers, is_known

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


class _Ends:
    """Whether the end of a reading came."""

    came = False


class _Form(Hashes):
    """One reading of a body.

    Args:
        algorithms: hashlib's names of digests.
        forms: all of this body; gets a copy of this one where some clients stop.
        ends: noted there when this may be all that some client keeps.
    """

    def __init__(self, algorithms: Iterable[str], forms: list[Hashes], ends: _Ends) -> None:
        super().__init__(algorithms)
        self._forms, self._ends = forms, ends
        forms.append(self)

    def ended(self) -> None:
        """What came so far may be all that some client keeps."""
        self._ends.came = True

    def goes_on(self) -> None:
        """More follows behind what was a whole."""
        self._forms.append(self.copy())


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
        algorithms, forms = tuple(algorithms), list[Hashes]()
        ends = self._ends = _Ends()
        self._forms = forms
        self._raw = _Form(algorithms, forms, ends)
        self._limit, self._ratio = limit, ratio
        self._layers: Layers | None = None
        self.raw_bytes = 0
        self.unchecked = "" if all(map(is_known, encodings)) else "unknown encoding"
        self.is_over = False
        if encodings:
            self._layers = Layers(encodings, lambda: _Form(algorithms, forms, ends))

    def feed(self, data: bytes) -> int:
        """Take some more of the body as it was sent; how many bytes of content it holds."""
        self.raw_bytes += len(data)
        if self.raw_bytes > self._limit:
            self.is_over = True
            self.unchecked, self._layers = "too long", None
            return len(data)
        self._raw.feed(data)
        if self._layers is None:
            return len(data)
        most = min(max(_RATIO_FROM_BYTES, self.raw_bytes * self._ratio), self._limit)
        content = self._layers.feed(data, most)
        self.unchecked = self.unchecked or self._layers.failed
        return len(data) if self._layers.failed else content

    def digests(self) -> Iterator[dict[str, str]]:
        """The digests, of what has come so far, of each form that has not been told yet.

        Forms are the body as it was sent, with its outermost encodings undone, with all of
        them undone, in each format in which some client may read it, up to damage, and up to
        the end of a first member, where some of them stop.
        """
        for form in self._forms:
            if form.is_new:
                yield form.digests()

    def has_ended(self) -> bool:
        """Whether since the last call something came that may be all that a client keeps."""
        came, self._ends.came = self._ends.came, False
        return came
