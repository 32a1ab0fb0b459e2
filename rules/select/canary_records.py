"""Records of a subscriber's canaries (docs/format.md, section 11).

They are sealed whatever the settings select, allow or warn of: nobody is ever blocked by
them but the check.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from inkgate.rules.canonical import ObservedAt, canonical_attribute, class_of, classes_at
from inkgate.rules.crypto.canaries import REPLY_ADDRESSES, Canaries
from inkgate.rules.crypto.message import CANARY
from inkgate.rules.select.indicators import Record, make_record

_PREFERRED: Final = "sha256"
# For older versions, which show it as what the rule tells.
_FIELDS: Final = {"comment": "canary"}


def canary_records(own: Canaries, classes: Collection[str]) -> list[Record]:
    """What the publisher adds to the records of a set.

    Args:
        own: the subscriber's.
        classes: those that the set has without canaries.
    """
    listed = [("domain", own.name), ("url", own.url)]
    listed += [("ip-dst|port", f"{address}|{own.reply_port}") for address in REPLY_ADDRESSES]
    if name := _digest_class(classes):
        listed.append((name, own.digest(class_of(name).forms[0].algorithm)))
    return [
        make_record(name, canonical_attribute(name, text), CANARY, 0, _FIELDS)
        for name, text in listed
    ]


def _digest_class(classes: Collection[str]) -> str:
    """A class of digests that proxies compute for this set anyway; empty if they compute none.

    A set without digests lets bodies pass unread, and must go on to do so.
    """
    computed = {
        class_of(name).forms[-1].algorithm
        for name in classes_at(ObservedAt.BODY, ObservedAt.FILE_NAME_WITH_BODY)
        if name in classes
    }
    possible = [
        name
        for name in classes_at(ObservedAt.BODY)
        if class_of(name).forms[0].algorithm in computed
    ]
    return _PREFERRED if _PREFERRED in possible else next(iter(possible), "")
