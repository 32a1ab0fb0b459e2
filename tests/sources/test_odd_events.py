"""Events with attributes in odd places, and with odd bytes: each is read or counted, once."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from inkgate.config.errors import Unreadable
from inkgate.rules.sources.readers import lenient_json
from inkgate.rules.sources.readers.misp_event import PROPOSAL, STRAY
from inkgate.rules.sources.readers.registry import read_path

ONE = {"type": "domain", "value": "x.example", "to_ids": True}
INNER = {"uuid": "e", "info": "i", "Attribute": [ONE]}
READ, LOST = ["x.example"], [STRAY]
PLACES: dict[str, tuple[Any, list[str]]] = {
    "beside the event": ({"Event": INNER, "Attribute": [ONE]}, READ * 2),
    "object beside the event": ({"Event": INNER, "Object": [{"Attribute": [ONE]}]}, READ * 2),
    "response beside an event": ({"response": [{"Event": INNER}], "Event": INNER}, READ * 2),
    "event in an event": ({"Event": {**INNER, "Event": INNER}}, READ * 2),
    "list of events": ({"Event": [INNER, INNER]}, READ * 2),
    "map of events": ({"response": {"0": {"Event": INNER}, "2": {"Event": INNER}}}, READ * 2),
    "one attribute": ({"Event": {**INNER, "Attribute": ONE}}, READ),
    "wrapped attributes": ({"Event": {**INNER, "Attribute": [{"Attribute": ONE}]}}, READ),
    "attribute in one": (
        {"Event": {**INNER, "Attribute": [{**ONE, "Attribute": [ONE]}]}}, READ * 2),
    "one object": ({"Event": {**INNER, "Object": {"Attribute": [ONE]}}}, READ * 2),
    "object in an object": (
        {"Event": {**INNER, "Object": [{"Attribute": [ONE], "Object": [{"Attribute": [ONE]}]}]}},
        READ * 3),
    "proposals": ({"Event": {**INNER, "ShadowAttribute": [ONE, ONE]}}, [*READ, *[PROPOSAL] * 2]),
    "proposal for one": (
        {"Event": {**INNER, "Attribute": [{**ONE, "ShadowAttribute": [ONE]}]}}, [*READ, PROPOSAL]),
    "map of proposals": (
        {"Event": {**INNER, "ShadowAttribute": {"1": ONE}}}, [*READ, PROPOSAL]),
    "related event": ({"Event": {**INNER, "RelatedEvent": [{"Event": {"id": "2"}}]}}, READ),
    "attributes of a related event": (
        {"Event": {**INNER, "RelatedEvent": [{"Event": INNER}]}}, READ + LOST),
    "unknown member": ({"Event": {**INNER, "more": {"Attribute": [ONE, ONE]}}}, READ + LOST * 2),
    "unknown member of an attribute": (
        {"Event": {**INNER, "Attribute": [{**ONE, "more": {"Attribute": [ONE]}}]}}, READ + LOST),
    "reference": (
        {"Event": {**INNER, "Object": [{"ObjectReference": [{"Attribute": ONE}]}]}}, READ),
    "report about one": ({"Event": {**INNER, "Sighting": [{"model": "Attribute"}]}}, READ),
    "number in place of objects": ({"Event": {**INNER, "Object": [7]}}, [*READ, ""]),
    "members in lower case": (
        {"event": {"uuid": "e", "info": "i", "attribute": [ONE], "object": [{"attribute": [ONE]}]}},
        READ * 2),
    "lower case beside MISP's": (
        {"Event": {**INNER, "attribute": [ONE]}, "event": INNER}, READ * 3),
    "nothing found": ({"response": []}, []),
    "nothing found, and more": ({"response": [], "Tag": {"1": "x"}}, []),
    "beside a number": ([{"Event": INNER}, 7], READ + LOST),
}  # fmt: skip


@pytest.mark.parametrize("name", PLACES)
def test_every_attribute_is_read_or_counted_wherever_it_stands(tmp_path: Path, name: str) -> None:
    """Some places were passed over without a word."""
    document, expected = PLACES[name]
    path = tmp_path / "event.json"
    path.write_text(json.dumps(document))
    assert sorted(a.value or a.refused or a.skipped for a in read_path(path)) == sorted(expected)


def test_member_that_stands_twice_counts_twice(tmp_path: Path) -> None:
    path = tmp_path / "event.json"
    one = json.dumps([ONE])
    for members in (f'"Attribute":{one},"Attribute":{one}', f'"Object":[],"Attribute":{one}'):
        path.write_text(f'{{"Event":{{"uuid":"e","info":"i",{members}}}}}')
        assert len(list(read_path(path))) == members.count("x.example")


TEXTS = {
    "twice in lower case": ('"attribute":[A],"attribute":[A]', READ * 2),
    "object twice in lower case": ('"object":[{"Attribute":[A]}],"object":[{"Attribute":[A]}]',
                                   READ * 2),
    "unknown member twice": ('"x":{"Attribute":[A]},"x":1,"Attribute":[A]', READ + LOST),
    "escaped letters": ('"\\u0041ttribute":[A],"x":{"Attribute":[A]}', READ + LOST),
    "escaped letters elsewhere": (
        '"Attribute":[A],"x":{"\\u0041ttribute":[A]}', READ + LOST),
    "proposals in lower case": ('"Attribute":[A],"shadowattribute":[A]', [*READ, PROPOSAL]),
    "no object in lower case": ('"Attribute":[A],"object":[7]', READ),
    "free names of a galaxy": (
        '"Attribute":[A],"Galaxy":[{"meta":{"attribute":["x","y"]}}]', READ),
    "a word in place of attributes": ('"Attribute":[A],"attribute":"x"', READ),
    "deep attributes": ('"Attribute":[A],"x":' + "[" * 3000 + '{"Attribute":[A]}' + "]" * 3000,
                        READ + LOST),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_attribute_in_a_member_of_any_spelling_is_read_or_counted(
    tmp_path: Path, name: str
) -> None:
    members, expected = TEXTS[name]
    path = tmp_path / "event.json"
    members = members.replace("[A]", f"[{json.dumps(ONE)}]")
    path.write_text(f'{{"Event":{{"uuid":"e","info":"i",{members}}}}}')
    assert sorted(a.value or a.refused or a.skipped for a in read_path(path)) == sorted(expected)


def test_attack_name_that_stands_for_others_is_a_name_like_all(tmp_path: Path) -> None:
    """It ended the refresh with a traceback."""
    path = tmp_path / "event.json"
    twice = '"x":{"Attribute":[A]},"x":1,"\\u0000twice":{"Attribute":[A]},"Attribute":[A]'
    members = twice.replace("[A]", f"[{json.dumps(ONE)}]")
    path.write_text(f'{{"Event":{{"uuid":"e","info":"i",{members}}}}}')
    found = sorted(a.value or a.refused or a.skipped for a in read_path(path))
    assert found == sorted(READ + LOST * 2)


def test_attack_many_names_that_stand_twice_take_time_by_their_number() -> None:
    """200,000 of them took a minute and a half, twice as many four times as long."""
    data = b"{%b}" % b",".join(b'"k%d":[],"k%d":1' % (n, n) for n in range(200_000))
    started = time.process_time()
    lenient_json.read_leniently(data)
    assert time.process_time() - started < 15


def test_event_twice_in_lower_case_is_read_twice(tmp_path: Path) -> None:
    path = tmp_path / "event.json"
    one = json.dumps(INNER)
    path.write_text(f'{{"event":{one},"event":{one}}}')
    assert [a.value for a in read_path(path)] == READ * 2


def test_tags_in_lower_case_are_read(tmp_path: Path) -> None:
    """What excludes by tag would depend on the spelling of another member."""
    path = tmp_path / "event.json"
    tagged = {**ONE, "tag": [{"name": "tlp:red"}]}
    path.write_text(json.dumps({"Event": {**INNER, "Attribute": [tagged]}}))
    assert [a.tags for a in read_path(path)] == [("tlp:red",)]


def test_misplaced_attributes_of_a_large_file_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lenient_json, "MOST_BYTES", 100)
    path = tmp_path / "event.json"
    path.write_text(json.dumps(PLACES["unknown member"][0]))
    assert [a.value or a.refused for a in read_path(path)] == READ + LOST


DAMAGED = {
    "byte of Latin-1 in a comment": (b'"value":"x.example","comment":"\xe9"', "x.example"),
    "byte of Latin-1 in a value": (b'"value":"\xe9.example"', ""),
    "surrogate in a value": (b'"value":"\\ud800.example"', ""),
    "control character": (b'"value":"x.example","comment":"a\tb\x01"', "x.example"),
    "number of 5,000 digits": (b'"value":"x.example","timestamp":' + b"1" * 5000, "x.example"),
    "value of 5,000 digits": (b'"value":' + b"1" * 5000, "1" * 5000),
    "deep member": (b'"value":"x.example","x":' + b"[" * 3000 + b"]" * 3000, "x.example"),
    "deep map": (b'"value":"x.example","x":' + b'{"x":' * 3000 + b"1" + b"}" * 3000, "x.example"),
    "deep value": (b'"value":' + b"[" * 3000 + b"]" * 3000, ""),
    "brackets in a text": (
        b'"value":"x.example","y":"\\"[[","x":' + b"[" * 3000 + b"]" * 3000, "x.example"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_attribute_costs_no_other(tmp_path: Path, name: str) -> None:
    """One byte cost a whole file."""
    odd, value = DAMAGED[name]
    good = b'{"type":"domain","value":"a.example"}'
    path = tmp_path / "event.json"
    path.write_bytes(
        b'{"Event":{"uuid":"e","info":"i","Attribute":[{"type":"domain",%b},%b]}}' % (odd, good)
    )
    assert [a.value for a in read_path(path)] == [value, "a.example"]


def test_text_without_an_end_behind_deep_lists_is_looked_at_once(tmp_path: Path) -> None:
    path = tmp_path / "event.json"
    path.write_text('{"Event":' + "[" * 3000 + '"' + '\\"' * 1_000_000)
    started = time.process_time()
    with pytest.raises(Unreadable, match=r"event\.json"):
        list(read_path(path))
    assert time.process_time() - started < 15
