"""The classes of one rule set, by where they are observed.

Made once for a generation, so that a look-up neither searches the table of classes nor
builds what a class's rules are opened with.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from inkgate.rules.canonical.classes import CLASSES, ObservedAt
from inkgate.rules.crypto.derive import rule_info
from inkgate.rules.crypto.sealing import rule_aad


class ClassKeys(NamedTuple):
    """A class of the set, and what its rules are found and opened with.

    Attributes:
        info: HKDF info of its tags and keys.
        aad: what its rules are authenticated with.
    """

    name: str
    info: bytes
    aad: bytes


class SetClasses(NamedTuple):
    """The classes of a set.

    Attributes:
        by_name: all of them, also those that are not in the table of known classes.
        at: the known ones that are observed at a place, in the order of the table.
    """

    by_name: dict[str, ClassKeys]
    at: dict[ObservedAt, tuple[ClassKeys, ...]]


def set_classes(names: Iterable[str], set_id: bytes) -> SetClasses:
    """Look up the classes that a set has rules of.

    Args:
        names: of the classes.
        set_id: the set's 16 bytes.
    """
    by_name = {name: ClassKeys(name, rule_info(name), rule_aad(set_id, name)) for name in names}
    at: dict[ObservedAt, tuple[ClassKeys, ...]] = dict.fromkeys(ObservedAt, ())
    for name, known in CLASSES.items():
        if keys := by_name.get(name):
            for place in known.observed_at:
                at[place] += (keys,)
    return SetClasses(by_name, at)
