"""RESPMOD: bodies by their digest, whatever their size and encoding."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import random
import threading
import time
import zlib
from collections.abc import Iterator
from typing import Any

import brotli
import pytest
import zstandard

from inkgate.icap_server.protocol.chunks import LAST_CHUNK
from support.icap import Answer, Icap, chunked, http_request, http_response, read_answer, respmod
from support.installation import Installation, attribute
from support.waiting import wait_until

CHOOSE = random.Random(9)
SMALL = b"ten bytes!"
MIDDLE = CHOOSE.randbytes(1_000_000)
CLASSES = ["md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha512/256", "sha3-256"]
GET = http_request("http://fine.example/a/setup%20x.exe?y=1")


def listed_by(name: str, body: bytes) -> tuple[dict[str, object], bytes]:
    digest = hashlib.new(name.replace("sha3-", "sha3_").replace("/", "_"), body).hexdigest()
    return attribute(name, digest.upper()), body


# One file for each class and size, so that it is that class that finds it.
FILES = {
    (name, size): listed_by(name, f"{name} {size}".encode() + body)
    for name in CLASSES
    for size, body in (("small", SMALL), ("middle", MIDDLE))
}
NAMED = b"known by name and digest"
SAMPLE = b"a malware sample"
LISTED = [listed for listed, _ in FILES.values()]
LISTED += [
    attribute("filename|sha256", "setup x.exe|" + hashlib.sha256(NAMED).hexdigest()),
    attribute("malware-sample", "sample.bin|" + hashlib.md5(SAMPLE).hexdigest()),
    attribute("filename", "invoice.pdf.exe"),
    attribute("ip-dst", "198.51.100.66"),
    attribute("domain|ip", "pair.example|192.0.2.9"),
]
ENCODERS: dict[str, Any] = {
    "": lambda data: data,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "raw deflate": lambda data: zlib.compress(data, wbits=-15),
    "br": lambda data: brotli.compress(data, quality=1),
    "zstd": zstandard.compress,
    "gzip, br": lambda data: brotli.compress(gzip.compress(data), quality=1),
}


@pytest.fixture(scope="module")
def icap() -> Iterator[tuple[Icap, Installation]]:
    installation = Installation()
    installation.add("listed", *LISTED)
    installation.refresh()
    started = Icap(installation, "hold_kib = 64\nbody_mib = 16\nratio = 50\n")
    yield started, installation
    started.close()
    installation.close()


def ask(
    server: Icap,
    body: bytes,
    *,
    request: bytes = GET,
    preview: int | None = 0,
    allow: str = "204",
    extra: str = "",
    **fields: str,
) -> Answer:
    """One transaction as a proxy has it, with a preview of nothing first."""
    response = http_response(len(body), **fields)
    with server.connect(30) as client:
        framing = chunked(body, 30_000) if preview is None else chunked(body[:preview])
        client.sendall(
            respmod(request, response, framing, preview=preview, allow=allow, extra=extra)
        )
        answer = None
        if preview is not None:
            answer = read_answer(client)
            if answer.status == 100:
                rest = chunked(body[preview:], 30_000)
                sender = threading.Thread(target=send_all, args=(client, rest))
                sender.start()
                answer = read_answer(client)
                sender.join()
        answer = answer or read_answer(client)
    if answer.status == 200 and answer.http_status == 200:
        assert answer.headers == response
    return answer


def send_all(client: Any, data: bytes) -> None:
    with contextlib.suppress(OSError):
        client.sendall(data)


def encoded(encoding: str, body: bytes) -> tuple[bytes, dict[str, str]]:
    name = encoding.replace("raw ", "")
    return ENCODERS[encoding](body), {"Content_Encoding": name} if name else {}


@pytest.mark.parametrize("encoding", ENCODERS)
@pytest.mark.parametrize(("name", "size"), FILES)
def test_listed_file_is_not_delivered_whole(
    icap: tuple[Icap, Installation], name: str, size: str, encoding: str
) -> None:
    server, _ = icap
    _, body = FILES[name, size]
    sent, fields = encoded(encoding, body)
    answer = ask(server, sent, **fields)
    assert answer.status == 200
    if answer.http_status == 200:
        assert size == "middle"
        assert not answer.ended
        assert sent.startswith(answer.body)
        assert len(answer.body) <= len(sent) - 32_768
    else:
        assert answer.http_status == 403
        assert b"Your request has reached the server" in answer.body
        assert b"Nothing was" not in answer.body
        assert answer.fields["x-inkgate-incident"].encode() in answer.body


@pytest.mark.parametrize("encoding", ENCODERS)
@pytest.mark.parametrize("allow", ["", "204"])
@pytest.mark.parametrize("preview", [None, 0, 7])
@pytest.mark.parametrize("size", [0, 1, 1000, 65_536, 65_537, 1_000_000])
def test_unlisted_file_arrives_byte_for_byte(
    icap: tuple[Icap, Installation], size: int, preview: int | None, allow: str, encoding: str
) -> None:
    sent, fields = encoded(encoding, CHOOSE.randbytes(size))
    answer = ask(icap[0], sent, preview=preview, allow=allow, **fields)
    if answer.status == 200:
        assert answer.ended
        assert answer.body == sent
    else:
        assert answer.status == 204
        assert allow


@pytest.mark.parametrize(
    ("body", "request_", "fields"),
    [
        (NAMED, GET, {}),
        (NAMED, http_request(), {"Content_Disposition": 'attachment; filename="setup x.exe"'}),
        (NAMED, http_request(), {"Content_Disposition": "inline; filename*=UTF-8''setup%20x.exe"}),
        (SAMPLE, http_request("http://fine.example/sample.bin"), {}),
        (b"anything", http_request("http://fine.example/invoice.pdf.exe"), {}),
    ],
)
def test_file_listed_with_its_name_is_blocked_under_that_name_only(
    icap: tuple[Icap, Installation], body: bytes, request_: bytes, fields: dict[str, str]
) -> None:
    assert ask(icap[0], body, request=request_, **fields).http_status == 403
    other = http_request("http://fine.example/other.exe")
    assert ask(icap[0], body, request=other).status == 204


def test_servers_address_is_judged_with_the_name_that_was_asked_for(
    icap: tuple[Icap, Installation],
) -> None:
    server, installation = icap
    for host, address, blocked in (
        ("fine.example", "198.51.100.66", True),
        ("fine.example", "192.0.2.9", False),
        ("pair.example", "192.0.2.9", True),
        ("fine.example", "-", False),
        ("fine.example", "nonsense", False),
    ):
        answer = ask(
            server,
            b"",
            request=http_request(f"http://{host}/"),
            extra=f"X-Server-IP: {address}\r\n",
        )
        assert (answer.status == 200) == blocked
        if blocked:
            incident = answer.fields["x-inkgate-incident"]
            assert installation.sightings(incident)[0]["client"] == "192.0.2.7"


def test_connection_goes_on_after_a_block(icap: tuple[Icap, Installation]) -> None:
    _, body = FILES["sha256", "small"]
    with icap[0].connect() as client:
        for sent, status in ((body, 200), (b"fine", 204), (body, 200)):
            message = respmod(GET, http_response(len(sent)), chunked(sent))
            client.sendall(message)
            assert read_answer(client).status == status


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_padding_behind_the_file_does_not_let_it_through(
    icap: tuple[Icap, Installation], layers: int
) -> None:
    # Deflate blocks that decode to nothing, more of them than are held.
    _, body = FILES["sha256", "middle"]
    packer = zlib.compressobj(wbits=31)
    sent = packer.compress(body) + packer.flush(zlib.Z_FULL_FLUSH)
    sent += b"\0\0\0\xff\xff" * 100_000 + packer.flush()
    assert gzip.decompress(sent) == body
    # To the layer outside of it the padding is content.
    for _ in range(layers - 1):
        sent = gzip.compress(sent, 0)
    answer = ask(icap[0], sent, Content_Encoding=", ".join(["gzip"] * layers))
    assert not answer.ended
    came = answer.body
    for _ in range(layers):
        came = zlib.decompressobj(wbits=31).decompress(came)
    assert len(came) < len(body)


def test_listed_file_at_which_the_proxy_breaks_off_is_recorded(
    icap: tuple[Icap, Installation],
) -> None:
    """Its client may have all of it that was not held."""
    server, installation = icap
    _, body = FILES["sha256", "middle"]
    before = _sightings(installation)
    with server.connect() as client:
        client.sendall(respmod(GET, http_response(), chunked(body)[: -len(LAST_CHUNK)]))
        came = b""
        # All but what is held.
        while len(came) < len(body) - 80_000:
            came += (piece := client.recv(1 << 16))
            assert piece
    wait_until(lambda: len(_sightings(installation)) > len(before), "the incident")
    (added,) = set(_sightings(installation)) - set(before)
    assert "sha256" in added


def _sightings(installation: Installation) -> list[str]:
    return installation.run("inkgate-sightings", "list").stdout.splitlines()


def bombs() -> dict[str, tuple[str, bytes]]:
    zeros = bytes(64 << 20)
    return {
        "gzip": ("gzip", gzip.compress(zeros, 9)),
        "br": ("br", brotli.compress(zeros, quality=5)),
        "zstd": ("zstd", zstandard.compress(zeros * 4, 19)),
        "twice": ("gzip, gzip", gzip.compress(gzip.compress(zeros * 2))),
        "layers": ("gzip, gzip, gzip, gzip", gzip.compress(b"x")),
        "name": ("gzip, zstd", zstandard.compress(b"\x1f\x8b\x08\x08name" + b"e" * len(zeros) * 4)),
    }


@pytest.mark.parametrize(("encoding", "sent"), bombs().values(), ids=bombs())
def test_bombs_are_not_unpacked(
    icap: tuple[Icap, Installation], encoding: str, sent: bytes
) -> None:
    before = icap[0].memory_kib()
    started = time.monotonic()
    answer = ask(icap[0], sent, Content_Encoding=encoding, allow="")
    assert answer.body == sent
    assert time.monotonic() - started < 20
    assert icap[0].memory_kib() - before < 80_000


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "nonsense"])
def test_what_does_not_decode_is_judged_as_it_is(
    icap: tuple[Icap, Installation], encoding: str
) -> None:
    _, body = FILES["sha1", "small"]
    assert ask(icap[0], body, Content_Encoding=encoding).http_status == 403
    assert ask(icap[0], CHOOSE.randbytes(5000), Content_Encoding=encoding).status == 204


@pytest.mark.slow
def test_unchecked_bodies_can_be_blocked() -> None:
    installation = Installation()
    installation.add("listed", *LISTED)
    installation.refresh()
    server = Icap(installation, 'body_mib = 1\nhold_kib = 64\nunchecked = "block"\n')
    long = bytes(1 << 20) + b"x"
    try:
        assert ask(server, long).http_status == 403
        answer = ask(server, long, preview=None)
        assert answer.http_status == 403
        assert b"This file could not be checked" in answer.body
        assert b"inkgate-unchecked" in answer.body
        assert b"known to be dangerous" not in answer.body
        assert ask(server, long[:9]).status == 204
        assert ask(server, long[:-1]).body == long[:-1]
        bomb = gzip.compress(bytes(64 << 20))
        assert ask(server, bomb, Content_Encoding="gzip").http_status == 403
        assert ask(server, b"x", Content_Encoding="nonsense").http_status == 403
    finally:
        server.close()
        installation.close()


@pytest.mark.slow
def test_two_hundred_megabytes_in_bounded_memory() -> None:
    installation = Installation()
    block = CHOOSE.randbytes(1 << 20)
    digest = hashlib.sha256()
    for _ in range(200):
        digest.update(block)
    installation.add("listed", attribute("sha256", digest.hexdigest()))
    installation.refresh()
    server = Icap(installation)
    try:
        for blocks, listed in ((200, True), (199, False)):
            before = server.memory_kib()
            with server.connect(60) as client:
                response = http_response(blocks << 20)
                client.sendall(respmod(GET, response, b"0\r\n\r\n", preview=0))
                assert read_answer(client).status == 100

                def send(client: Any = client, blocks: int = blocks) -> None:
                    for _ in range(blocks):
                        client.sendall(b"%x\r\n%b\r\n" % (len(block), block))
                    client.sendall(b"0\r\n\r\n")

                sender = threading.Thread(target=send)
                sender.start()
                answer = read_answer(client)
                sender.join()
            assert answer.ended == (not listed)
            assert server.memory_kib() - before < 30_000
            if listed:
                assert len(answer.body) <= (blocks << 20) - (1 << 19)
            else:
                assert hashlib.sha256(answer.body).digest() == hashlib.sha256(block * 199).digest()
    finally:
        server.close()
        installation.close()
