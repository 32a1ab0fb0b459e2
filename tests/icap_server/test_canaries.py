"""The ICAP server refuses the canaries, at the request and at the reply, and keeps them apart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from inkgate.rules.crypto.canaries import Canaries
from support.canary_proxy import canaries_of, records
from support.icap import Answer, Icap, chunked, http_request, http_response, reqmod, respmod
from support.installation import Installation, attribute


@pytest.fixture(scope="module", params=["sha256", "md5", "filename|sha1"])
def icap(request: pytest.FixtureRequest) -> Iterator[tuple[Icap, Installation, Canaries]]:
    installation = Installation()
    digest = "ab" * {"sha256": 32, "md5": 16}.get(request.param, 20)
    value = f"setup.exe|{digest}" if "|" in request.param else digest
    installation.add("listed", attribute(request.param, value))
    installation.refresh()
    started = Icap(installation)
    yield started, installation, canaries_of(installation)
    started.close()
    installation.close()


def replied(server: Icap, uri: str, body: bytes, address: str = "192.0.2.80") -> Answer:
    return server.ask(
        respmod(
            http_request(uri),
            http_response(len(body)),
            chunked(body),
            extra=f"X-Server-IP: {address}\r\n",
        )
    )


def check_refused(installation: Installation, answer: Answer, name: str) -> None:
    assert answer.http_status == 403
    incident = answer.fields["x-inkgate-incident"]
    (record,) = installation.sightings(incident)
    assert (record["class"], record["action"], record["attributes"]) == (name, "canary", [])


def test_requests_are_refused(icap: tuple[Icap, Installation, Canaries]) -> None:
    server, installation, own = icap
    for method in ("GET", "POST"):
        answer = server.ask(reqmod(http_request(f"http://{own.name}/", method)))
        check_refused(installation, answer, "domain")
        check_refused(installation, server.ask(reqmod(http_request(own.url, method))), "url")
    answer = server.ask(reqmod(http_request(f"{own.name}:443", "CONNECT")))
    check_refused(installation, answer, "domain")


def test_replies_are_refused(icap: tuple[Icap, Installation, Canaries]) -> None:
    server, installation, own = icap
    at_port = f"http://localhost:{own.reply_port}/"
    for address in ("127.0.0.1", "::1"):
        answer = replied(server, at_port, b"harmless", address)
        check_refused(installation, answer, "ip-dst|port")
    answer = replied(server, f"http://{own.neighbour}/", own.body)
    assert hashlib.sha256(own.body).hexdigest() == own.digest()
    record = installation.sightings(answer.fields["x-inkgate-incident"])[0]
    assert answer.http_status == 403
    assert (record["action"], record["attributes"]) == ("canary", [])


def test_neighbours_pass(icap: tuple[Icap, Installation, Canaries]) -> None:
    server, _, own = icap
    for uri in (f"http://{own.neighbour}/", own.neighbour_url):
        assert server.ask(reqmod(http_request(uri))).status == 204
    host = own.url.split("/")[2]
    assert server.ask(reqmod(http_request(f"{host}:443", "CONNECT"))).status == 204
    near = own.body.replace(b"canary", b"Canary")
    assert replied(server, f"http://{own.neighbour}/", near).status == 204
    assert replied(server, "http://localhost:80/", b"harmless", "127.0.0.1").status == 204


def test_list_hides_them(icap: tuple[Icap, Installation, Canaries]) -> None:
    server, installation, own = icap
    answer = server.ask(reqmod(http_request(own.url)))
    check_refused(installation, answer, "url")
    assert records(installation) == []
    assert answer.fields["x-inkgate-incident"] in {
        r["incident"] for r in records(installation, "--canaries")
    }
