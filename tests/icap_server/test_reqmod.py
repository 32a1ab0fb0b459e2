"""REQMOD: the helper's verdicts over ICAP, spoken to by hand over a socket."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator

import pytest

from support.icap import Icap, chunked, http_request, options, read_answer, reqmod
from support.installation import SETTINGS, Installation, attribute
from support.waiting import wait_until

LISTED = {
    "domain": attribute("domain", "listed.example"),
    "hostname": attribute("hostname", "login.bank.test"),
    "url": attribute("url", "hxxp://files[.]example/malware/payload.exe"),
    "address": attribute("ip-dst", "198.51.100.66"),
    "network": attribute("ip-dst", "203.0.113.0/26"),
    "port": attribute("ip-dst|port", "192.0.2.80|8443"),
    "agent": attribute("user-agent", "EvilBot/1.0 (made up)"),
    "logged": attribute("hostname|port", "context.example|80"),
}
BLOCKED = [
    ("domain", http_request("http://a.listed.example/x")),
    ("domain", http_request("listed.example:443", "CONNECT")),
    ("domain", b"GET /x HTTP/1.1\r\nhOST: www.listed.example\r\n\r\n"),
    ("hostname", http_request("https://login.bank.test/")),
    ("url", http_request("http://www.files.example//malware/payload%2Eexe?y=1")),
    ("url", b"GET /malware/payload.exe HTTP/1.1\r\nHost: files.example\r\n\r\n"),
    ("address", http_request("http://3325256770/")),
    ("network", http_request("http://203.0.113.63/")),
    ("port", http_request("http://192.0.2.80:8443/")),
    ("agent", http_request("http://fine.example/", User_Agent="EvilBot/1.0 (made up)")),
]
PASSED = [
    http_request("http://fine.example/listed.example"),
    http_request("http://files.example/malware/payload.ex"),
    http_request("files.example:443", "CONNECT"),
    http_request("http://192.0.2.80/"),
    http_request("http://203.0.113.64/"),
    http_request("http://fine.example/", User_Agent="EvilBot/1.1"),
    http_request("http://b\xfccher.example/\xff"),
    b"OPTIONS * HTTP/1.1\r\nHost: fine.example\r\n\r\n",
]


@pytest.fixture(scope="module")
def icap() -> Iterator[tuple[Icap, Installation]]:
    actions = 'actions = { "type:hostname|port" = "log" }\n[helper]\n'
    installation = Installation(SETTINGS.replace("[helper]\n", actions))
    installation.add("listed", *LISTED.values())
    installation.refresh()
    started = Icap(installation)
    yield started, installation
    started.close()
    installation.close()


@pytest.mark.parametrize(("name", "request_"), BLOCKED)
@pytest.mark.slow
def test_listed_request_gets_the_blocked_page(
    icap: tuple[Icap, Installation], name: str, request_: bytes
) -> None:
    server, installation = icap
    answer = server.ask(reqmod(request_))
    assert answer.status == 200
    assert answer.http_status == 403
    incident = answer.fields["x-inkgate-incident"]
    assert incident.encode() in answer.body
    link = f'<a href="mailto:desk@organisation.example?subject={incident}">'
    assert f"help &lt;{link}desk@organisation.example</a>&gt; 100%<".encode() in answer.body
    assert b"Nothing was sent to it" in answer.body
    (record,) = installation.sightings(incident)
    assert record["attributes"] == [LISTED[name]["uuid"]]
    assert record["client"] == "192.0.2.7"
    assert record["method"] == request_.split(b" ")[0].decode()
    assert record["action"] == "block"


@pytest.mark.parametrize("request_", PASSED)
def test_neighbours_pass(icap: tuple[Icap, Installation], request_: bytes) -> None:
    with icap[0].connect() as client:
        for _ in range(2):  # The second time from memory.
            client.sendall(reqmod(request_))
            answer = read_answer(client)
            assert answer.status == 204
            assert "x-inkgate-incident" not in answer.fields


def test_match_that_is_only_logged_passes_with_its_incident(
    icap: tuple[Icap, Installation],
) -> None:
    server, installation = icap
    for _ in range(2):
        answer = server.ask(reqmod(http_request("http://context.example/")))
        assert answer.status == 204
        (record,) = installation.sightings(answer.fields["x-inkgate-incident"])
        assert record["action"] == "log"


def test_page_hides_the_query_and_escapes_the_address(icap: tuple[Icap, Installation]) -> None:
    body = icap[0].ask(reqmod(http_request("http://listed.example/<script>?secret=1"))).body
    assert b"<script>" not in body
    assert b"secret" not in body
    assert b"http://listed.example/&lt;script&gt;" in body


def test_head_is_answered_without_a_body(icap: tuple[Icap, Installation]) -> None:
    answer = icap[0].ask(reqmod(http_request("http://listed.example/", "HEAD")))
    assert answer.http_status == 403
    assert "null-body" in answer.fields["encapsulated"]


BODIES = [b"", b"x", os.urandom(199_000), os.urandom(200_000)]


@pytest.mark.parametrize("body", BODIES, ids=len)
def test_post_without_preview_or_204_comes_back_byte_for_byte(
    icap: tuple[Icap, Installation], body: bytes
) -> None:
    request = http_request("http://fine.example/form", "POST", Content_Length=str(len(body)))
    answer = icap[0].ask(reqmod(request, chunked(body), allow=""))
    assert answer.status == 200
    assert answer.headers == request
    assert answer.body == body


@pytest.mark.parametrize("body", BODIES, ids=len)
def test_post_with_204_and_no_preview_is_read_to_its_end(
    icap: tuple[Icap, Installation], body: bytes
) -> None:
    with icap[0].connect() as client:
        for _ in range(3):
            request = http_request("http://fine.example/form", "POST")
            client.sendall(reqmod(request, chunked(body)))
            assert read_answer(client).status == 204
        client.sendall(reqmod(http_request("http://listed.example/", "POST"), chunked(body)))
        assert read_answer(client).http_status == 403
        client.sendall(reqmod(http_request()))
        assert read_answer(client).status == 204


@pytest.mark.slow
def test_redirect_is_302_for_get_and_303_for_a_form_and_a_page_for_a_tunnel() -> None:
    installation = Installation()
    installation.add("listed", LISTED["domain"])
    installation.refresh()
    place = 'redirect = "https://page.test/blocked?id={incident}"\n'
    server = Icap(installation, place)
    try:
        for method, status in (("GET", 302), ("HEAD", 302), ("POST", 303)):
            answer = server.ask(reqmod(http_request("http://listed.example/", method)))
            assert answer.http_status == status
            incident = answer.fields["x-inkgate-incident"]
            location = f"Location: https://page.test/blocked?id={incident}\r\n"
            assert location.encode() in answer.headers
        tunnel = server.ask(reqmod(http_request("listed.example:443", "CONNECT")))
        assert tunnel.http_status == 403
    finally:
        server.close()
        installation.close()


@pytest.mark.slow
def test_ten_thousand_mixed_messages_on_one_connection_against_a_model(
    icap: tuple[Icap, Installation],
) -> None:
    choose = random.Random(5)
    with icap[0].connect() as client:
        for number in range(10_000):
            listed = choose.random() < 0.02
            host = "listed.example" if listed else f"host{choose.randrange(50)}.example"
            method = choose.choice(["GET", "POST", "PUT", "HEAD"])
            request = http_request(f"http://{host}/{number}", method)
            body = preview = None
            rest = b""
            allow = choose.choice(["", "204", "204, trailers"])
            if method in ("POST", "PUT"):
                data = bytes(choose.randrange(256) for _ in range(choose.choice([0, 1, 5, 300])))
                body = chunked(data, choose.choice([1, 7, 4096]))
                if choose.random() < 0.6:
                    preview = choose.choice([0, len(data)])
                    whole = preview == len(data)
                    body = chunked(data[:preview])
                    if whole and choose.random() < 0.5:
                        body = body[: -len("0\r\n\r\n")] + b"0; ieof\r\n\r\n"
            message = reqmod(request, body, allow=allow, preview=preview) + rest
            cut = choose.randrange(len(message)) if choose.random() < 0.1 else len(message)
            client.sendall(message[:cut])
            client.sendall(message[cut:])
            answer = read_answer(client)
            if listed:
                assert answer.status == 200
                assert answer.http_status == 403
            elif preview is not None or allow:
                assert answer.status == 204
            else:
                assert answer.status == 200
                assert answer.headers == request
                assert answer.body == (data if body is not None else b"")


@pytest.mark.slow
def test_new_rules_are_used_soon_and_change_the_istag() -> None:
    installation = Installation()
    installation.add("listed", LISTED["domain"])
    installation.refresh()
    server = Icap(installation)
    try:
        with server.connect() as client:

            def ask(data: bytes) -> tuple[int, str]:
                client.sendall(data)
                answer = read_answer(client)
                return answer.status, answer.fields["istag"]

            request = reqmod(http_request("http://added.example/"))
            status, before = ask(request)
            assert status == 204
            assert ask(request) == (204, before)
            assert ask(options("reqmod")) == (200, before)
            installation.add("more", attribute("domain", "added.example"))
            installation.refresh()
            wait_until(lambda: ask(request)[0] == 200, "a match in the new rules")
            status, after = ask(options("reqmod"))
            assert after != before
            assert ask(reqmod(http_request())) == (204, after)
    finally:
        server.close()
        installation.close()


@pytest.mark.parametrize(("fail", "status"), [("open", 204), ("closed", 200)])
@pytest.mark.slow
def test_without_rules_fail_decides(fail: str, status: int) -> None:
    installation = Installation()
    server = Icap(installation, f'fail = "{fail}"\n')
    try:
        answer = server.ask(reqmod(http_request()))
        assert answer.status == status
        # So that the proxy's log tells which requests `fail` answered.
        assert answer.fields["x-inkgate-incident"] == "inkgate-unavailable"
        if fail == "closed":
            assert answer.http_status == 503
            assert b"This address could not be checked" in answer.body
            assert b"inkgate-unavailable" in answer.body
            assert b"known to be dangerous" not in answer.body
        server.ask(reqmod(http_request()))
        assert server.log.count(": critical: no-rules: ") == 1
        installation.add("listed", LISTED["domain"])
        installation.refresh()
        listed = reqmod(http_request("http://listed.example/"))
        wait_until(
            lambda: (
                (server.ask(listed).status, server.ask(reqmod(http_request())).status) == (200, 204)
            ),
            "the first rules",
        )
        assert server.ask(listed).http_status == 403
    finally:
        server.close()
        installation.close()


@pytest.mark.slow
def test_killed_worker_is_replaced_and_sigterm_ends_all() -> None:
    installation = Installation(SETTINGS)
    installation.add("listed", LISTED["domain"])
    installation.refresh()
    server = Icap(installation)
    try:
        (first,) = server.workers()
        os.kill(first, signal.SIGKILL)
        assert server.ask(reqmod(http_request("http://listed.example/"))).status == 200
        (second,) = server.workers()
        assert second != first
    finally:
        server.close()
        installation.close()
    assert server.process.returncode == 0
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)


def test_empty_authority_is_never_remembered(icap: tuple[Icap, Installation]) -> None:
    with icap[0].connect() as client:
        for number in range(3):
            client.sendall(reqmod(b"GET http:///good%d.example/ HTTP/1.1\r\n\r\n" % number))
            assert read_answer(client).status == 204
        client.sendall(reqmod(b"GET http:///listed.example/x HTTP/1.1\r\n\r\n"))
        assert read_answer(client).http_status == 403
