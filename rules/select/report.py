"""What a refresh left out, and why: counts for the screen, every case in a file.

The cases name where an attribute stands (UUID, or file and line), never its value:
the report may be read by people who may not read the indicators.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from contextlib import ExitStack
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import BinaryIO, Final, Literal, NamedTuple

from inkgate.config.printable import printable
from inkgate.config.whole_file import writing_whole
from inkgate.rules.canonical.misp_types import is_misp_type
from inkgate.rules.sources.attribute import Attribute

Outcome = Literal["refused", "dropped", "marked", "allowed"]
Fate = Literal["refused", "screened", "sealed"]

EXAMPLES: Final = 5
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Case(NamedTuple):
    """One attribute that was refused, dropped, marked or allowed."""

    outcome: Outcome
    place: str
    type: str
    reason: str


def case_of(outcome: Outcome, attribute: Attribute, reason: str) -> Case:
    """An attribute's case. `reason` is a fixed phrase or a list's name, never a value."""
    # What is no UUID, or no type, may be an indicator in the wrong column.
    uuid = attribute.uuid if _UUID.fullmatch(attribute.uuid) else ""
    place = attribute.place or uuid or "no uuid"
    known = is_misp_type(attribute.type)
    return Case(outcome, place, attribute.type if known else "unknown", reason)


class Report:
    """Counts cases and writes each as a row of a TSV file (mode 0600), whole when closed.

    Attributes:
        read: attributes, and lines of lists. Each was skipped or has one of the `fates`.
        more: how many of them were further values of a line or row that listed several.
        records: how many the sealed ones made.
        lists: of each list by its path, how many of its values were not skipped, and how many
            refused.
        fates: how many were refused, screened and sealed.
        skipped: how many were not selected, by reason.
        counts: by outcome and reason.
        examples: the first few cases by outcome and reason.
        remarks: what sources that were read well say of themselves.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read = 0
        self.more = 0
        self.records = 0
        self.lists: dict[str, tuple[int, int]] = {}
        self.fates: Counter[Fate] = Counter()
        self.skipped: Counter[str] = Counter()
        self.counts: Counter[tuple[Outcome, str]] = Counter()
        self.examples: dict[tuple[Outcome, str], list[Case]] = defaultdict(list)
        self.remarks: list[str] = []
        self._file: BinaryIO | None = None
        self._writing = ExitStack()
        self._last = _digest(path)
        self._digest = blake2b()

    def add(self, case: Case) -> None:
        """Note one case."""
        self.counts[case.outcome, case.reason] += 1
        examples = self.examples[case.outcome, case.reason]
        if len(examples) < EXAMPLES:
            examples.append(case)
        if self._file is None:
            self._file = self._writing.enter_context(writing_whole(self.path, 0o600))
            self._write(self._file, b"outcome\tplace\ttype\treason\n")
        self._write(self._file, "\t".join(map(printable, case)).encode() + b"\n")

    @property
    def is_unchanged(self) -> bool:
        """Whether the cases are those of the last refresh."""
        return self._digest.digest() == self._last

    def total(self, outcome: Outcome) -> int:
        """How many cases had an outcome."""
        return sum(n for (name, _), n in self.counts.items() if name == outcome)

    def close(self) -> None:
        """Finish the file; without any case there is none."""
        if self._file is None:
            self.path.unlink(missing_ok=True)
        self._writing.close()

    def _write(self, file: BinaryIO, line: bytes) -> None:
        file.write(line)
        self._digest.update(line)


def _digest(path: Path) -> bytes:
    """Of a file; a missing one counts as empty."""
    try:
        with path.open("rb") as file:
            return file_digest(file, blake2b).digest()
    except OSError:
        return blake2b().digest()
