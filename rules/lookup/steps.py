"""A look-up as steps: it asks for stretched values, is given them, and goes on.

Who derives, on which thread, and whether others are served meanwhile is for the
driver to say. Values that do not depend on each other are asked for together.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

from inkgate.rules.crypto.derive import Unstretched

T = TypeVar("T")

Wanted = tuple[Unstretched, ...]
Steps = Generator[Wanted, Sequence[bytes], T]
Stretch = Callable[[str, bytes], bytes]


def finish(steps: Steps[T], stretch: Stretch) -> T:
    """Take all the steps here and now.

    Raises:
        whatever the steps or the derivation raise.
    """
    try:
        wanted = next(steps)
        while True:
            wanted = steps.send([stretch(kind, data) for kind, data in wanted])
    except StopIteration as end:
        result: T = end.value
        return result
