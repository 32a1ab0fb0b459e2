"""STIX 2.0 and 2.1 bundles, among them some that misp-stix itself wrote from MISP events."""

from __future__ import annotations

import gzip
import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from misp_stix_converter import MISPtoSTIX20Parser, MISPtoSTIX21Parser

from inkgate.config.errors import Unreadable
from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.readers import stix_misp
from inkgate.rules.sources.readers.registry import has_known_name, read_path
from inkgate.rules.sources.readers.source_file import SourceFile
from inkgate.rules.sources.readers.stix import is_stix_file, read_stix_file
from inkgate.rules.sources.readers.stix_objects import (
    BENIGN,
    BUNDLE,
    CONTEXT,
    EXPIRED,
    NO_OBJECT,
    NOT_CONVERTED,
    NOT_YET,
    OBSERVED,
    OLDER,
    OTHER_LANGUAGE,
    REVOKED,
    STRANGE_LANGUAGE,
    STRANGE_TYPE,
    TOO_DEEP,
)
from inkgate.rules.sources.readers.stix_pattern import (
    NO_PATTERN,
    NOTHING,
    OTHER_OPERATOR,
    SEVERAL_TIMES,
    TOO_LONG,
    read_pattern,
)
from inkgate.rules.sources.readers.stix_properties import NO_NETWORK, NO_TYPE, SEVERAL
from support.installation import Installation, attribute

STAMP = "2026-01-01T00:00:00.000Z"


def indicator(pattern: str, number: int, **more: object) -> dict[str, object]:
    return {
        "type": "indicator",
        "spec_version": "2.1",
        "id": f"indicator--00000000-0000-4000-8000-{number:012d}",
        "created": STAMP,
        "modified": STAMP,
        "name": "made up",
        "pattern": pattern,
        "pattern_type": "stix",
        "valid_from": STAMP,
        "indicator_types": ["malicious-activity"],
        **more,
    }


def bundle(*objects: object) -> str:
    return json.dumps(
        {
            "type": "bundle",
            "id": "bundle--00000000-0000-4000-8000-00000000ffff",
            "objects": list(objects),
        }
    )


PATTERNS = {
    "[domain-name:value = 'bad.example']": ("domain", "bad.example"),
    "[ipv4-addr:value = '192.0.2.7']": ("ip-dst", "192.0.2.7"),
    "[url:value = 'http://files.example/x']": ("url", "http://files.example/x"),
    "[file:hashes.'SHA-256' = '" + "ab" * 32 + "']": ("sha256", "ab" * 32),
}


def test_patterns_of_another_tool(tmp_path: Path) -> None:
    path = tmp_path / "bundle.json"
    path.write_text(bundle(*(indicator(p, n) for n, p in enumerate(PATTERNS))))
    assert is_stix_file(SourceFile(path))
    found = {(a.type, a.value) for a in read_stix_file(SourceFile(path)) if a.to_ids}
    assert set(PATTERNS.values()) <= found


def read(folder: Path, *objects: object, name: str = "bundle.json") -> list[Attribute]:
    path = folder / name
    path.write_text(bundle(*objects))
    return list(read_path(path))


def fates(attributes: list[Attribute]) -> Counter[str]:
    """How many there are of each reason; those that list something by their type."""
    return Counter(a.skipped or a.refused or a.type for a in attributes)


