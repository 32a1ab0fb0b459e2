"""Collections of a TAXII 2.1 server: sound ones, and servers that do their worst."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from inkgate.config.errors import Unreadable
from inkgate.remote import web
from inkgate.rules.sources import taxii
from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.last_good import LastGood
from inkgate.rules.sources.source import SourceContext
from inkgate.rules.sources.taxii import Taxii
from inkgate.rules.sources.taxii_api import TaxiiSettings
from support.certificates import self_signed
from support.hostile import HostileServer, drips, sends
from support.installation import Installation
from support.taxii_server import COLLECTION, MEDIA_TYPE, TaxiiServer, basic

SECRET = "a-password-of-nobody"


def indicator(number: int, **more: object) -> dict[str, Any]:
    return {
        "type": "indicator", "spec_version": "2.1",
        "id": f"indicator--00000000-0000-4000-8000-{number:012d}",
        "created": "2026-01-01T00:00:00Z", "modified": "2026-01-01T00:00:00Z",
        "valid_from": "2026-01-01T00:00:00Z", "pattern_type": "stix",
        "pattern": f"[domain-name:value='a{number}.example']", **more,
    }  # fmt: skip


@pytest.fixture
def server() -> Iterator[TaxiiServer]:
    with TaxiiServer() as made:
        yield made


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "_PAUSES", (0.01, 0.01))


def source(folder: Path, url: str, *, seconds: float = 60, **settings: Any) -> Taxii:
    keys = ("full", "may_be_empty")
    options = {key: settings.pop(key) for key in keys if key in settings}
    made = msgspec.convert({"type": "taxii", "url": url, **settings}, TaxiiSettings)
    copies = LastGood(folder / "copies")
    context = SourceContext(folder, folder / "state", copies, seconds=seconds, **options)
    return Taxii(made, context)


def values(attributes: Iterator[Attribute]) -> list[str]:
    return sorted(a.value for a in attributes if not a.skipped and not a.refused)


def read(of: Taxii) -> list[str]:
    faults: list[Unreadable] = []
    found = values(of.read(faults))
    assert not faults, faults
    return found


def fault_of(of: Taxii) -> tuple[str, list[str]]:
    """What a reading says is wrong, and what it gives all the same."""
    faults: list[Unreadable] = []
    found = values(of.read(faults))
    (fault,) = faults
    assert str(fault).count("\n") == 0
    return str(fault), found


@pytest.mark.parametrize("wanted", [COLLECTION, "Bad hosts", "bad"])
def test_collection_is_found_from_the_servers_address(
    tmp_path: Path, server: TaxiiServer, wanted: str
) -> None:
    server.add(*(indicator(n) for n in range(3)))
    for url in (server.url, server.url.rstrip("/"), f"{server.base}/api1"):
        assert read(source(tmp_path, url, collection=wanted, full=True)) == [
            "a0.example", "a1.example", "a2.example"]  # fmt: skip


def test_collection_is_read_by_its_own_address(tmp_path: Path, server: TaxiiServer) -> None:
    server.add(indicator(1))
    for url in (server.collection_url, f"{server.collection_url}objects/"):
        assert read(source(tmp_path, url)) == ["a1.example"]


@pytest.mark.parametrize("name", ["Objects", "OBJECTS"])
def test_objects_in_another_case_are_read(tmp_path: Path, server: TaxiiServer, name: str) -> None:
    """A page of them was taken for the end, without a word."""
    server.add(*(indicator(n) for n in range(3)))
    server.list_name = name
    assert len(read(source(tmp_path, server.collection_url))) == 3


@pytest.mark.parametrize("marks", [True, False])
def test_pages_are_read_to_the_end(tmp_path: Path, server: TaxiiServer, marks: bool) -> None:
    server.add(*(indicator(n) for n in range(25)))
    server.page, server.marks = 10, marks
    assert len(read(source(tmp_path, server.collection_url))) == 25
    assert len([path for path in server.asked if "objects/" in path]) == 3
    server.asked.clear()
    read(source(tmp_path, server.collection_url, page_size=7, full=True))
    assert len([path for path in server.asked if "objects/" in path]) == 4


def test_only_what_was_added_since_is_asked_for(tmp_path: Path, server: TaxiiServer) -> None:
    server.add(indicator(1), indicator(2))
    assert read(source(tmp_path, server.collection_url)) == ["a1.example", "a2.example"]
    server.add(indicator(3), indicator(1, modified="2026-02-01T00:00:00Z", revoked=True))
    server.objects.pop(1)
    assert read(source(tmp_path, server.collection_url)) == ["a2.example", "a3.example"]
    query = parse_qs(urlsplit(server.asked[-1]).query)
    assert query["added_after"] == ["2026-01-01T00:00:01.000Z"]
    # What the server has removed is seen when all is read again.
    assert read(source(tmp_path, server.collection_url, full=True)) == ["a3.example"]
    assert "added_after" not in server.asked[-1]
    server.add(indicator(4))
    assert len(read(source(tmp_path, server.collection_url, full_refresh_hours=0))) == 2
    assert "added_after" not in server.asked[-1]


def test_what_has_expired_since_is_seen_without_the_server(
    tmp_path: Path, server: TaxiiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add(indicator(1, valid_until="2999-01-01T00:00:00Z"), indicator(2))
    taxii = source(tmp_path, server.collection_url)
    assert len(read(taxii)) == 2
    asked = len(server.asked)

    class Later:
        @staticmethod
        def now(zone: Any) -> datetime:
            return datetime(3000, 1, 1, tzinfo=zone)

    monkeypatch.setattr("inkgate.rules.sources.taxii.datetime", Later)
    assert values(taxii.remembered([])) == ["a2.example"]
    assert len(server.asked) == asked


@pytest.mark.parametrize("by_file", [True, False])
@pytest.mark.parametrize("kind", ["basic", "token", "Token"])
def test_login_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_file: bool, kind: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")
    login = {"basic": basic("reader", SECRET), "token": f"Bearer {SECRET}"}
    settings: dict[str, Any] = {"user": "reader"} if kind == "basic" else {}
    if kind == "Token":
        settings["token_scheme"] = "Token"
    if by_file:
        settings["password_file" if kind == "basic" else "token_file"] = "secret"
    else:
        name = "INKGATE_TAXII_PASSWORD" if kind == "basic" else "INKGATE_TAXII_TOKEN"
        monkeypatch.setenv(name, SECRET)
    with TaxiiServer(login=login.get(kind, f"Token {SECRET}")) as server:
        server.add(indicator(1))
        assert read(source(tmp_path, server.collection_url, **settings)) == ["a1.example"]
        said, found = fault_of(source(tmp_path, server.collection_url, token_variable="NOBODY"))
        assert "does not accept the login (status 401)" in said
        assert found == ["a1.example"]
        assert SECRET not in said
        assert not re.search(SECRET, " ".join(server.asked))


def test_netrc_is_not_sent(
    tmp_path: Path, server: TaxiiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login x password {SECRET}\n")
    monkeypatch.setenv("NETRC", str(netrc))
    read(source(tmp_path, server.collection_url))
    assert "Authorization" not in server.headers


def test_ca_file_is_trusted_and_nothing_else(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    with TaxiiServer(tls=(certificate, key)) as server:
        server.add(indicator(1))
        assert read(source(tmp_path, server.collection_url, ca_file=certificate)) == ["a1.example"]
        said, found = fault_of(source(tmp_path, server.collection_url))
        assert "(self-signed certificate) that is not trusted" in said
        assert found == ["a1.example"]


def test_missing_secret_is_one_clear_fault(tmp_path: Path, server: TaxiiServer) -> None:
    said, _ = fault_of(source(tmp_path, server.collection_url, user="reader"))
    assert "set INKGATE_TAXII_PASSWORD" in said
    assert server.asked == []


@pytest.mark.parametrize(
    ("token", "problem"),
    [
        (f"{SECRET}\r\nX-Other: 1\n", "has a second line"),
        (f"{SECRET}\x0bX-Other: 1", "has a token that no header can hold"),
    ],
)
def test_token_that_would_add_a_header_is_not_sent(
    tmp_path: Path, server: TaxiiServer, token: str, problem: str
) -> None:
    (tmp_path / "token").write_text(token, newline="")
    said, _ = fault_of(source(tmp_path, server.collection_url, token_file="token"))
    assert problem in said
    assert SECRET not in said
    assert server.asked == []


def test_reading_that_breaks_off_changes_nothing(tmp_path: Path, server: TaxiiServer) -> None:
    server.add(*(indicator(n) for n in range(5)))
    taxii = source(tmp_path, server.collection_url, full_refresh_hours=0)
    assert len(read(taxii)) == 5
    server.objects.clear()
    server.add(*(indicator(n) for n in range(20, 40)))
    server.page, server.asked = 10, []
    server.fails = (2, 500)
    said, found = fault_of(taxii)
    assert "cannot be asked (status 500); its last good reading counts" in said
    assert found == [f"a{n}.example" for n in range(5)]
    server.fails = None
    assert len(read(taxii)) == 20


def test_busy_server_is_asked_again(tmp_path: Path, server: TaxiiServer) -> None:
    server.add(indicator(1))
    busy = iter((503, 429))
    whole = server.answer

    def answer(path: str, headers: Any) -> tuple[int, bytes, dict[str, str]]:
        status = next(busy, 0)
        return (status, b"", {"Retry-After": "86400"}) if status else whole(path, headers)

    server.answer = answer  # type: ignore[method-assign]
    assert read(source(tmp_path, server.collection_url)) == ["a1.example"]


def test_collection_that_is_suddenly_empty_is_doubted(tmp_path: Path, server: TaxiiServer) -> None:
    server.add(*(indicator(n) for n in range(4)))
    assert len(read(source(tmp_path, server.collection_url))) == 4
    server.objects.clear()
    said, found = fault_of(source(tmp_path, server.collection_url, full=True))
    assert "--allow-empty" in said
    assert len(found) == 4
    assert read(source(tmp_path, server.collection_url, full=True, may_be_empty=True)) == []


OBJECTS = f"/api1/collections/{COLLECTION}/objects/"


@pytest.mark.parametrize(
    ("answers", "settings", "said"),
    [
        ({"/taxii2/": b"<html>"}, {}, "does not answer as a TAXII 2.1 server does"),
        ({"/taxii2/": b"{}"}, {}, "does not answer as a TAXII 2.1 server does"),
        ({"/taxii2/": b"[" * 100_000}, {}, "does not answer as a TAXII 2.1 server does"),
        ({"/taxii2/": b"[" * 4_000_001}, {}, "more than 4,000,000 objects and lists"),
        ({"/taxii2/": b'{"api_roots": ["http://192.0.2.1/"]}'}, {}, "API root on another host"),
        ({}, {"collection": ""}, "name one with collection"),
        ({}, {"collection": "other"}, "has no collection of that id, title or alias"),
        ({}, {"collection": "Secret"}, "does not let us read that collection"),
        ({OBJECTS: b'{"more": true, "next": "x"}'}, {}, "the same page again and again"),
        ({OBJECTS: b'{"more": true}'}, {}, "the same page again and again"),
        ({OBJECTS: b'{"objects": 7}'}, {}, "does not answer as a TAXII 2.1 server does"),
        ({OBJECTS: b'{"objects": [{"type":'}, {}, "does not answer as a TAXII 2.1 server does"),
    ],
)
def test_answer_that_is_wrong_is_one_clear_fault(
    tmp_path: Path, server: TaxiiServer, answers: dict[str, bytes], settings: Any, said: str
) -> None:
    server.add(indicator(1))
    server.answers = answers
    text, found = fault_of(source(tmp_path, server.url, **{"collection": "bad", **settings}))
    assert said in text
    assert text.startswith(f"{server.host}/taxii2: ")
    assert found == []


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("http://192.0.2.1/x/", "redirects to http://192.0.2.1/x/"),
        ("ftp://127.0.0.1/", "redirects to something that is no URL"),
        ("//[", "cannot be asked (ValueError)"),
        ("", "redirects more than 3 times"),
    ],
)
def test_redirect_elsewhere_is_not_followed(
    tmp_path: Path, server: TaxiiServer, target: str, reason: str
) -> None:
    server.redirect = target
    said, _ = fault_of(source(tmp_path, server.collection_url))
    assert reason in said
    assert len(server.asked) == (4 if not target else 1)


HEAD = f"HTTP/1.1 200 OK\r\nContent-Type: {MEDIA_TYPE}\r\n".encode()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("act", "said"),
    [
        (drips(HEAD + b"Content-Length: 9000\r\n\r\n"), "within 2 s"),
        (drips(HEAD + b"X: ", b"a"), "within 2 s"),
        (sends(HEAD + b"Content-Length: 99999999999\r\n\r\n{}"), "larger than 256 MiB"),
        (sends(HEAD + b"Content-Length: 50\r\n\r\n{}"), "cannot be"),
        (sends(b"not HTTP"), "cannot be asked"),
    ],
    ids=["slow body", "slow headers", "huge", "cut off", "no HTTP"],
)
def test_hostile_server_ends_within_the_deadline(tmp_path: Path, act: Any, said: str) -> None:
    with HostileServer(act) as server:
        url = f"http://127.0.0.1:{server.port}/c/objects/"
        text, _ = fault_of(source(tmp_path, url, seconds=2))
        assert said in text


def test_patterns_that_take_too_long_leave_the_last_reading(
    tmp_path: Path, server: TaxiiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were committed before anybody had read one, and held every refresh from then on."""
    server.add(indicator(1))
    assert read(source(tmp_path, server.collection_url)) == ["a1.example"]
    server.add(*(indicator(n) for n in range(2, 40)))
    real, slow = taxii.attributes_of, threading.Event()

    def slowly(*of: Any) -> Iterator[Attribute]:
        for count, found in enumerate(real(*of)):
            if count:
                slow.wait(0.1)
            yield found

    monkeypatch.setattr(taxii, "attributes_of", slowly)
    text, found = fault_of(source(tmp_path, server.collection_url, seconds=0.5))
    assert "cannot be read in full within 0.5 s" in text
    assert found == ["a1.example"]
    slow.set()
    assert len(read(source(tmp_path, server.collection_url))) == 39


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"url": "ftp://x"}, "url begins with https://"),
        ({"url": "https://me:secret@x/"}, "url holds no user"),
        ({"token_scheme": "x y"}, "token_scheme"),
        ({"page_size": 0}, "page_size"),
    ],
)
def test_settings_that_are_wrong(more: dict[str, Any], said: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=said):
        msgspec.convert({"type": "taxii", "url": "https://x/", **more}, TaxiiSettings)


@pytest.mark.slow
def test_refresh_seals_a_collection(installation: Installation, server: TaxiiServer) -> None:
    server.login = basic("reader", SECRET)
    server.add(
        indicator(1), indicator(2, revoked=True), indicator(3, pattern="[url:value LIKE 'x']")
    )
    (installation.folder / "taxii.password").write_text(SECRET)
    source = {"type": "taxii", "url": server.url, "collection": "bad", "user": "reader",
              "password_file": "taxii.password"}  # fmt: skip
    table = ", ".join(f"{key} = {json.dumps(text)}" for key, text in source.items())
    installation.configure(f"sources = [{{{table}}}]")
    done = installation.run("inkgate-rules", "refresh", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["read"], found["sealed"], found["refused"]) == (3, 1, 1)
    assert found["skipped"] == {"revoked": 1}
    assert "indicator" not in installation.run("inkgate-rules", "match", "domain=b.example").stdout
    uuid = "00000000-0000-4000-8000-000000000001"
    assert uuid in installation.run("inkgate-rules", "match", "domain=a1.example").stdout
    for path in installation.folder.rglob("*"):
        if path.is_file() and path.name != "taxii.password":
            assert SECRET.encode() not in path.read_bytes()
