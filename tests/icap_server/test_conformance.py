"""RFC 3507's musts, each a test (docs/icap.md has the table), and foreign clients."""

from __future__ import annotations

import hashlib
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from icap import IcapClient

from support.authority import Authority
from support.icap import (
    Answer,
    Icap,
    chunked,
    http_request,
    http_response,
    options,
    read_answer,
    reqmod,
    respmod,
)
from support.installation import Installation, attribute
from support.squid import free_port

BODY = b"a listed file"
POST = http_request("http://fine.example/form", "POST")
LISTED = http_request("http://listed.example/")


@pytest.fixture(scope="module")
def icap() -> Iterator[Icap]:
    installation = Installation()
    digest = hashlib.sha256(BODY).hexdigest()
    installation.add("listed", attribute("domain", "listed.example"), attribute("sha256", digest))
    installation.refresh()
    port = free_port()
    authority = Authority()
    authority.write(installation.folder / "ca.pem")
    pem = authority.issue(installation.folder / "icap.pem", "localhost")
    started = Icap(
        installation,
        f'tls_listen = "127.0.0.1:{port}"\ntls_certificate = "{pem}"\ntls_key = "{pem}"\n',
    )
    started.tls_port = port  # type: ignore[attr-defined]
    yield started
    started.close()
    installation.close()


def ask_raw(icap: Icap, text: str) -> Answer:
    return icap.ask(text.encode())


def test_options_names_one_method_for_each_service_and_never_options(icap: Icap) -> None:
    for service, method in (("reqmod", "REQMOD"), ("respmod", "RESPMOD")):
        answer = icap.ask(options(service))
        assert answer.status == 200
        assert answer.fields["methods"] == method
        assert answer.fields["encapsulated"] == "null-body=0"
        assert int(answer.fields["options-ttl"]) > 0
        assert int(answer.fields["max-connections"]) > 0
        assert answer.fields["allow"] == "204"
        assert len(answer.fields["service-id"]) <= 32
    fields = icap.ask(options("reqmod")).fields
    assert (fields["preview"], fields["transfer-preview"]) == ("0", "*")


def test_options_may_have_a_body(icap: Icap) -> None:
    head = b"OPTIONS icap://icap.test/reqmod ICAP/1.0\r\nEncapsulated: opt-body=0\r\n\r\n"
    with icap.connect() as client:
        for message in (head + chunked(b"anything"), options("reqmod")):
            client.sendall(message)
            assert read_answer(client).status == 200


def test_every_answer_has_one_quoted_istag_of_at_most_32_bytes(icap: Icap) -> None:
    answers = [
        icap.ask(message)
        for message in (
            options("reqmod"),
            options("nowhere"),
            b"nonsense\r\n\r\n",
            reqmod(http_request()),
            reqmod(LISTED),
            reqmod(POST, chunked(b"x"), allow=""),
            respmod(http_request(), http_response(), chunked(BODY)),
        )
    ]
    tags = {answer.fields["istag"] for answer in answers}
    assert len(tags) == 1
    (tag,) = tags
    assert tag[0] == tag[-1] == '"'
    assert len(tag) <= 32


def test_every_answer_has_encapsulated_with_right_offsets(icap: Icap) -> None:
    # read_answer cuts every answer by its offsets and insists on what is there.
    answer = icap.ask(reqmod(LISTED))
    assert answer.fields["encapsulated"] == f"res-hdr=0, res-body={len(answer.headers)}"
    answer = icap.ask(reqmod(POST, chunked(b"x"), allow=""))
    assert answer.fields["encapsulated"] == f"req-hdr=0, req-body={len(POST)}"
    answer = icap.ask(reqmod(http_request(), allow=""))
    assert answer.fields["encapsulated"] == f"req-hdr=0, null-body={len(answer.headers)}"
    assert icap.ask(reqmod(http_request())).fields["encapsulated"] == "null-body=0"


def test_no_204_outside_a_preview_unless_it_is_allowed(icap: Icap) -> None:
    assert icap.ask(reqmod(http_request(), allow="")).status == 200
    assert icap.ask(reqmod(http_request(), allow="trailers")).status == 200
    assert icap.ask(reqmod(http_request(), allow="204")).status == 204
    assert icap.ask(reqmod(http_request(), allow="206, 204")).status == 204


def test_204_within_a_preview_needs_no_leave(icap: Icap) -> None:
    assert icap.ask(reqmod(POST, chunked(b"abc"), allow="", preview=3)).status == 204


def test_after_a_preview_100_and_then_the_rest_is_read(icap: Icap) -> None:
    response = http_response(len(BODY))
    with icap.connect() as client:
        for body, blocked in ((BODY, True), (BODY[::-1], False)):
            client.sendall(respmod(http_request(), response, chunked(body[:5]), preview=5))
            assert read_answer(client).status == 100
            client.sendall(chunked(body[5:]))
            answer = read_answer(client)
            assert (answer.status == 200) == blocked


def test_never_100_after_ieof(icap: Icap) -> None:
    framing = chunked(BODY)[: -len("0\r\n\r\n")] + b"0; ieof\r\n\r\n"
    answer = icap.ask(respmod(http_request(), http_response(), framing, preview=1024))
    assert answer.http_status == 403


def test_unknown_method_is_501(icap: Icap) -> None:
    assert ask_raw(icap, "LOGMOD icap://icap.test/reqmod ICAP/1.0\r\n\r\n").status == 501


def test_unknown_service_is_404(icap: Icap) -> None:
    for service in ("", "nowhere", "reqmod/x", "__init__", "reqmod_REQMOD"):
        assert icap.ask(options(service)).status == 404


def test_wrong_method_for_a_service_is_405(icap: Icap) -> None:
    message = reqmod(http_request()).replace(b"/reqmod ", b"/respmod ")
    assert icap.ask(message).status == 405


