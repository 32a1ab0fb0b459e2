"""What a file may be called: each name under which a client saves it, and bounds."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inkgate.icap_server.body.file_names import file_names

MEASURED = json.loads(Path(__file__).with_name("file_names.json").read_text())
HOST = "http://127.0.0.1:80/case/7/"
# Chromium, Firefox and wget cut what is longer, each at another place.
CUT_FROM = 236


def names_of(case: dict[str, object]) -> tuple[str, ...]:
    fields = [field.encode("latin-1") for field in case["fields"]]  # type: ignore[attr-defined]
    return file_names(HOST + str(case["path"]), [f.partition(b":")[2].strip() for f in fields])


def as_bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def is_exempt(case: dict[str, object], name: str) -> bool:
    """What the client makes up, cuts, or takes from a URL's query (decision 78)."""
    path = str(case["path"])
    is_with_query = "?" in path and name.startswith(path.partition("?")[0] + "?")
    return path.endswith("/") or is_with_query or len(name) >= CUT_FROM


@pytest.mark.parametrize("client", MEASURED["versions"])
def test_every_name_under_which_a_client_saves_is_looked_up(client: str) -> None:
    missed = [
        (case["fields"] or case["path"], name)
        for case in MEASURED["cases"]
        if (name := case["names"][client]) and not is_exempt(case, name)
        if as_bytes(name).strip() not in {as_bytes(ours).strip() for ours in names_of(case)}
    ]
    assert not missed


def test_measured_names_are_many_and_of_all_clients() -> None:
    for client in ("curl", "wget", "aria2c", "chromium", "firefox"):
        assert sum(bool(case["names"][client]) for case in MEASURED["cases"]) > 200


@pytest.mark.parametrize(
    ("dispositions", "uri", "names"),
    [
        ([], "http://h.example/app.js", ("app.js",)),
        ([], "http://h.example/app.js?v=1#x", ("app.js",)),
        ([b"inline"], "http://h.example/", ()),
        ([b"attachment; filename=a.pdf"], "http://h.example/x.php", ("a.pdf", "x.php")),
        ([b'attachment; filename="a b.pdf"'], "http://h.example/", ("a b.pdf",)),
    ],
)
def test_an_ordinary_reply_costs_one_look_up_for_each_name(
    dispositions: list[bytes], uri: str, names: tuple[str, ...]
) -> None:
    assert file_names(uri, dispositions) == names


@given(st.lists(st.binary(max_size=300), max_size=3), st.text(max_size=100))
def test_any_header_gives_few_bounded_names(parts: list[bytes], path: str) -> None:
    for start in (b"filename=", b"filename*=", b"filename*0*=", b"x; filename==?utf-8?b?"):
        names = file_names(f"http://h.example/{path}", [start + part for part in parts])
        assert len(names) <= 96
        assert len(set(names)) == len(names)
        assert all(0 < len(name) <= 255 for name in names)


HARD = {
    "names in names": b"filename=" * 900,
    "quotes without end": b'filename="\\' * 900,
    "escaped quotes": b'filename="' + b'\\"' * 4000,
    "percents": b"filename=%" * 800,
    "charsets": b"filename*=gbk''%ce%c4" * 400,
    "parts": b"filename*1=a;" * 600,
    "an encoded word": b"filename==?utf-8?q?" + b"=41" * 2500 + b"?=",
    "a codec that is no charset": b"filename*=idna''" + b"x" * 8000,
    "no text": bytes(range(256)) * 40,
}


@pytest.mark.parametrize("value", HARD.values(), ids=HARD)
def test_attack_hard_headers_cost_little(value: bytes) -> None:
    started = time.process_time()
    assert len(file_names("http://h.example/" + "a%20;" * 1000, [value] * 50)) <= 96
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    "charset", ["idna", "punycode", "unicode_escape", "hex", "zlib", "no-such"]
)
def test_attack_charset_of_python_alone_is_none(charset: str) -> None:
    names = file_names("http://h.example/", [f"filename*={charset}''evil.exe".encode()])
    assert names == ("evil.exe",)
