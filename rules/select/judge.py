"""What becomes of attributes: records for the spool, or a reason why not. No files, no state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from inkgate.rules.canonical import Refused
from inkgate.rules.select.false_positives import FalsePositives
from inkgate.rules.select.indicators import Record, indicators_of, make_record
from inkgate.rules.select.report import Case, case_of
from inkgate.rules.select.selection import Selection
from inkgate.rules.select.spool import Portion, portions
from inkgate.rules.settings import MessageField
from inkgate.rules.sources.attribute import Attribute

TOO_OLD: Final = "too old"


class Judged(msgspec.Struct, array_like=True, frozen=True):
    """What became of some attributes.

    Attributes:
        read: how many they were.
        skipped: how many were not selected, by reason.
        cases: those that somebody may want to look at.
        portions: their records, by partition.
    """

    read: int
    skipped: dict[str, int]
    cases: list[Case]
    portions: dict[int, Portion]


class Judge:
    """Decides on attributes. May be sent to another process.

    Args:
        selection: which attributes become rules.
        false_positives: what must not become one.
        fields: what a message tells about an attribute.
        domain_ip_by_domain: seal the domain of `domain|ip` by itself, too.
    """

    def __init__(
        self,
        selection: Selection,
        false_positives: FalsePositives,
        fields: Iterable[MessageField],
        *,
        domain_ip_by_domain: bool,
    ) -> None:
        self._selection = selection
        self._false_positives = false_positives
        self._fields: list[str] = [name for name in fields if name != "warninglist"]
        self._tells_lists = "warninglist" in fields
        self._domain_ip_by_domain = domain_ip_by_domain

    def judge(self, attributes: Sequence[Attribute]) -> Judged:
        """Decide on attributes, in their order."""
        skipped: Counter[str] = Counter()
        cases: list[Case] = []
        records: list[Record] = []
        for attribute in attributes:
            reason = self._one(attribute, records, cases)
            if reason is not None:
                skipped[reason] += 1
        return Judged(len(attributes), dict(skipped), cases, portions(records))

    def _one(self, attribute: Attribute, records: list[Record], cases: list[Case]) -> str | None:
        reason = self._selection.skip_reason(attribute)
        if reason is not None:
            return reason
        expires = self._selection.expires(attribute)
        if self._selection.is_over(expires):
            return TOO_OLD
        try:
            self._seal(attribute, expires, records, cases)
        except Refused as refused:
            cases.append(case_of("refused", attribute, refused.reason))
        return None

    def _seal(
        self, attribute: Attribute, expires: int, records: list[Record], cases: list[Case]
    ) -> None:
        action = self._selection.action(attribute)
        fields = {name: text for name in self._fields if (text := getattr(attribute, name))}
        for name, value in indicators_of(attribute, domain_ip_by_domain=self._domain_ip_by_domain):
            verdict = self._false_positives.judge(name, value)
            told = fields
            if verdict is not None:
                cases.append(case_of(verdict.outcome, attribute, verdict.reason))
                if verdict.outcome != "marked":
                    continue
                if self._tells_lists:
                    told = {**fields, "warninglist": verdict.reason}
            records.append(make_record(name, value, action, expires, told))
