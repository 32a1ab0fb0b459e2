"""What becomes of attributes: records for the spool, or a reason why not. No files, no state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Sequence
from typing import Final

import msgspec

from inkgate.rules.canonical import Refused
from inkgate.rules.canonical.misp_types import is_misp_type
from inkgate.rules.select.false_positives import FalsePositives
from inkgate.rules.select.indicators import Record, indicators_of, make_record
from inkgate.rules.select.report import Case, Fate, case_of
from inkgate.rules.select.selection import Selection
from inkgate.rules.select.spool import Portion, portions
from inkgate.rules.settings import MessageField
from inkgate.rules.sources.attribute import Attribute

TOO_OLD: Final = "too old"
NO_TYPE: Final = "not a type that MISP has; [rules] more_types names newer ones"


class Judged(msgspec.Struct, array_like=True, frozen=True):
    """What became of some attributes.

    Attributes:
        read: how many they were.
        more: how many of them were further values of a line that listed several.
        fates: how many were refused, screened (all of their values on a list) and sealed. The
            others were skipped.
        records: how many records the sealed ones made.
        lists: of each list by its path, how many of its values were not skipped, and how many
            refused.
        skipped: how many were not selected, by reason.
        cases: those that somebody may want to look at.
        portions: their records, by partition.
    """

    read: int
    more: int
    fates: dict[Fate, int]
    records: int
    lists: dict[str, tuple[int, int]]
    skipped: dict[str, int]
    cases: list[Case]
    portions: dict[int, Portion]


def refusal_of(attribute: Attribute, more_types: Container[str]) -> str:
    """Why an attribute cannot be sealed, as a fixed phrase; empty if it can.

    Args:
        more_types: what counts as a type besides those that MISP is known to have.
    """
    try:
        _check(attribute, more_types)
        for _ in indicators_of(attribute, domain_ip_by_domain=True):
            pass
    except Refused as refused:
        return refused.reason
    return ""


def _check(attribute: Attribute, more_types: Container[str]) -> None:
    if attribute.refused:
        raise Refused(attribute.refused)
    # A class's name stands in clear in the pack: a word in the type's place must not.
    if not (is_misp_type(attribute.type) or attribute.type in more_types):
        raise Refused(NO_TYPE)


class Judge:
    """Decides on attributes. May be sent to another process.

    Args:
        selection: which attributes become rules.
        false_positives: what must not become one.
        fields: what a message tells about an attribute.
        domain_ip_by_domain: seal the domain of `domain|ip` by itself, too.
        more_types: what counts as a type besides those that MISP is known to have.
    """

    def __init__(
        self,
        selection: Selection,
        false_positives: FalsePositives,
        fields: Iterable[MessageField],
        *,
        domain_ip_by_domain: bool,
        more_types: Iterable[str] = (),
    ) -> None:
        self._selection = selection
        self._false_positives = false_positives
        self._fields: list[str] = [name for name in fields if name != "warninglist"]
        self._tells_lists = "warninglist" in fields
        self._domain_ip_by_domain = domain_ip_by_domain
        self._more_types = frozenset(more_types)

    def judge(self, attributes: Sequence[Attribute]) -> Judged:
        """Decide on attributes, in their order."""
        skipped: Counter[str] = Counter()
        fates: Counter[Fate] = Counter()
        cases: list[Case] = []
        records: list[Record] = []
        lists: dict[str, tuple[int, int]] = {}
        for attribute in attributes:
            reason = attribute.skipped or self._skip_reason(attribute)
            if reason:
                skipped[reason] += 1
                continue
            fate = self._fate(attribute, records, cases)
            fates[fate] += 1
            if attribute.source:
                path = attribute.place.rpartition(":")[0]
                read, refused = lists.get(path, (0, 0))
                lists[path] = read + 1, refused + (fate == "refused")
        more = sum(attribute.is_more for attribute in attributes)
        return Judged(
            len(attributes), more, dict(fates), len(records), lists, dict(skipped), cases,
            portions(records),
        )  # fmt: skip

    def _skip_reason(self, attribute: Attribute) -> str | None:
        if attribute.refused:
            return None
        reason = self._selection.skip_reason(attribute)
        if reason is None and self._selection.is_over(self._selection.expires(attribute)):
            return TOO_OLD
        return reason

    def _fate(self, attribute: Attribute, records: list[Record], cases: list[Case]) -> Fate:
        before = len(records)
        try:
            _check(attribute, self._more_types)
            self._seal(attribute, self._selection.expires(attribute), records, cases)
        except Refused as refused:
            cases.append(case_of("refused", attribute, refused.reason))
            return "refused"
        return "sealed" if len(records) > before else "screened"

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
