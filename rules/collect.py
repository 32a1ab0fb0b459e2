"""From the sources to the spool: what becomes a rule, and a report of what does not."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rules.canonical import Refused, canonical_attribute
from rules.false_positives import AllowList, FalsePositives
from rules.indicators import indicators_of, make_record
from rules.report import Report
from rules.selection import Selection
from rules.settings import MessageField
from rules.sources.attribute import Attribute
from rules.sources.plain_list import read_plain_list
from rules.spool import Spool


class Collector:
    """Takes attributes and spools their records.

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
        spool: Spool,
        report: Report,
        *,
        domain_ip_by_domain: bool,
    ) -> None:
        self._selection = selection
        self._false_positives = false_positives
        self._fields: list[str] = [name for name in fields if name != "warninglist"]
        self._tells_lists = "warninglist" in fields
        self._spool = spool
        self._report = report
        self._domain_ip_by_domain = domain_ip_by_domain
        self.indicators = 0

    def add(self, attribute: Attribute) -> None:
        """Take in one attribute."""
        report = self._report
        report.read += 1
        reason = self._selection.skip_reason(attribute)
        if reason is None:
            expires = self._selection.expires(attribute)
            if not self._selection.is_over(expires):
                self._add(attribute, expires)
                return
            reason = "too old"
        report.skipped[reason] += 1

    def _add(self, attribute: Attribute, expires: int) -> None:
        action = self._selection.action(attribute)
        fields = {name: text for name in self._fields if (text := getattr(attribute, name))}
        try:
            for name, value in indicators_of(
                attribute, domain_ip_by_domain=self._domain_ip_by_domain
            ):
                verdict = self._false_positives.judge(name, value)
                told = fields
                if verdict is not None:
                    self._report.add(verdict.outcome, attribute, verdict.reason)
                    if verdict.outcome != "marked":
                        continue
                    if self._tells_lists:
                        told = {**fields, "warninglist": verdict.reason}
                self._spool.add(make_record(name, value, action, expires, told))
                self.indicators += 1
        except Refused as refused:
            self._report.add("refused", attribute, refused.reason)


def read_allow_list(paths: Iterable[Path], report: Report) -> AllowList:
    """The operator's allow list: plain lists of what must never be blocked.

    Raises:
        Unreadable: one of the files; sealing without it could block what it allows.
    """
    entries = []
    for path in paths:
        for attribute in read_plain_list(path):
            try:
                entries.append(canonical_attribute(attribute.type, attribute.value))
            except Refused as refused:
                report.add("refused", attribute, f"allow list: {refused.reason}")
    return AllowList(entries)
