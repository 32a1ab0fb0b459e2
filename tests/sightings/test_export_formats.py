"""What is exported is of the published schemas: ECS, OCSF, STIX 2.1; and CEF is escaped."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import stix2
import stix2validator

from inkgate.sightings.export import cef, ecs, ocsf, stix
from inkgate.sightings.export.format import Entry, FalsePositive, Producer
from inkgate.sightings.export.registry import FORMATS
from inkgate.sightings.export_settings import ExportSettings
from inkgate.sightings.journal.sighting import Sighting
from support import ecs_schema, ocsf_schema
from support.exporting import ATTRIBUTE, MORNING, OTHER, match

ROOT = Path(__file__).resolve().parents[2]
PRODUCER = Producer("00" * 16, "1.2.3")
TELLER = stix.Teller("00" * 16, "")
HOSTILE = 'a|b=c\\d\n\r\t"\x1b[2J\x9b\u2028é'
CLIENTS = (
    "192.0.2.7", "2001:db8::7", "192.0.2.0/24", "2001:db8::/48", "h:0123456789abcdef", "", "-",
    HOSTILE,
)  # fmt: skip
METHODS = ("GET", "CONNECT", "PROPFIND", "get", "", HOSTILE)
RULES: tuple[dict[str, Any], ...] = (
    {"attributes": (ATTRIBUTE,), "events": ("12",)},
    {"attributes": (ATTRIBUTE, OTHER), "events": ("12", "")},
    {"attributes": (ATTRIBUTE, ATTRIBUTE), "events": ()},
    {"attributes": (), "events": ()},
)
SIGHTINGS = [
    *(match(ATTRIBUTE, client=c, method=m) for c, m in product(CLIENTS, METHODS)),
    *(match(action=a, **rule) for a, rule in product(("block", "log"), RULES)),
    *(match(ATTRIBUTE, indicator_class=c) for c in ("ip-dst", "url", "sha256", "user-agent")),
    match(ATTRIBUTE, node=HOSTILE, indicator_class="domain|ip", moment=0.0),
]


def lines_of(name: str, sighting: Sighting, **settings: Any) -> list[str]:
    """The lines of a format about the first match of a request."""
    found = next(f for f in FORMATS if f.name == name)
    export = ExportSettings(format=name, file="x", **settings)
    of_match: Any = found
    return [line.decode() for line in of_match.lines(PRODUCER, export, Entry(sighting, True))]


@pytest.mark.parametrize("sighting", SIGHTINGS)
def test_ecs_document_is_of_the_schema(sighting: Sighting) -> None:
    (line,) = lines_of("ecs", sighting)
    assert line.isprintable()
    document = json.loads(line)
    assert ecs_schema.faults(document) == []
    assert document["event"]["kind"] == "alert"
    assert document["event"]["action"] == sighting.action
    assert document["labels"]["incident"] == document["http"]["request"]["id"] == sighting.incident
    assert document["observer"]["name"] == sighting.node
    assert document["threat"]["indicator"].get("id", []) == list(sighting.attributes)
    is_address = re.fullmatch(r"[0-9.]+|[0-9a-f:]+7", sighting.client) is not None
    assert ("ip" in document.get("source", {})) is is_address
    known = sighting.client not in ("", "-")
    assert document.get("source", {}).get("address") == (sighting.client if known else None)


@pytest.mark.parametrize("sighting", SIGHTINGS)
def test_ocsf_events_are_of_the_schema(sighting: Sighting) -> None:
    events = [json.loads(line) for line in lines_of("ocsf", sighting)]
    for event in events:
        assert ocsf_schema.faults(event) == []
        assert event["metadata"]["correlation_uid"] == sighting.incident
        assert event["disposition_id"] == (2 if sighting.action == "block" else 17)
    found, *activities = events
    assert (found["class_uid"], found["type_uid"]) == (2004, 200401)
    # Without a client or a method there is no HTTP Activity to tell of.
    known = sighting.client not in ("", "-") and sighting.method != ""
    assert [event["class_uid"] for event in activities] == [4002] * known
    if activities:
        (related,) = found["finding_info"]["related_events"]
        assert related["uid"] == activities[0]["metadata"]["uid"]
        assert activities[0]["type_uid"] == 400200 + activities[0]["activity_id"]


@pytest.mark.parametrize("sighting", SIGHTINGS)
def test_ocsf_false_positive_closes_its_finding(sighting: Sighting) -> None:
    (created, *_) = [json.loads(line) for line in lines_of("ocsf", sighting)]
    closed = ocsf.closed(PRODUCER, FalsePositive(MORNING + 60, sighting))
    closed = json.loads(json.dumps(closed))
    assert ocsf_schema.faults(closed) == []
    assert closed["finding_info"]["uid"] == created["finding_info"]["uid"]
    assert closed["metadata"]["uid"] != created["metadata"]["uid"]
    assert (closed["activity_id"], closed["status_id"], closed["verdict_id"]) == (3, 3, 1)


def test_ocsf_classes_are_those_of_the_settings() -> None:
    for classes in ((2004,), (4002,), (2004, 4002)):
        events = [json.loads(line) for line in lines_of("ocsf", SIGHTINGS[0], classes=classes)]
        assert tuple(event["class_uid"] for event in events) == classes


def test_ocsf_request_that_matched_twice_is_one_activity() -> None:
    first = match(ATTRIBUTE)
    second = match(OTHER, incident=first.incident)
    export = ExportSettings(format="ocsf", file="x")
    entries = [Entry(first, True), Entry(second, False)]
    events = [json.loads(line) for e in entries for line in ocsf.FORMAT.lines(PRODUCER, export, e)]
    assert [event["class_uid"] for event in events] == [2004, 4002, 2004]
    assert len({event["metadata"]["uid"] for event in events}) == 3


WRONG: dict[str, Callable[[dict[str, Any]], object]] = {
    "missing": lambda e: e.pop("severity_id"),
    "missing below": lambda e: e["metadata"].pop("product"),
    "unknown": lambda e: e.update(url="https://listed.example/"),
    "unknown below": lambda e: e["finding_info"].update(indicator="listed.example"),
    "value": lambda e: e.update(status_id=42),
    "activity": lambda e: e.update(activity_id=4),
    "type": lambda e: e.update(time="now"),
    "number": lambda e: e.update(type_uid=200402),
    "caption": lambda e: e.update(severity="High"),
    "profile": lambda e: e["metadata"].update(profiles=[]),
    "address": lambda e: e["evidences"][0]["src_endpoint"].update(ip="192.0.2.0/24"),
    "nothing": lambda e: e["evidences"][0].pop("src_endpoint"),
    "version": lambda e: e["metadata"].update(version="1.0.0"),
    "empty list": lambda e: e.update(evidences=[]),
}


@pytest.mark.parametrize("fault", WRONG)
def test_fault_in_an_ocsf_event_is_seen(fault: str) -> None:
    event = json.loads(lines_of("ocsf", match(ATTRIBUTE))[0])
    WRONG[fault](event)
    assert ocsf_schema.faults(event) != []


WRONG_ECS: dict[str, Callable[[dict[str, Any]], object]] = {
    "unknown": lambda d: d.update(inkgate={"incident": "IG-1"}),
    "no list": lambda d: d["event"].update(category="network"),
    "a list": lambda d: d["event"].update(action=["block"]),
    "not allowed": lambda d: d["event"].update(kind="alarm"),
    "not expected": lambda d: d["event"].update(type=["deletion"]),
    "indicator": lambda d: d["threat"]["indicator"].update(type="domain"),
    "address": lambda d: d["source"].update(ip="192.0.2.0/24"),
    "time": lambda d: d.update({"@timestamp": 1}),
    "version": lambda d: d["ecs"].update(version="1.0.0"),
}


@pytest.mark.parametrize("fault", WRONG_ECS)
def test_fault_in_an_ecs_document_is_seen(fault: str) -> None:
    document = json.loads(lines_of("ecs", match(ATTRIBUTE))[0])
    WRONG_ECS[fault](document)
    assert ecs_schema.faults(document) != []


def parsed_cef(line: str) -> tuple[list[str], dict[str, str]]:
    """A line of CEF as its consumers read it."""
    header: list[str] = []
    rest = line.removeprefix("CEF:")
    for _ in range(7):
        field = re.match(r"((?:[^\\|]|\\.)*)\|", rest)
        assert field, line
        header.append(re.sub(r"\\(.)", r"\1", field[1]))
        rest = rest[field.end() :]
    pairs = re.findall(r"(\w+)=((?:[^\\=]|\\.)*?)(?= \w+=|$)", rest)
    assert " ".join(f"{key}={value}" for key, value in pairs) == rest
    return header, {key: re.sub(r"\\(.)", r"\1", value) for key, value in pairs}


@pytest.mark.parametrize("sighting", SIGHTINGS)
def test_cef_line_is_read_as_it_was_meant(sighting: Sighting) -> None:
    (line,) = lines_of("cef", sighting)
    assert line.isprintable()
    header, extension = parsed_cef(line)
    assert header[:4] == ["0", "inkgate", "inkgate", "1.2.3"]
    assert header[4] == extension["cat"] == sighting.indicator_class
    assert 0 <= int(header[6]) <= 10
    assert extension["cs1"] == sighting.incident
    assert extension["rt"] == str(int(sighting.time * 1000))
    assert extension["act"] == sighting.action
    assert len(extension["externalId"]) <= 40
    labels = {key for key in extension if key.endswith("Label")}
    assert {f"{key}Label" for key in extension if re.fullmatch(r"c(s|6a)\d", key)} == labels
    assert extension.get("src", "192.0.2.7") == "192.0.2.7"


def test_cef_escapes_what_would_begin_another_field() -> None:
    _, extension = parsed_cef(
        lines_of("cef", match(ATTRIBUTE, node="n act=log \\", method="A|B=C"))[0]
    )
    assert extension["dvchost"] == "n act=log \\"
    assert extension["requestMethod"] == "A|B=C"
    assert extension["act"] == "block"
    header, _ = parsed_cef(lines_of("cef", match(ATTRIBUTE, indicator_class="domain|ip\\"))[0])
    assert header[4] == "domain|ip\\"
    assert header[6] == "7"


def seen(**more: Any) -> stix.Seen:
    values: dict[str, Any] = {
        "uuid": OTHER, "attribute": ATTRIBUTE, "node": "proxy1", "first": MORNING,
        "last": MORNING + 7.25, "count": 3, "created": int(MORNING * 1000),
        "modified": int(MORNING * 1000) + 5,
    }  # fmt: skip
    return stix.Seen(**(values | more))


def stix_objects() -> Iterator[dict[str, Any]]:
    for organisation in ("", "Example & Söhne"):
        teller = stix.Teller("ab" * 16, organisation)
        yield from stix.identities(teller, ["proxy1", "proxy2", HOSTILE])
        yield stix.sighting(teller, seen())
        yield stix.sighting(teller, seen(node=HOSTILE, count=10**12))
        yield stix.sighting(teller, seen(last=MORNING, count=1, modified=int(MORNING * 1000)))
        yield from stix.opinions(teller, FalsePositive(MORNING, match(ATTRIBUTE, OTHER)))


def stix_faults(bundle: dict[str, Any]) -> list[str]:
    """What the published JSON schemas and the specification's MUSTs have against a bundle."""
    options = stix2validator.ValidationOptions(version="2.1", strict_types=True)
    found = stix2validator.validate_instance(json.loads(json.dumps(bundle)), options)
    return [str(error) for error in found.errors]


