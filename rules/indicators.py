"""From MISP attributes to indicators: which are sealed, under which class, and why some are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from rules.canonical import Refused, Value, canonical_attribute
from rules.sources.attribute import Attribute


class Indicator(NamedTuple):
    """A class and a canonical value; all attributes that share both make one rule."""

    indicator_class: str
    value: Value


class Refusal(NamedTuple):
    """An attribute that cannot be sealed. Names it by UUID only: its value is a secret."""

    uuid: str
    type: str
    reason: str


class Collection:
    """Indicators gathered from any number of sources.

    Args:
        fields: the attribute fields that a message carries.
        domain_ip_by_domain: seal the domain of `domain|ip` by itself, too.
    """

    def __init__(self, fields: tuple[str, ...], *, domain_ip_by_domain: bool) -> None:
        self._fields = fields
        self._domain_ip_by_domain = domain_ip_by_domain
        self.indicators: dict[Indicator, list[dict[str, str]]] = {}
        self.refused: list[Refusal] = []
        self.skipped: Counter[str] = Counter()
        self.read = 0

    def add_all(self, attributes: Iterable[Attribute]) -> None:
        """Take in attributes; those not meant for detection are counted as skipped."""
        for attribute in attributes:
            self.read += 1
            reason = _skip_reason(attribute)
            if reason:
                self.skipped[reason] += 1
            else:
                self._add(attribute)

    def _add(self, attribute: Attribute) -> None:
        try:
            indicators = list(self._indicators(attribute))
        except Refused as refused:
            self.refused.append(Refusal(attribute.uuid, attribute.type, refused.reason))
            return
        fields = {name: getattr(attribute, name) for name in self._fields}
        for indicator in indicators:
            messages = self.indicators.setdefault(indicator, [])
            if fields not in messages:
                messages.append(fields)

    def _indicators(self, attribute: Attribute) -> Iterator[Indicator]:
        value = canonical_attribute(attribute.type, attribute.value)
        yield Indicator(attribute.type, value)
        if attribute.type == "domain|ip" and self._domain_ip_by_domain:
            yield Indicator("domain", canonical_attribute("domain", value.parts[0]))


def _skip_reason(attribute: Attribute) -> str | None:
    if attribute.deleted:
        return "deleted"
    if not attribute.to_ids:
        return "to_ids not set"
    return None
