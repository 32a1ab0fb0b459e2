"""Every body that a client ends up with has its digest here: clients are run and compared.

Each test needs a client: apt-get install curl wget aria2 chromium firefox-esr.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import zlib
from collections.abc import Callable
from pathlib import Path

import brotli
import pytest
import zstandard

from inkgate.icap_server.body.inspection import Inspection
from inkgate.icap_server.protocol.http import parse_response
from support.http_clients import PROGRAMS, Case, Got, bodies, installed

FILE = b"A listed file, long enough for several blocks of each format. " * 40
SECOND = b"What comes behind it."
SEED = int(os.environ.get("INKGATE_FUZZ_SEED", "20"))
CASES = int(os.environ.get("INKGATE_FUZZ_CASES", "150"))

Pack = Callable[[bytes], bytes]


def raw(data: bytes) -> bytes:
    return zlib.compress(data, wbits=-15)


def zlib_look_alike(data: bytes) -> bytes:
    """Raw deflate whose first bytes are a zlib header: bits of no meaning, then a length."""
    length = next(n for n in range(1, 200) if (0x78 * 256 + n) % 31 == 0 and not n & 0x20)
    return bytes([0x78, length, 0, length ^ 0xFF, 0xFF]) + data[:length] + raw(data[length:])


def flushed(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=31)
    return packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH) + packer.flush()


def wide_zstd(data: bytes) -> bytes:
    settings = zstandard.ZstdCompressionParameters(window_log=25)
    packer = zstandard.ZstdCompressor(compression_params=settings).compressobj()
    return packer.compress(data) + packer.flush()


def brotli_flushed(data: bytes) -> bytes:
    packer = brotli.Compressor()
    return packer.process(data) + packer.flush() + packer.finish()


PACKS: dict[str, Pack] = {
    "gzip": gzip.compress,
    "gzip-flushed": flushed,
    "zlib": zlib.compress,
    "raw": raw,
    "zlib-look-alike": zlib_look_alike,
    "br": brotli.compress,
    "br-flushed": brotli_flushed,
    "zstd": zstandard.compress,
    "zstd-wide": wide_zstd,
    "none": lambda data: data,
}
RIGHT = {"gzip": "gzip", "zlib": "deflate", "raw": "deflate", "br": "br", "zstd": "zstd"}
LABELS = (
    *("gzip", "x-gzip", "deflate", "br", "zstd", "GZIP", "x-deflate", "compress", "identity"),
    *("foo", "", '"gzip"', "gzip;q=1", "gzip,", ", gzip", "gzip foo", "none", "utf-8"),
)
_OF_CHROMIUM = 10


def damaged(data: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(data))
    return draw.choice(
        (
            data,
            data[:at],
            data + b"junk" * draw.randrange(1, 30),
            data + bytes(draw.randrange(1, 100)),
            data + data,
            data + draw.choice(list(PACKS.values()))(SECOND),
            b"\r\n" + data,
            data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :],
            data[:-1] + bytes([data[-1] ^ 1]),
            data[:-8] + bytes([data[-8] ^ 1]) + data[-7:],
            data + b"\x1f",
            data + b"\x1f\x8b\x08\0" + b"\xff" * 30,
        )
    )


def generated(draw: random.Random) -> Case:
    """Some codings of the file, labelled rightly or not, damaged or not."""
    names = draw.choices(list(PACKS), k=draw.choice((1, 1, 1, 2, 2, 3, 5)))
    body = FILE
    for name in names:
        body = PACKS[name](body)
    labels = [RIGHT.get(name.partition("-")[0], "deflate") for name in names if name != "none"]
    if draw.random() < 0.5:
        at = draw.randrange(len(labels) + 1)
        labels[at : at + draw.randrange(2)] = [draw.choice(LABELS)]
    separator = draw.choice((", ", ", ", ",", " ", "\n"))
    lines = separator.join(labels).split("\n")
    if draw.random() < 0.6:
        body = damaged(body, draw)
    return Case(tuple(f"Content-Encoding: {line}".encode() for line in lines), body)


def chosen() -> list[Case]:
    """What is known to have got through, and each coding with each label."""
    cases = [
        Case((b"Content-Encoding: " + label.encode(),), pack(FILE))
        for label in LABELS
        for pack in PACKS.values()
    ]
    body = FILE
    for count in range(1, _OF_CHROMIUM + 1):
        body = gzip.compress(body)
        cases.append(Case((b"Content-Encoding: " + b", ".join([b"gzip"] * count),), body))
    two_lines = (b"Content-Encoding: gzip", b"Content-Encoding: gzip")
    return [*cases, Case(two_lines, gzip.compress(FILE)), Case(two_lines, body)]


def readings(case: Case) -> set[str]:
    """The digests that we look up."""
    head = b"\r\n".join([b"HTTP/1.1 200 OK", *case.fields, b"", b""])
    inspection = Inspection(("sha256",), parse_response(head).encodings, 64 << 20, 200)
    for at in range(0, len(case.body), 1000):
        inspection.feed(case.body[at : at + 1000])
    return {told["sha256"] for told in inspection.digests()}


def is_covered(case: Case, got: Got) -> bool:
    """Whether we look up what a client has. What it has of a failed transfer has no name
    unless it is the file, or a whole of some coding."""
    if hashlib.sha256(got.body).hexdigest() in readings(case) or not got.body:
        return True
    return (got.failed and FILE not in got.body) or (FILE.startswith(got.body) and got.body != FILE)


@pytest.mark.e2e
@pytest.mark.parametrize("client", PROGRAMS)
def test_bodies_of_clients_have_their_digests_here(client: str, tmp_path: Path) -> None:
    if not installed(client):
        pytest.skip(f"needs apt-get install {PROGRAMS[client]}")
    draw = random.Random(SEED)
    cases = [*chosen(), *(generated(draw) for _ in range(CASES))]
    got = bodies(client, cases, tmp_path)
    missed = [
        (case.fields, case.body[:20].hex(), len(one.body), one.failed)
        for case, one in zip(cases, got, strict=True)
        if not is_covered(case, one)
    ]
    assert not missed
    # So that the comparison is one: the client undoes most of what is labelled rightly.
    assert sum(one.body == FILE for one in got) > 25
