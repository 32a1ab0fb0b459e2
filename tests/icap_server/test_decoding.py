"""Content-encodings: all of a body, and nothing after it, however it is cut."""

from __future__ import annotations

import gzip
import random
import time
import zlib

import brotli
import pytest

from icap_server.body.decoding import _Brotli, _Zlib

RANDOM = random.Random(7).randbytes(100_000)
BODIES = {
    "zeros": bytes(1 << 20),
    "binary with zeros": RANDOM + bytes(3_000_000) + RANDOM[:1000],
    "text": b"some text " * 300_000,
    "empty": b"",
}


@pytest.mark.parametrize("size", [1000, 65_536, 1 << 30])
@pytest.mark.parametrize("name", BODIES)
def test_brotli_gives_all_of_a_compressible_body(name: str, size: int) -> None:
    packed = brotli.compress(BODIES[name], quality=5)
    decoder = _Brotli()
    pieces = (packed[at : at + size] for at in range(0, len(packed), size))
    assert b"".join(out for piece in pieces for out in decoder.feed(piece)) == BODIES[name]


@pytest.mark.parametrize("cut", [1, 3, 10, 1000])
@pytest.mark.parametrize("after", [b"", b"\0" * 50, b"junk"])
def test_what_follows_the_last_member_is_ignored_wherever_pieces_end(
    cut: int, after: bytes
) -> None:
    data = gzip.compress(b"one") + gzip.compress(b"two") + after
    decoder = _Zlib(gzip=True)
    pieces = (data[at : at + cut] for at in range(0, len(data), cut))
    assert b"".join(out for piece in pieces for out in decoder.feed(piece)) == b"onetwo"


def test_deflate_ends_at_its_end() -> None:
    decoder = _Zlib(gzip=False)
    assert b"".join(decoder.feed(zlib.compress(b"abc") + b"junk")) == b"abc"
    assert list(decoder.feed(b"more")) == []


def test_much_after_the_end_costs_nothing() -> None:
    """It was kept and copied with every piece: 60 MB took most of a minute."""
    decoder = _Zlib(gzip=True)
    list(decoder.feed(gzip.compress(b"x")))
    started = time.process_time()
    for _ in range(1000):
        assert list(decoder.feed(b"A" * 65_536)) == []
    assert time.process_time() - started < 5