def test_stix_objects_are_of_the_schema() -> None:
    bundle = json.loads(json.dumps(stix.bundle(stix_objects())))
    assert stix_faults(bundle) == []
    for one in bundle["objects"]:
        # OASIS's own library refuses what the specification does not have.
        assert stix2.parse(one, allow_custom=False, version="2.1")["id"] == one["id"]


def test_stix_sighting_refers_to_the_indicator_of_its_attribute() -> None:
    told = stix.sighting(TELLER, seen())
    (node,) = stix.identities(TELLER, ["proxy1"])
    assert told["sighting_of_ref"] == f"indicator--{ATTRIBUTE}"
    assert told["where_sighted_refs"] == [node["id"]]
    assert (told["count"], told["summary"]) == (3, False)
    assert str(told["first_seen"]) < str(told["last_seen"])


@pytest.mark.parametrize(
    "change",
    [
        {"count": -1}, {"count": 10**9}, {"sighting_of_ref": f"sighting--{ATTRIBUTE}"},
        {"first_seen": "yesterday"}, {"where_sighted_refs": [f"indicator--{ATTRIBUTE}"]},
        {"summary": "no"}, {"id": "sighting--1"},
    ],
    ids=str,
)  # fmt: skip
def test_fault_in_a_stix_sighting_is_seen(change: dict[str, Any]) -> None:
    told = copy.deepcopy(stix.sighting(TELLER, seen()))
    assert stix_faults(stix.bundle([told])) == []
    assert stix_faults(stix.bundle([told | change])) != []


def test_ids_are_of_one_installation_and_of_what_they_are_about() -> None:
    base = match(ATTRIBUTE)
    others = [
        match(ATTRIBUTE),
        match(OTHER, incident=base.incident),
        match(ATTRIBUTE, incident=base.incident, node="proxy2"),
        match(ATTRIBUTE, incident=base.incident, indicator_class="hostname"),
    ]
    ids = [ecs.document(PRODUCER, s)["event"]["id"] for s in (base, *others)]  # type: ignore[index]
    ids.append(ecs.document(Producer("01" * 16, ""), base)["event"]["id"])  # type: ignore[index]
    assert len(set(ids)) == len(ids)
    assert ecs.document(PRODUCER, copy.copy(base))["event"]["id"] == ids[0]  # type: ignore[index]


def test_every_format_is_on_the_pages() -> None:
    for page in ("settings.md", "sightings.md"):
        text = (ROOT / "docs" / page).read_text()
        for known in FORMATS:
            assert f'"{known.name}"' in text, (page, known.name)


def test_cef_begins_as_the_file_expects() -> None:
    assert cef.line(PRODUCER, match()).startswith(cef.FORMAT.begins.decode())