def test_other_versions_are_505(icap: Icap) -> None:
    assert ask_raw(icap, "OPTIONS icap://icap.test/reqmod ICAP/1.1\r\n\r\n").status == 505


REQMOD = "REQMOD icap://icap.test/reqmod ICAP/1.0\r\n"


@pytest.mark.parametrize(
    "message",
    [
        "OPTIONS icap://icap.test/reqmod\r\n\r\n",
        "OPTIONS icap://icap.test/reqmod HTTP/1.1\r\n\r\n",
        "OPTIONS http://icap.test/reqmod ICAP/1.0\r\n\r\n",
        "OPTIONS icap://icap.test/reqmod ICAP/1.0\r\nno colon\r\n\r\n",
        f"{REQMOD}\r\n",
        f"{REQMOD}Encapsulated: \r\n\r\n",
        f"{REQMOD}Encapsulated: req-hdr=0\r\n\r\n",
        f"{REQMOD}Encapsulated: req-hdr=1, null-body=2\r\n\r\n",
        f"{REQMOD}Encapsulated: req-hdr=0, null-body=0\r\n\r\n",
        f"{REQMOD}Encapsulated: res-hdr=0, null-body=9\r\n\r\n",
        f"{REQMOD}Encapsulated: req-hdr=0, null-body=-9\r\n\r\n",
        f"{REQMOD}Encapsulated: req-hdr=0, null-body=1_0\r\n\r\n",
        f"{REQMOD}Encapsulated: req-hdr=0, null-body=4\r\n\r\nabcd",
        f"{REQMOD}Encapsulated: null-body=0\r\n\r\n",
        f"{REQMOD}Encapsulated: null-body=0\r\nPreview: x\r\n\r\n",
    ],
)
def test_what_is_no_icap_message_is_400_and_closes(icap: Icap, message: str) -> None:
    with icap.connect() as client:
        client.sendall(message.encode())
        answer = read_answer(client)
        assert answer.status == 400
        assert answer.fields["connection"] == "close"
        assert client.recv(1) == b""


def test_methods_are_case_sensitive_and_header_names_are_not(icap: Icap) -> None:
    assert ask_raw(icap, "options icap://icap.test/reqmod ICAP/1.0\r\n\r\n").status == 501
    message = reqmod(http_request()).replace(b"Encapsulated", b"eNCAPSULATED")
    assert icap.ask(message.replace(b"Allow", b"ALLOW")).status == 204


def test_connections_persist_unless_close_is_asked_for(icap: Icap) -> None:
    with icap.connect() as client:
        for _ in range(3):
            client.sendall(reqmod(http_request()))
            assert "connection" not in read_answer(client).fields
        client.sendall(reqmod(http_request(), extra="Connection: close\r\n"))
        assert read_answer(client).fields["connection"] == "close"
        assert client.recv(1) == b""


def test_pipelined_messages_are_answered_in_order(icap: Icap) -> None:
    with icap.connect() as client:
        client.sendall(reqmod(http_request()) + reqmod(LISTED) + options("reqmod"))
        file = client.makefile("rb")
        data = b""
        while b"Options-TTL" not in data:
            data += file.read1(65536)
        marks = [data.index(b"ICAP/1.0 204"), data.index(b"403"), data.index(b"Options-TTL")]
        assert marks == sorted(marks)


def test_answers_do_not_tell_versions(icap: Icap) -> None:
    answer = icap.ask(options("reqmod"))
    assert "python" not in str(answer).lower()
    assert "pyicap" not in str(answer).lower()


def test_python_icap_as_a_client(icap: Icap) -> None:
    with IcapClient("127.0.0.1", port=icap.port) as client:
        told = client.options("respmod")
        assert told.status_code == 200
        assert told.headers["Methods"] == "RESPMOD"
        assert client.scan_bytes(b"harmless", service="respmod").is_no_modification
        blocked = client.scan_bytes(BODY, service="respmod")
        assert not blocked.is_no_modification
        assert "X-Inkgate-Incident" in blocked.headers


def c_icap_client(icap: Icap, *words: str) -> str:
    program = shutil.which("c-icap-client")
    assert program, "apt-get install c-icap"
    done = subprocess.run(
        [program, "-i", "127.0.0.1", "-p", str(icap.port), "-v", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


def test_c_icap_client_as_a_client(icap: Icap, tmp_path: Path) -> None:
    assert "Preview 0" in c_icap_client(icap, "-s", "reqmod").replace(":", "")
    out = tmp_path / "out"
    said = c_icap_client(icap, "-s", "reqmod", "-req", "http://listed.example/", "-o", str(out))
    assert "403" in said
    said = c_icap_client(icap, "-s", "reqmod", "-req", "http://fine.example/")
    assert "204" in said
    for body, status in ((BODY, "403"), (b"harmless" * 10_000, "204")):
        file = tmp_path / "file"
        file.write_bytes(body)
        out.unlink(missing_ok=True)
        words = ("-s", "respmod", "-resp", "http://fine.example/a", "-f", str(file))
        assert status in c_icap_client(icap, *words, "-o", str(out))


def test_icap_over_tls(icap: Icap) -> None:
    context = ssl.create_default_context(cafile=str(icap.log_path.parent / "ca.pem"))
    with (
        socket.create_connection(("127.0.0.1", icap.tls_port), 10) as plain,  # type: ignore[attr-defined]
        context.wrap_socket(plain, server_hostname="localhost") as client,
    ):
        for request, status in ((http_request(), 204), (LISTED, 200), (http_request(), 204)):
            client.sendall(reqmod(request))
            assert read_answer(client).status == status
    with icap.connect() as client:
        client.sendall(options("reqmod"))
        assert read_answer(client).status == 200
