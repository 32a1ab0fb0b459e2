"""MISP event JSON and CSV in the shapes that exist, and cut off anywhere."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymisp import MISPEvent

from inkgate.config.errors import Unreadable
from inkgate.rules.sources.files import find_files
from inkgate.rules.sources.readers.misp_csv import OTHER_COLUMNS
from inkgate.rules.sources.readers.registry import read_path

SAMPLES = sorted(Path(str(files("inkgate.rules"))).joinpath("samples").glob("*.json"))
ATTRIBUTE = {"uuid": "u", "type": "domain", "value": "a.example", "to_ids": "1", "event_id": 5}
EVENT = {"id": 5, "uuid": "e", "info": "made up", "date": "2026-01-01", "Orgc": {"name": "O"}}
WITH = {**EVENT, "Attribute": [ATTRIBUTE]}

SHAPES = {
    "event": {"Event": WITH},
    "response-list": {"response": [{"Event": WITH}]},
    "response-one": {"response": {"Event": WITH}},
    "list": [{"Event": WITH}],
    "bare-list": [WITH],
    "bare": WITH,
    "attributes": {"response": {"Attribute": [{**ATTRIBUTE, "Event": EVENT}]}},
    "object": {"Event": {**EVENT, "Object": [{"uuid": "o", "Attribute": [ATTRIBUTE]}]}},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(tmp_path: Path, shape: str) -> None:
    path = tmp_path / "event.json"
    path.write_text("\ufeff" + json.dumps(SHAPES[shape]))
    (attribute,) = read_path(path)
    assert (attribute.type, attribute.value, attribute.to_ids) == ("domain", "a.example", True)
    assert (attribute.event_id, attribute.event_info, attribute.org) == ("5", "made up", "O")
    assert attribute.date == "2026-01-01"


@pytest.mark.parametrize("path", SAMPLES, ids=lambda p: p.stem)
def test_samples_are_what_pymisp_reads(path: Path) -> None:
    event = MISPEvent()
    event.load_file(str(path))
    theirs = [a.uuid for a in event.attributes]
    theirs += [a.uuid for o in event.objects for a in o.attributes]
    assert sorted(a.uuid for a in read_path(path)) == sorted(theirs)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda p: p.stem)
def test_sample_cut_off_anywhere_gives_nothing(path: Path, tmp_path: Path) -> None:
    data = path.read_bytes().rstrip()
    cut = tmp_path / path.name
    for size in range(0, len(data), 97):
        cut.write_bytes(data[:size])
        with pytest.raises(Unreadable, match=path.name):
            list(read_path(cut))


@pytest.mark.parametrize(
    "content",
    [b"", b"[", b"{}", b"null", b"[1]", b'{"errors": ["no"]}', b"\xff\xfe", b"[" * 100_000,
     b'{"response":' * 5000, b"\0"],
)  # fmt: skip
def test_what_is_no_event_is_unreadable(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "event.json"
    path.write_bytes(content)
    with pytest.raises(Unreadable):
        list(read_path(path))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.binary(max_size=80), st.sampled_from([".json", ".csv"]))
def test_only_unreadable_is_raised(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"source{suffix}"
    path.write_bytes(content)
    with contextlib.suppress(Unreadable):
        list(read_path(path))


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=20)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=5))
def test_csv_round_trip(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(["uuid", "value", "to_ids", "type", "comment", "date"])
    for value, comment in rows:
        writer.writerow(["u", value, "1", "text", comment, "1767225600"])
    path = tmp_path / "export.csv"
    path.write_text(out.getvalue(), newline="")
    read = [(a.value, a.comment, a.date) for a in read_path(path)]
    assert read == [(value, comment, "2026-01-01") for value, comment in rows]


def test_csv_cut_off_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_text("uuid,type,value\nu,domain,a.example\nu,dom")
    with pytest.raises(Unreadable, match=r"export\.csv:3: is cut off"):
        list(read_path(path))
    path.write_text("uuid,type,value\nu,domain\n")
    (found,) = read_path(path)
    assert (found.place, found.refused) == (f"{path.name}:2", OTHER_COLUMNS)
    path.write_text("a,b\n")
    with pytest.raises(Unreadable, match="no column whose name is known"):
        list(read_path(path))


def test_find_files(tmp_path: Path) -> None:
    for name in ("b.json", "a.csv", ".hidden.json", "manifest.json", "x.txt", "sub/c.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    assert [p.name for p in find_files([tmp_path], [])] == ["a.csv", "b.json", "c.json", "x.txt"]
    faults: list[Unreadable] = []
    assert not find_files([tmp_path / "missing"], faults)
    assert "missing: does not exist" in str(faults[0])