SHA256, MD5 = "ab" * 32, "cd" * 16
READINGS: dict[str, list[tuple[str, str]]] = {
    "[url:value='http://a.example/'] OR [domain-name:value='b.example']": [
        ("url", "http://a.example/"), ("domain", "b.example")],
    "([url:value='http://a.example/'] OR [domain-name:value='b.example'])": [
        ("url", "http://a.example/"), ("domain", "b.example")],
    "[domain-name:value IN ('a.example', 'b.example')]": [
        ("domain", "a.example"), ("domain", "b.example")],
    "[domain-name:value='a.example' OR ipv6-addr:value='2001:db8::1']": [
        ("domain", "a.example"), ("ip-dst", "2001:db8::1")],
    f"[file:hashes.MD5='{MD5}' AND file:hashes.'SHA-256'='{SHA256}' AND file:size=7]": [
        ("md5", MD5), ("sha256", SHA256)],
    f"[file:name='it\\'s.exe' AND file:hashes.'SHA-256'='{SHA256}']": [
        ("filename|sha256", f"it's.exe|{SHA256}")],
    "[domain-name:value='a.example' AND domain-name:resolves_to_refs[*].value='192.0.2.1']": [
        ("domain|ip", "a.example|192.0.2.1")],
    "[domain-name:value='a.example' AND (ipv4-addr:value='192.0.2.1' "
    "OR ipv4-addr:value='192.0.2.2')]": [
        ("domain|ip", "a.example|192.0.2.1"), ("domain|ip", "a.example|192.0.2.2")],
    "[network-traffic:dst_ref.type='ipv4-addr' AND network-traffic:dst_ref.value='192.0.2.1' "
    "AND network-traffic:dst_port=8080 AND network-traffic:protocols[*]='tcp']": [
        ("ip-dst|port", "192.0.2.1|8080")],
    "[domain-name:value='a.example' AND network-traffic:dst_port=8080]": [
        ("hostname|port", "a.example|8080")],
    "[ipv4-addr:value ISSUBSET '198.51.100.0/24']": [("ip-dst", "198.51.100.0/24")],
    "[network-traffic:src_ref.value='192.0.2.1']": [("ip-src", "192.0.2.1")],
    "[network-traffic:extensions.'http-request-ext'.request_header.'User-Agent'='x/1']": [
        ("user-agent", "x/1")],
    f"[x509-certificate:hashes.'SHA-256'='{SHA256}']": [
        ("x509-fingerprint-sha256", SHA256)],
}  # fmt: skip
REFUSED = {
    "[url:value IN ()]": NOTHING,
    "[url:value IN () AND url:value='a'] OR [url:value IN ()]": NOTHING,
    "[url:value='a'] AND [url:value='b']": SEVERAL_TIMES,
    "[url:value='a'] FOLLOWEDBY [url:value='b']": SEVERAL_TIMES,
    "[url:value='a'] REPEATS 5 TIMES": SEVERAL_TIMES,
    "[url:value='a'] START t'2026-01-01T00:00:00Z' STOP t'2026-01-02T00:00:00Z'": SEVERAL_TIMES,
    "[url:value LIKE 'a%']": OTHER_OPERATOR,
    "[url:value MATCHES 'a+']": OTHER_OPERATOR,
    "[url:value != 'a']": OTHER_OPERATOR,
    "[url:value NOT = 'a']": OTHER_OPERATOR,
    "[EXISTS url:value]": OTHER_OPERATOR,
    "[url:value = h'61']": OTHER_OPERATOR,
    "[url:value='a' AND domain-name:value='b']": SEVERAL,
    f"[file:hashes.MD5='{MD5}' AND file:hashes.MD5='{SHA256}']": SEVERAL,
    f"[file:hashes.MD5='{MD5}' AND file:parent_directory_ref.path='x']": SEVERAL,
    "[domain-name:value='a' AND network-traffic:src_port=1]": SEVERAL,
    "[url:value ISSUBSET '192.0.2.0/24']": NO_NETWORK,
    "[x-other:thing='a']": NO_TYPE,
    "[file:size=7]": NO_TYPE,
    "url:value='a'": NO_PATTERN,
    "[url:value='a'] and more": NO_PATTERN,
    "[" * 3000: NO_PATTERN,
    "(" * 3000 + "[url:value='a']" + ")" * 3000: NO_PATTERN,
    "[url:value='" + "a" * (1 << 18) + "']": TOO_LONG,
    "[(" + " OR ".join(f"url:value='{n}'" for n in range(200)) + ") AND ("
    + " OR ".join(f"url:value='{n}'" for n in range(200, 400)) + ")]": TOO_LONG,
}  # fmt: skip


