"""URLs that no request shows are refused as indicators, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inkgate.rules.canonical import Refused, canonical_attribute, observed_url
from support.installation import Installation

UNSHOWN = [
    "http://e.example/*",
    "http://*.e.example/x",
    "http://e.example:*/x",
    "e.example/*/gate.php",
    "http://e.example/x?id=*",
    "http://e.example/%2A",
    "file:///C:/x",
    "file:/etc/passwd",
    "file:c:\\x",
    "C:\\Windows\\x.exe",
    "\\\\server\\share\\x.exe",
    "smb://192.0.2.1/share",
    "tcp://192.0.2.1:4444",
    "ldap://e.example/x",
    "android-app://com.example/x",
    "chrome-extension://abcdef/x",
    "http://http://e.example/x",
    "http/e.example/x",
    "http://a.example/x http://b.example/y",
    "http://a.example/x\nhttp://b.example/y",
    "http://a.example/x,http://b.example/y",
    "http://a.example/x|hxxp://b.example/y",
    "http://a.example/x|b.example/y",
    "http://a.example/x malware",
    "http://a.example/x\tmalware",
    "http://a.example/New Folder",
    "http://a.example/x?y=1\tz",
    "http://a.example/x\u00a0(seen)",
    "N/A",
    "n/a",
    "none",
    "None",
    "-",
    "--",
    "unknown",
    "http://none/",
    "http://-/",
    "http://host/path",
    "http://x.x.x.x/gate.php",
    "http://e.example/very/long...",
    "http://e.example/very/long\u2026",
    "http://e.example/very/[...]/x",
    "http://e.example/x?id=1[...]",
    "http://e.example/x?id=...",
    "http://evil.exa...",
    "http://e.example/<id>/x",
    "http://e.example/x?id=<victim>",
    "http://e.example/{victim_id}/x",
    "http://e.example/[a-z0-9]{8}/x.php",
    "http://e.example/\\d+/x",
    "http://e.example/(gate|panel).php",
    "http://e.example/.+/x",
    "http://e.example/x\\.php",
    "e.example/x$",
]
SHOWN = [
    ("hxxp://evil\\.example/x", "evil.example/x"),
    ("hxxp://www\\.evil\\.example/x\\.php?a=b\\.c", "evil.example/x.php?a=b.c"),
    ("evil\\.example", "evil.example/"),
    ("http:\\/\\/e.example\\/x", "e.example/x"),
    ("http:\\\\e.example\\.hidden\\x", "e.example/.hidden/x"),
    ("http:\\\\e.example\\a\\b", "e.example/a/b"),
    ("http://e.example/New Folder/x.exe", "e.example/New%20Folder/x.exe"),
    ("http://e.example/My file.exe", "e.example/My%20file.exe"),
    ("http://e.example/x?q=a b", "e.example/x?q=a%20b"),
    ("http://e.example/New%20Folder/x.exe", "e.example/New%20Folder/x.exe"),
    ("http://e.example/x#part (seen 2026)", "e.example/x"),
    (" http://e.example/x\n", "e.example/x"),
    ("http://e.example/.../x", "e.example/.../x"),
    ("http://e.example/a,b;c=d?e=f|g,h", "e.example/a,b;c=d?e=f|g,h"),
    ("http://e.example/?u=http://f.example/", "e.example/?u=http://f.example/"),
    ("http://e.example/http://f.example/", "e.example/http:/f.example/"),
    ("http://e.example/?q=<script>alert(1)</script>", "e.example/?q=<script>alert(1)</script>"),
    ("http://e.example/{0A1B-2C}/x", "e.example/{0A1B-2C}/x"),
    ("http://e.example/x[1].htm", "e.example/x[1].htm"),
    ("http://e.example/Main_(x).htm", "e.example/Main_(x).htm"),
    ("wss://e.example/socket", "e.example/socket"),
    ("ftp://user:x@e.example/x", "e.example/x"),
    ("//e.example/x", "e.example/x"),
    ("http://192.0.2.1/x", "192.0.2.1/x"),
    ("http://[2001:db8::1]/x", "[2001:db8::1]/x"),
]


@pytest.mark.parametrize("url", UNSHOWN)
@pytest.mark.parametrize("misp_type", ["url", "link"])
def test_url_that_no_request_shows_is_refused(misp_type: str, url: str) -> None:
    with pytest.raises(Refused) as refused:
        canonical_attribute(misp_type, url)
    assert refused.value.reason
    assert url.lower() not in refused.value.reason.split()


@pytest.mark.parametrize(("url", "expected"), SHOWN)
def test_url_that_a_request_may_show_is_not(url: str, expected: str) -> None:
    assert canonical_attribute("url", url).parts == (expected,)
    assert canonical_attribute("url", expected).parts == (expected,)
    assert canonical_attribute("uri", url).parts == (expected,)


@pytest.mark.parametrize("url", ["http://e.example/*", "http://none/", "http://e.example/x..."])
def test_what_is_observed_is_always_looked_up(url: str) -> None:
    assert observed_url(url)


@pytest.mark.parametrize("name", ["none", "N/A", "-", "unknown", "x.x.x.x", "__"])
@pytest.mark.parametrize("misp_type", ["domain", "hostname"])
def test_word_for_no_name_is_refused(misp_type: str, name: str) -> None:
    with pytest.raises(Refused):
        canonical_attribute(misp_type, name)


def stix(*urls: str) -> str:
    return json.dumps({"type": "bundle", "id": "bundle--x", "objects": [
        {"type": "indicator", "id": f"indicator--{n:08}-0000-4000-8000-000000000000",
         "spec_version": "2.1", "pattern_type": "stix", "created": "2026-01-01T00:00:00Z",
         "modified": "2026-01-01T00:00:00Z", "valid_from": "2026-01-01T00:00:00Z",
         "pattern": f"[url:value = '{url}']"}
        for n, url in enumerate(urls)
    ]})  # fmt: skip


def misp(*urls: str) -> str:
    rows = [{"type": "url", "value": url, "to_ids": True, "uuid": f"u{n}"}
            for n, url in enumerate(urls)]  # fmt: skip
    return json.dumps({"Event": {"uuid": "e", "info": "i", "Attribute": rows}})


URLS = ("http://good.example/x", "http://e.example/*", "file:///C:/x", "http://a.example/x malware",
        "N/A")  # fmt: skip
FILES = {
    "event.json": misp(*URLS),
    "bundle.json": stix(*URLS),
    "misp.csv": "uuid,type,value\n" + "".join(f"u{n},url,{u}\n" for n, u in enumerate(URLS)),
    "columns.csv": "url,tag\n" + "".join(f"{url},x\n" for url in URLS),
    "list.txt": "".join(f"{url}\n" for url in URLS if "malware" not in url) + "e.example/*\n",
}


@pytest.mark.parametrize("name", FILES)
def test_every_reader_refuses_them(installation: Installation, name: str) -> None:
    assert isinstance(installation.events, Path)
    (installation.events / name).write_text(FILES[name])
    summary = installation.refresh()
    found = summary.figures()
    assert (found["sealed"], found["refused"]) == (1, 4)
    reasons = found["refused_by_reason"]
    assert isinstance(reasons, dict)
    assert not any("example" in reason for reason in reasons)
