"""The digests of a body, as it was sent and as it is when its encodings are undone."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from typing import Final

from inkgate.icap_server.body.decoding import Layers, is_known
from inkgate.icap_server.body.memory import Memory

# A small body may well grow a thousandfold. The ratio counts from this size on.
_RATIO_FROM_BYTES: Final = 8 << 20
# For all bodies that a process decodes. One client may have half of it: a window of 128 MiB.
_MEMORY: Final = Memory(256 << 20, 128 << 20)


class Hashes:
    """Several digests of one stream.

    Args:
        algorithms: hashlib's names of digests.

    Attributes:
        is_new: whether the stream has grown since its digests were last asked for.
        grew_at: bytes of the body that had come when it grew last.
    """

    def __init__(self, algorithms: Iterable[str]) -> None:
        self._hashes = {name: hashlib.new(name) for name in algorithms}
        self.is_new = True
        self.grew_at = 0

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
        made.is_new, made.grew_at = self.is_new, self.grew_at
        return made


class _Course:
    """How far a body has come.

    Attributes:
        raw_bytes: how much of it, as it was sent.
        has_ended: whether the end of a reading came.
    """

    raw_bytes = 0
    has_ended = False


class _Form(Hashes):
    """One reading of a body.

    Args:
        algorithms: hashlib's names of digests.
        forms: all of this body; gets a copy of this one where some clients stop.
        course: of the body; noted there when this may be all that some client keeps.
    """

    def __init__(self, algorithms: Iterable[str], forms: list[Hashes], course: _Course) -> None:
        super().__init__(algorithms)
        self._forms, self._course = forms, course
        self.grew_at = course.raw_bytes
        forms.append(self)

    def feed(self, data: bytes) -> None:
        """Take some more of it."""
        super().feed(data)
        self.grew_at = self._course.raw_bytes

    def ended(self) -> None:
        """What came so far may be all that some client keeps."""
        self._course.has_ended = True

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
        client: whose it is, as `client_of` tells it.

    Attributes:
        unchecked: why the body cannot be checked (any more), or empty.
        is_over: whether nothing of what is still to come will be looked at.
    """

    def __init__(
        self,
        algorithms: Iterable[str],
        encodings: tuple[str, ...],
        limit: int,
        ratio: int,
        client: bytes = b"",
    ) -> None:
        algorithms, forms = tuple(algorithms), list[Hashes]()
        course = self._course = _Course()
        self._forms = forms
        self._raw = _Form(algorithms, forms, course)
        self._limit, self._ratio = limit, ratio
        self._layers: Layers | None = None
        self.unchecked = "" if all(map(is_known, encodings)) else "unknown encoding"
        self.is_over = False
        if encodings:
            self._layers = Layers(
                encodings, lambda: _Form(algorithms, forms, course), _MEMORY, client
            )

    @property
    def raw_bytes(self) -> int:
        """How much has come."""
        return self._course.raw_bytes

    @property
    def is_encoded(self) -> bool:
        """Whether encodings are undone, which may take long."""
        return self._layers is not None

    def feed(self, data: bytes) -> None:
        """Take some more of the body as it was sent."""
        course = self._course
        course.raw_bytes += len(data)
        if course.raw_bytes > self._limit:
            self.is_over = True
            self.unchecked, self._layers = "too long", None
            return
        self._raw.feed(data)
        if self._layers is not None:
            grown = max(_RATIO_FROM_BYTES, course.raw_bytes * self._ratio)
            self._layers.feed(data, min(grown, self._limit))
            self.unchecked = self.unchecked or self._layers.failed

    def digests(self) -> Iterator[dict[str, str]]:
        """The digests, of what has come so far, of each form that has not been told yet.

        Forms are the body as it was sent, with its outermost encodings undone, with all of
        them undone, in each format in which some client may read it, up to damage, and up to
        the end of a first member, where some of them stop.
        """
        for form in self._forms:
            if form.is_new:
                yield form.digests()

    def unasked_from(self) -> float:
        """Bytes of the body that some form which has not been told yet was complete with."""
        return min((form.grew_at for form in self._forms if form.is_new), default=math.inf)

    def has_ended(self) -> bool:
        """Whether since the last call something came that may be all that a client keeps."""
        came, self._course.has_ended = self._course.has_ended, False
        return came
