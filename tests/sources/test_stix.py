"""STIX 2.1 bundles, among them some that misp-stix itself wrote from MISP events."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from misp_stix_converter import MISPtoSTIX21Parser

from inkgate.config.errors import Unreadable
from inkgate.rules.sources.readers.source_file import SourceFile
from inkgate.rules.sources.readers.stix import is_stix_file, read_stix_file
from support.installation import Installation, attribute

STAMP = "2026-01-01T00:00:00.000Z"


def indicator(pattern: str, number: int) -> dict[str, object]:
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
    }


def bundle(*objects: dict[str, object]) -> str:
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
        '{"type": "bundle", "id": "bundle--1", "objects": [{"type": "indicator"}]}',
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
