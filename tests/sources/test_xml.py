"""XML is named as what it is, whatever lists would make of its lines."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from inkgate.config.errors import Unreadable
from inkgate.rules.sources.readers.registry import read_path

DECLARED = '<?xml version="1.0"?>\n'
STIX_1 = (
    '<stix:STIX_Package xmlns:stix="http://stix.mitre.org/stix-1">\n<URIObj:Value>\n'
    "http://a.example/x\n</URIObj:Value>\n</stix:STIX_Package>\n"
)
ENCODINGS: dict[str, Callable[[str], bytes]] = {
    "utf-8": str.encode,
    "utf-8-sig": lambda text: text.encode("utf-8-sig"),
    "utf-16": lambda text: text.encode("utf-16"),
    "gzip": lambda text: gzip.compress(text.encode()),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("start", ["", DECLARED, "<!-- of somebody -->\n", f"\n{DECLARED}"])
def test_stix_1_is_named(tmp_path: Path, start: str, encoding: str) -> None:
    path = tmp_path / "feed.txt"
    path.write_bytes(ENCODINGS[encoding](start + STIX_1))
    with pytest.raises(Unreadable, match=r"feed\.txt: is STIX 1 \(XML\); give STIX 2\.1"):
        list(read_path(path))


def test_other_xml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "feed.xml"
    path.write_text(f"{DECLARED}<rss><link>\nhttp://a.example/\n</link></rss>\n")
    with pytest.raises(Unreadable, match=r"feed\.xml: is XML"):
        list(read_path(path))