@pytest.mark.parametrize("pattern", READINGS, ids=range(len(READINGS)))
def test_pattern_is_split_into_what_it_lists(pattern: str) -> None:
    found = read_pattern(pattern)
    assert [(r.type, r.value) for r in found] == READINGS[pattern]


@pytest.mark.parametrize("pattern", REFUSED, ids=range(len(REFUSED)))
def test_pattern_without_a_sound_reading_is_refused(pattern: str) -> None:
    assert [tuple(r) for r in read_pattern(pattern)] == [("", "", REFUSED[pattern])]


FILL = 120_000
HOSTILE = {
    "escapes": "[a:b='" + "\\'" * FILL,
    "quotes": "[a:b=" + "'" * (FILL + 1),
    "strings": "[a:b=" + " 'a' x" * (FILL // 6),
    "comments": "[a:b=" + " /*" * (FILL // 3),
    "moments": "[a:b='x'] START " + "t'2" * (FILL // 3),
    "digits": "[a:b=" + "1" * FILL + "x",
    "brackets": "[" * FILL,
    "parentheses": "[" + "(" * FILL,
    "steps": "[a:b" + ".c" * (FILL // 2) + "='x']",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_pattern_takes_time_in_proportion_to_its_length(name: str) -> None:
    """2 KB of escaped quotes took 4 s, and 300 KB hours."""
    started = time.process_time()
    (found,) = read_pattern(HOSTILE[name])
    assert found.refused in (NO_PATTERN, TOO_LONG)
    assert time.process_time() - started < 15


def test_alternatives_of_a_pattern_stand_or_fall_alone(tmp_path: Path) -> None:
    pattern = "[url:value='http://a.example/'] OR [url:value LIKE '%b%'] OR [url:value='c.example']"
    found = read(tmp_path, indicator(pattern, 1))
    assert fates(found) == {"url": 2, OTHER_OPERATOR: 1}
    assert [a.is_more for a in found] == [False, True, True]
    assert {a.uuid for a in found} == {"00000000-0000-4000-8000-000000000001"}


def test_long_alternatives_do_not_end_at_a_depth(tmp_path: Path) -> None:
    """The parser's tree leans to one side: a walk that calls itself would end at 1,000."""
    for joint in ("'] OR [url:value='", "' OR url:value='"):
        pattern = f"[url:value='{joint.join(f'u{n}.example' for n in range(3000))}']"
        assert fates(read(tmp_path, indicator(pattern, 1))) == {"url": 3000}


FAR, PAST = "2999-01-01T00:00:00Z", "2026-01-01T00:00:00.5Z"
ONE = "[domain-name:value='a.example']"


@pytest.mark.parametrize(
    ("more", "fate"),
    [
        ({"revoked": True}, REVOKED),
        ({"revoked": False}, "domain"),
        ({"valid_until": PAST}, EXPIRED),
        ({"valid_until": FAR}, "domain"),
        ({"valid_until": "soon"}, "domain"),
        ({"valid_until": 7}, "domain"),
        ({"valid_from": FAR}, NOT_YET),
        ({"indicator_types": ["benign"]}, BENIGN),
        ({"indicator_types": [], "labels": ["benign"]}, BENIGN),
        ({"indicator_types": ["benign", "malicious-activity"]}, "domain"),
        ({"pattern_type": "yara", "pattern": "rule x {}"}, OTHER_LANGUAGE),
        ({"pattern_type": None}, "domain"),
        ({"pattern_type": "stix2"}, "domain"),
        ({"pattern_type": " STIX"}, "domain"),
        ({"pattern_type": "of-nobody"}, "domain"),
        ({"pattern_type": "of-nobody", "pattern": "what is this"}, STRANGE_LANGUAGE),
        ({"pattern_type": ["stix"], "pattern": "what is this"}, STRANGE_LANGUAGE),
        ({"pattern_type": "Sigma", "pattern": "title: x"}, OTHER_LANGUAGE),
        ({"pattern": None}, NO_PATTERN),
        ({"pattern": ["x"]}, NO_PATTERN),
        ({"type": "url", "value": "http://a.example/"}, OBSERVED),
        ({"type": "x-misp-attribute"}, NOT_CONVERTED),
        ({"type": "malware", "is_family": True}, CONTEXT),
        ({"type": "Indicator"}, STRANGE_TYPE),
        ({"type": "x-own-indicator"}, STRANGE_TYPE),
        ({"type": ""}, NO_OBJECT),
        ({"type": True}, NO_OBJECT),
        ({"id": 7}, "domain"),
        ({"labels": 7, "object_marking_refs": "x", "confidence": True, "name": []}, "domain"),
    ],
)
def test_fate_of_an_object(tmp_path: Path, more: dict[str, object], fate: str) -> None:
    assert fates(read(tmp_path, indicator(ONE, 1) | more)) == {fate: 1}


def test_every_object_counts_once_whatever_it_is(tmp_path: Path) -> None:
    odd = [7, None, [], "x", {}, {"type": "indicator"}, {"type": ["x"]}, True]
    malware = {"type": "malware", "id": "malware--00000000-0000-4000-8000-0000000000aa",
               "spec_version": "2.1", "created": STAMP, "modified": STAMP, "is_family": True,
               "name": "made up", "malware_types": ["trojan"]}  # fmt: skip
    good = [indicator(f"[domain-name:value='a{n}.example']", n) for n in range(40)]
    found = read(tmp_path, *odd, malware, *good)
    assert fates(found) == {NO_OBJECT: 7, NO_PATTERN: 1, CONTEXT: 1, "domain": 40}
    assert found[0].place == "bundle.json:object 1"
    assert found[-1].place == f"bundle.json:{good[-1]['id']}"


def nested(deep: int, *objects: object) -> dict[str, object]:
    """A bundle in so many others."""
    made: dict[str, object] = {"type": "bundle", "objects": list(objects)}
    for _ in range(deep):
        made = {"type": "bundle", "objects": [made]}
    return made


def test_bundle_in_a_bundle_is_read(tmp_path: Path) -> None:
    """It was skipped as one object that describes something."""
    found = read(tmp_path, indicator(ONE, 1), nested(2, indicator(ONE, 2), {"type": "malware"}))
    assert fates(found) == {"domain": 2, BUNDLE: 3, CONTEXT: 1}
    # A newer version of an object counts wherever it is.
    newer = indicator(ONE, 1, modified="2026-02-01T00:00:00Z", revoked=True)
    assert fates(read(tmp_path, indicator(ONE, 1), nested(0, newer))) == {
        OLDER: 1, REVOKED: 1, BUNDLE: 1}  # fmt: skip


@pytest.mark.parametrize("deep", [8, 400])
def test_bundle_in_too_many_others_is_refused(tmp_path: Path, deep: int) -> None:
    found = read(tmp_path, indicator(ONE, 1), nested(deep, indicator(ONE, 2)))
    assert fates(found)["domain"] == 1
    assert fates(found)[TOO_DEEP] == 1
    odd = read(tmp_path, indicator(ONE, 1), {"type": "bundle", "objects": 7})
    assert fates(odd) == {"domain": 1, BUNDLE: 1, NO_OBJECT: 1}


DAMAGED = {
    "Latin-1": (b'"description":"\xe9"', "domain"),
    "Latin-1 in the pattern": (b'"pattern":"[domain-name:value=\'\xe9.example\']"', NO_PATTERN),
    "control character": (b'"description":"a\tb"', "domain"),
    "5,000 digits": (b'"confidence":' + b"1" * 5000, "domain"),
    "deep member": (b'"x":' + b"[" * 3000 + b"]" * 3000, "domain"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_object_costs_itself_alone(tmp_path: Path, name: str) -> None:
    """One byte of another encoding cost the whole bundle."""
    member, fate = DAMAGED[name]
    one = json.dumps(indicator(ONE, 1)).encode()
    odd = json.dumps(indicator(ONE, 2)).encode()[:-1] + b"," + member + b"}"
    path = tmp_path / "bundle.json"
    path.write_bytes(b'{"type":"bundle","objects":[%b,%b]}' % (odd, one))
    assert fates(list(read_path(path))) == Counter(["domain", fate])


def test_objects_as_a_map_are_read(tmp_path: Path) -> None:
    path = tmp_path / "bundle.json"
    path.write_text(json.dumps({"type": "bundle", "objects": {"0": indicator(ONE, 1)}}))
    assert fates(list(read_path(path))) == {"domain": 1}


TWICE = {
    "twice": ('"objects":[A],"objects":[B]', ["domain", "domain"]),
    "twice in an inner bundle": (
        '"objects":[{"type":"bundle","objects":[A],"objects":[B]}]', ["domain", "domain", BUNDLE]),
    "with an escaped letter": ('"obj\\u0065cts":[A],"objects":[B]', ["domain", "domain"]),
    "in another case": ('"Objects":[A],"objects":[B]', ["domain", "domain"]),
    "in another case alone": ('"OBJECTS":[A,B]', ["domain", "domain"]),
    "empty": ('"objects":[],"objects":[]', []),
    "as a word": ('"x":"objects","objects":[A]', ["domain"]),
    "in a place of its own": ('"objects":[A],"x_more":{"objects":[B]}', ["domain", NO_OBJECT]),
    "in a member that stands twice": (
        '"x":{"objects":[B]},"x":1,"objects":[A]', ["domain", NO_OBJECT]),
}  # fmt: skip


@pytest.mark.parametrize("name", TWICE)
def test_list_of_objects_is_read_or_counted_wherever_it_stands(tmp_path: Path, name: str) -> None:
    """Of two lists the first was left out without a word."""
    members, expected = TWICE[name]
    for number, sign in enumerate("AB"):
        one = json.dumps(indicator(ONE, number))
        members = members.replace(f"[{sign}", f"[{one}").replace(f",{sign}]", f",{one}]")
    path = tmp_path / "bundle.json"
    path.write_text(f'{{"type":"bundle",{members}}}')
    assert fates(list(read_path(path))) == Counter(expected)


def test_id_of_another_type_is_no_version(tmp_path: Path) -> None:
    other = {"type": "identity", "id": indicator(ONE, 1)["id"], "modified": FAR}
    assert fates(read(tmp_path, indicator(ONE, 1), other)) == {"domain": 1, CONTEXT: 1}


def test_place_never_holds_what_an_id_should_not(tmp_path: Path) -> None:
    found = read(tmp_path, indicator("x", 1, id="evil.example"))
    assert (found[0].place, found[0].uuid) == ("bundle.json:object 1", "")


def test_newest_version_of_an_object_counts(tmp_path: Path) -> None:
    newer = {"modified": "2026-02-01T00:00:00Z", "revoked": True}
    found = read(tmp_path, indicator(ONE, 1, **newer), indicator(ONE, 1))
    assert fates(found) == {REVOKED: 1, OLDER: 1}


def test_context_is_told(tmp_path: Path) -> None:
    own = "marking-definition--00000000-0000-4000-8000-0000000000bb"
    who = "identity--00000000-0000-4000-8000-0000000000cc"
    refs = [own, "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82"]
    listed = indicator(ONE, 1, object_marking_refs=refs, created_by_ref=who, confidence=80)
    found = read(
        tmp_path,
        listed,
        {"type": "marking-definition", "id": own, "definition": {"tlp": "red"}},
        {"type": "marking-definition", "id": refs[1], "definition": {"tlp": "white"}},
        {"type": "identity", "id": who, "name": "Somebody"},
        {"type": "report", "id": "report--00000000-0000-4000-8000-0000000000dd",
         "name": "A report", "object_refs": [listed["id"]]},
    )[0]  # fmt: skip
    assert found.tags == ("tlp:red", "tlp:amber", 'misp:confidence-level="usually-confident"')
    assert (found.org, found.event_info, found.date) == ("Somebody", "A report", "2026-01-01")
    assert (found.comment, found.timestamp) == ("made up", "1767225600")
    assert found.event_uuid == "00000000-0000-4000-8000-0000000000dd"


@pytest.mark.parametrize("name", ["b.stix", "B.STIX2", "b.json.gz", "b.stix.gz"])
def test_suffixes_and_compression(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    data = bundle(indicator(ONE, 1)).encode()
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert has_known_name(path)
    assert fates(list(read_path(path))) == {"domain": 1}


def test_stix_2_0(tmp_path: Path) -> None:
    old = {"type": "indicator", "id": "indicator--00000000-0000-4000-8000-000000000001",
           "created": STAMP, "modified": STAMP, "labels": ["malicious-activity"],
           "pattern": ONE, "valid_from": STAMP}  # fmt: skip
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"type": "bundle", "spec_version": "2.0", "objects": [old]}))
    (found,) = read_path(path)
    assert (found.type, found.tags) == ("domain", ("malicious-activity",))


ATTRIBUTES = [
    ("domain", "bad.example"), ("ip-dst", "192.0.2.7"), ("url", "http://files.example/x"),
    ("domain|ip", "pair.example|192.0.2.9"), ("filename|sha256", f"x.exe|{SHA256}"),
    ("user-agent", "odd/1.0"), ("ja3-fingerprint-md5", MD5),
]  # fmt: skip


def exported(parser: Any, **more: object) -> dict[str, Any]:
    """A bundle as MISP exports it, with an attribute of each type and one only observed."""
    listed = [attribute(kind, value) | {"timestamp": "1767225600"} for kind, value in ATTRIBUTES]
    seen = attribute("ip-dst", "192.0.2.77") | {"timestamp": "1767225600", "to_ids": False}
    parser.parse_misp_event({"Event": {
        "uuid": "00000000-0000-4000-8000-00000000eeee", "info": "made up", "date": "2026-01-01",
        "timestamp": "1767225600", "Attribute": [*listed, seen], **more}})  # fmt: skip
    made: dict[str, Any] = json.loads(parser.bundle.serialize())
    return made


def sealable(attributes: Iterator[Attribute]) -> set[tuple[str, str]]:
    return {(a.type, a.value) for a in attributes if a.to_ids and not a.skipped and not a.refused}


@pytest.mark.slow
@pytest.mark.parametrize("parser", [MISPtoSTIX20Parser, MISPtoSTIX21Parser])
def test_bundle_of_misp_gives_every_attribute_back(tmp_path: Path, parser: Any) -> None:
    made = exported(parser())
    path = tmp_path / "misp.json"
    # What misp-stix refuses a whole bundle for, or turns into a flag.
    made["objects"] += [
        {"type": "malware", "id": "malware--00000000-0000-4000-8000-0000000000aa",
         "spec_version": "2.1", "created": STAMP, "modified": STAMP, "is_family": True,
         "name": "made up", "labels": ["trojan"], "malware_types": ["trojan"]},
        indicator("[url:value='http://o.example/'] OR [domain-name:value='p.example']", 1),
        indicator("[url:value LIKE '%x']", 2), indicator(ONE, 3, revoked=True)]  # fmt: skip
    path.write_text(json.dumps(made))
    found = list(read_path(path))
    more = {("url", "http://o.example/"), ("domain", "p.example")}
    assert sealable(iter(found)) == {*ATTRIBUTES, *more}
    assert fates(found)[OTHER_OPERATOR] == fates(found)[REVOKED] == 1
    assert "stix2-pattern" not in fates(found)


@pytest.mark.slow
def test_bundle_of_misp_that_misp_stix_gives_up_is_read_without_it(tmp_path: Path) -> None:
    made = exported(MISPtoSTIX21Parser())
    made["objects"].append({"type": "malware"})
    path = tmp_path / "misp.json"
    path.write_text(json.dumps(made))
    found = list(read_path(path))
    assert fates(found)[stix_misp.FAILED] == 1
    assert sealable(iter(found)) >= set(ATTRIBUTES[:5]) - {ATTRIBUTES[3]}


@pytest.mark.slow
def test_what_is_no_pattern_is_not_given_to_misp_stix(tmp_path: Path) -> None:
    """It looks for all errors in one, in the square of its length."""
    made = exported(MISPtoSTIX21Parser())
    made["objects"].append(indicator(HOSTILE["escapes"], 1))
    path = tmp_path / "misp.json"
    path.write_text(json.dumps(made))
    started = time.process_time()
    found = list(read_path(path))
    assert time.process_time() - started < 60
    assert fates(found)[NO_PATTERN] == 1
    assert sealable(iter(found)) == set(ATTRIBUTES)


@pytest.mark.slow
def test_errors_of_misp_stix_are_counted_without_their_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = exported(MISPtoSTIX21Parser())
    listed = next(o["id"] for o in made["objects"] if o["type"] == "indicator")
    other = "note--00000000-0000-4000-8000-0000000000aa"
    errors = {"bundle": [f"{listed} says evil.example", f"{other} says evil.example", "and evil"]}
    monkeypatch.setattr("misp_stix_converter.InternalSTIX2toMISPParser.errors", errors)
    path = tmp_path / "misp.json"
    path.write_text(json.dumps(made))
    said = [a for a in read_path(path) if a.refused == stix_misp.SAID]
    assert [a.place for a in said] == [f"misp.json:{other}", "misp.json"]
    assert not any("evil" in str(a) for a in said)


@pytest.mark.slow
def test_refresh_counts_what_a_bundle_holds(installation: Installation) -> None:
    objects = [
        indicator("[url:value='http://o.example/'] OR [domain-name:value='p.example']", 1),
        indicator("[url:value LIKE '%x']", 2),
        *(indicator(f"[domain-name:value='a{n}.example']", n) for n in range(3, 9)),
        indicator(ONE, 10, revoked=True),
        indicator(ONE, 11, valid_until=PAST),
    ]
    (installation.events / "bundle.stix").write_text(bundle(*objects))
    done = installation.run("inkgate-rules", "refresh", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["read"], found["sealed"], found["more_of_one_line"]) == (11, 8, 1)
    assert found["refused_by_reason"] == {OTHER_OPERATOR: 1}
    assert found["skipped"] == {REVOKED: 1, EXPIRED: 1}
    assert not re.search("example", done.stdout)
    _, row = (installation.places.publisher / "last-refresh.tsv").read_text().splitlines()
    assert re.fullmatch(r".*/bundle\.stix:indicator--[0-9a-f-]{35}2", row.split("\t")[1])
    for value in ("domain=p.example", "url=http://o.example/"):
        assert "00000000-0000-4000-8000-000000000001" in (
            installation.run("inkgate-rules", "match", value).stdout
        )


@pytest.mark.slow
def test_bundle_that_misp_exports_keeps_its_uuids(installation: Installation) -> None:
    listed = attribute("domain", "bad.example")
    event = {
        "uuid": "00000000-0000-4000-8000-00000000eeee",
        "info": "made up",
        "date": "2026-01-01",
        "timestamp": "1767225600",
        "Attribute": [listed | {"timestamp": "1767225600"}],
    }
    parser = MISPtoSTIX21Parser()
    parser.parse_misp_event({"Event": event})
    (installation.events / "bundle.json").write_text(parser.bundle.serialize())
    done = installation.run("inkgate-rules", "refresh")
    assert done.returncode == 0, done.stderr
    found = installation.run("inkgate-rules", "match", "domain=bad.example").stdout
    assert str(listed["uuid"]) in found


@pytest.mark.parametrize(
    "text",
    [
        bundle(indicator("[domain-name:value = 'bad.example']", 1))[:-30],
        '{"type": "bundle", "objects": 7}',
    ],
)
def test_damaged_bundle_is_one_clear_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bundle.json"
    path.write_text(text)
    assert is_stix_file(SourceFile(path))
    with pytest.raises(Unreadable, match=r"bundle\.json"):
        list(read_stix_file(SourceFile(path)))


def test_event_is_not_taken_for_a_bundle(tmp_path: Path) -> None:
    path = tmp_path / "event.json"
    path.write_text(json.dumps({"Event": {"info": 'a "bundle" of things', "Attribute": []}}))
    assert not is_stix_file(SourceFile(path))
