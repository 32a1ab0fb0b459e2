"""Which attributes become rules, for how long, and with which action."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from fnmatch import translate
from functools import lru_cache
from typing import Final

from inkgate.rules.crypto.message import Action
from inkgate.rules.settings import SelectSettings
from inkgate.rules.sources.attribute import Attribute

_TLP_ORDER: Final = ("clear", "green", "amber", "amber+strict", "red")
_TLP_NAMES: Final = {"tlp:white": "clear", **{f"tlp:{name}": name for name in _TLP_ORDER}}
_DAY: Final = 86_400
_LATEST: Final = 1 << 40


class Selection:
    """Decides on attributes, one at a time.

    Args:
        select: what to leave out.
        max_age_days: by type, or `*` for all others: days after which a rule expires,
            counted from the attribute's last_seen, else its timestamp, else the
            event's date.
        actions: by `type:NAME` or `tag:PATTERN`; a tag weighs more than a type.
        action: for all others.
        now: the moment of this refresh.
    """

    def __init__(
        self,
        select: SelectSettings,
        max_age_days: dict[str, int],
        actions: dict[str, Action],
        action: Action,
        now: datetime,
    ) -> None:
        self._select = select
        self._types = _pattern(select.types)
        self._not_types = _pattern(select.not_types)
        self._tags = _pattern(select.tags)
        self._not_tags = _pattern(select.not_tags)
        self._orgs = _pattern(select.orgs)
        self._not_orgs = _pattern(select.not_orgs)
        self._max_tlp = _TLP_ORDER.index(select.max_tlp)
        self._max_age_days = max_age_days
        self._action: Action = action
        self._by_type = {k[5:]: v for k, v in actions.items() if k.startswith("type:")}
        self._by_tag = [(_pattern((k[4:],)), v) for k, v in actions.items() if k.startswith("tag:")]
        self._now = int(now.timestamp())

    def skip_reason(self, attribute: Attribute) -> str | None:
        """Why an attribute does not become a rule, as a fixed phrase; None if it does."""
        if attribute.deleted:
            return "deleted"
        if not attribute.to_ids:
            return "to_ids not set"
        if self._select.published_only and not attribute.published:
            return "not published"
        return self._not_selected(attribute)

    def _not_selected(self, attribute: Attribute) -> str | None:
        if not _selects(self._types, self._not_types, (attribute.type,)):
            return "type not selected"
        if not _selects(self._orgs, self._not_orgs, (attribute.org,)):
            return "organisation not selected"
        if not _selects(self._tags, self._not_tags, attribute.tags):
            return "tag not selected"
        if attribute.tags and _tlp(attribute.tags) > self._max_tlp:
            return "TLP too high"
        return None

    def expires(self, attribute: Attribute) -> int:
        """When the attribute's rule expires: seconds since 1970, 0 for never."""
        if not self._max_age_days:
            return 0
        days = self._max_age_days.get(attribute.type, self._max_age_days.get("*"))
        if days is None:
            return 0
        seen = (
            _moment(attribute.last_seen) or _moment(attribute.timestamp) or _moment(attribute.date)
        )
        return seen + days * _DAY if seen else 0

    def is_over(self, expires: int) -> bool:
        """Whether a moment given by `expires` has passed."""
        return 0 < expires <= self._now

    def action(self, attribute: Attribute) -> Action:
        """The course of action for an attribute."""
        for pattern, action in self._by_tag:
            if pattern and any(map(pattern.fullmatch, attribute.tags)):
                return action
        return self._by_type.get(attribute.type, self._action)


def _pattern(patterns: tuple[str, ...]) -> re.Pattern[str] | None:
    if not patterns:
        return None
    return re.compile("|".join(map(translate, patterns)), re.IGNORECASE)


@lru_cache(maxsize=4096)
def _tlp(tags: tuple[str, ...]) -> int:
    known = (_TLP_NAMES.get(tag.lower()) for tag in tags)
    return max((_TLP_ORDER.index(name) for name in known if name), default=0)


def _selects(
    wanted: re.Pattern[str] | None, unwanted: re.Pattern[str] | None, texts: tuple[str, ...]
) -> bool:
    if wanted is not None and not any(map(wanted.fullmatch, texts)):
        return False
    return unwanted is None or not any(map(unwanted.fullmatch, texts))


@lru_cache(maxsize=4096)
def _moment(text: str) -> int:
    """Seconds since 1970 of a MISP timestamp, date or RFC 3339 moment; 0 if it is none.

    The text comes from somebody else's file. What is not between 1970 and the year 36812
    counts as none, since the number must fit where it is stored.
    """
    seconds = _seconds(text)
    return seconds if 0 < seconds < _LATEST else 0


def _seconds(text: str) -> int:
    if not text or text == "0":
        return 0
    try:
        if text.isascii() and text.isdigit():
            # MISP's database keeps last_seen in microseconds.
            number = int(text)
            return number // 1_000_000 if number > 10**12 else number
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(seconds=1))
