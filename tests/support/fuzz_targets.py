"""What is fuzzed: everything that takes files or values from strangers.

A target takes bytes. It may raise what its part promises to raise, and nothing else, and what
it gives must hold what its part promises; a violation is an AssertionError. Its corpus lies in
tests/fuzz/corpus/NAME.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from inkgate.config.errors import Unreadable
from inkgate.rules.canonical import Refused, canonical_attribute
from inkgate.rules.canonical.classes import CLASSES
from inkgate.rules.select.false_positives import AllowList, FalsePositives
from inkgate.rules.select.judge import Judge
from inkgate.rules.select.selection import Selection
from inkgate.rules.settings import SelectSettings
from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.readers.column_csv import read_column_csv
from inkgate.rules.sources.readers.drop_json import read_drop
from inkgate.rules.sources.readers.list_file import read_list
from inkgate.rules.sources.readers.lists.registry import DIALECTS, dialect_of, parse_line
from inkgate.rules.sources.readers.misp_csv import read_csv_file
from inkgate.rules.sources.readers.misp_event import read_event_file
from inkgate.rules.sources.readers.registry import read_file
from inkgate.rules.sources.readers.source_file import SourceFile
from inkgate.rules.sources.readers.stix import is_stix_file, read_stix_file
from inkgate.rules.sources.readers.stix_pattern import read_pattern

Target = Callable[[bytes], None]

CORPUS: Final = Path(__file__).resolve().parents[1] / "fuzz" / "corpus"
_JUDGE: Final = Judge(
    Selection(SelectSettings(), {}, {}, "block", datetime(2026, 1, 1, tzinfo=UTC)),
    FalsePositives(AllowList([]), None, {}),
    ("uuid", "source", "comment"),
    domain_ip_by_domain=True,
)


def _check(attributes: list[Attribute]) -> None:
    """Every attribute has one fate, whatever is in it."""
    judged = _JUDGE.judge(attributes)
    assert judged.read == len(attributes)
    assert judged.read == sum(judged.skipped.values()) + sum(judged.fates.values())
    assert judged.records >= judged.fates.get("sealed", 0)
    for case in judged.cases:
        assert case.reason
        assert "\x1b" not in case.reason
    for attribute in attributes:
        assert not (attribute.refused and attribute.skipped)


def _read(read: Callable[[SourceFile], Iterator[Attribute]], name: str, data: bytes) -> None:
    with _file(name, data) as path, contextlib.suppress(Unreadable):
        _check(list(read(SourceFile(path))))


@contextlib.contextmanager
def _file(name: str, data: bytes) -> Iterator[Path]:
    # Memory, where it is a file system: thousands of files a second are made.
    folder = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="inkgate-fuzz-", dir=folder) as place:
        path = Path(place) / name
        path.write_bytes(data)
        yield path


def _list(dialect: str, data: bytes) -> None:
    with _file("list.txt", data) as path, contextlib.suppress(Unreadable):
        file = SourceFile(path)
        attributes = list(read_list(file, "", dialect))
        lines = sum(1 for _ in file.lines())
        # No line is lost, and none counts twice.
        assert sum(not a.is_more for a in attributes) == lines
        _check(attributes)


def _stix(data: bytes) -> None:
    with _file("bundle.json", data) as path, contextlib.suppress(Unreadable):
        is_stix_file(SourceFile(path))


class _Objects(msgspec.Struct):
    objects: list[msgspec.Raw] = msgspec.field(default_factory=list)


def _bundle(data: bytes) -> None:
    with _file("bundle.json", data) as path, contextlib.suppress(Unreadable):
        attributes = list(read_stix_file(SourceFile(path)))
        _check(attributes)
        # What is packed is not looked into again.
        with contextlib.suppress(msgspec.MsgspecError):
            objects = msgspec.json.decode(data, type=_Objects).objects
            # Every object is counted, whatever it is.
            count = sum(not a.is_more for a in attributes)
            assert count >= len(objects)
            # Where no other list is named, in another case or with escaped letters, none is more.
            names = re.findall(rb'"objects"|\\u00', data, re.IGNORECASE)
            assert count == len(objects) or names not in ([], [b'"objects"'])


def _pattern(data: bytes) -> None:
    readings = read_pattern(data.decode("utf-8", "replace"))
    assert readings
    for reading in readings:
        assert bool(reading.type) != bool(reading.refused)


def _lines(data: bytes) -> None:
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    dialect = dialect_of(lines)
    for line in lines:
        said = parse_line(dialect, line)
        assert bool(said.values) + bool(said.refused) + bool(said.skipped) == 1


def _values(kind: str, data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    names = [name for name, known in CLASSES.items() if known.kind == kind]
    for name in names:
        with contextlib.suppress(Refused):
            value = canonical_attribute(name, text)
            # What is canonical stays what it is, and can be looked up. (A `uri` that is a path
            # is text, and never sealed.)
            assert value.data
            if len(value.parts) == 1 and value.kind == kind:
                assert canonical_attribute(name, value.parts[0]).data == value.data


TARGETS: Final[dict[str, Target]] = {
    **{f"list-{dialect.name}": partial(_list, dialect.name) for dialect in DIALECTS},
    "list-lines": _lines,
    "file": partial(_read, read_file, "list.txt"),
    "file-json": partial(_read, read_file, "event.json"),
    "misp-event": partial(_read, read_event_file, "event.json"),
    "misp-csv": partial(_read, read_csv_file, "export.csv"),
    "column-csv": partial(_read, read_column_csv, "feed.csv"),
    "spamhaus-drop": partial(_read, read_drop, "drop.json"),
    "stix-probe": _stix,
    "stix-bundle": _bundle,
    "stix-pattern": _pattern,
    **{f"value-{kind}": partial(_values, kind) for kind in ("name", "ip", "url", "digest", "text")},
}
