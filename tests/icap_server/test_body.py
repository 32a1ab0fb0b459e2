"""A body under inspection, without a socket: its forms, what is held of it, its extent."""

from __future__ import annotations

import gzip
import hashlib
import math
import random
import time
import tracemalloc
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from inkgate.icap_server.body.held_end import HeldEnd
from inkgate.icap_server.body.inspection import Inspection
from inkgate.icap_server.body.partial import asks_for_part, is_endless, is_part
from inkgate.icap_server.protocol.http import parse_response
from inkgate.icap_server.settings import IcapSettings
from support.icap import http_request, http_response

BODY = random.Random(8).randbytes(150_000)
MIB = 1 << 20
STREAMS = ("text/event-stream", "multipart/x-mixed-replace")


def inspected(*encodings: str, limit: int = 64 * MIB) -> Inspection:
    return Inspection(("sha256",), encodings, limit, 200)


def feed(inspection: Inspection, data: bytes, cut: int = 65_536) -> Inspection:
    for at in range(0, len(data), cut):
        inspection.feed(data[at : at + cut])
    return inspection


def forms(inspection: Inspection) -> list[str]:
    return [told["sha256"] for told in inspection.digests()]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("cut", [1, 1000, 1 << 30])
def test_attack_wrong_checksum_does_not_hide_what_browsers_show(cut: int) -> None:
    packed = bytearray(gzip.compress(BODY))
    packed[-8] ^= 1
    inspection = feed(inspected("gzip"), bytes(packed), cut)
    assert not inspection.unchecked
    assert forms(inspection) == [sha256(packed), sha256(BODY)]


@pytest.mark.parametrize("cut", [1, 1000, 1 << 30])
def test_attack_damage_after_the_file_does_not_hide_it(cut: int) -> None:
    packer = zlib.compressobj(wbits=31)
    packed = packer.compress(BODY) + packer.flush(zlib.Z_SYNC_FLUSH) + b"\xff" * 1000
    inspection = feed(inspected("gzip"), packed, cut)
    assert inspection.unchecked == "damaged"
    assert forms(inspection) == [sha256(packed), sha256(BODY)]


@pytest.mark.parametrize("encodings", [("gzip",), ("zstd",), ("br", "gzip"), ("gzip", "zstd")])
def test_attack_second_member_does_not_hide_the_first(encodings: tuple[str, ...]) -> None:
    pack = {"br": brotli.compress}
    pack["zstd"] = lambda data: zstandard.compress(data) + zstandard.compress(b"more")
    pack["gzip"] = lambda data: gzip.compress(data) + gzip.compress(b"more")
    sent = BODY
    for name in encodings:
        sent = pack[name](sent)
    assert sha256(BODY) in forms(feed(inspected(*encodings), sent))


def test_attack_junk_that_looks_like_a_member_does_not_hide_the_first() -> None:
    inspection = feed(inspected("gzip"), gzip.compress(BODY) + b"\x1f more junk")
    assert sha256(BODY) in forms(inspection)
    assert inspection.unchecked == "damaged"


def test_forms_are_few_whatever_comes() -> None:
    sent = zlib.compress(BODY)
    for _ in range(3):
        sent = gzip.compress(sent) * 2
    inspection = feed(inspected("gzip", "gzip", "gzip"), gzip.compress(sent) * 100)
    # As sent, three layers, and at each layer the first members of it and of those before.
    assert len(forms(inspection)) <= 1 + 3 + 6


def test_form_is_told_again_only_when_it_has_grown() -> None:
    inspection = feed(inspected("gzip"), gzip.compress(BODY) + gzip.compress(b"x"))
    assert len(forms(inspection)) == 3
    assert forms(inspection) == []
    inspection.feed(b"junk")
    assert len(forms(inspection)) == 1


def metablock(data: bytes) -> bytes:
    """A block of br that is not compressed."""
    return ((len(data) - 1) << 3 | 1 << 19).to_bytes(3, "little") + data


def decoyed(decoy: bytes, true: bytes) -> tuple[bytes, bytes]:
    """br with true data, behind metadata that is a stored block of raw deflate with a decoy."""
    low, high = 0xFE, 0x20
    assert len(decoy) < low | high << 8
    size = (low >> 2 | high << 6 | (~low & 3) << 14) + 1
    head = bytes([0x69, low, high, low ^ 0xFF, high ^ 0xFF])
    blocks = [true[at : at + 60_000] for at in range(0, len(true), 60_000)]
    return head + decoy.ljust(size - 1, b"\0"), b"".join(map(metablock, blocks)) + b"\3"


def test_attack_decoy_does_not_use_up_what_the_true_reading_may_make() -> None:
    """In the order of clients that know one line, the decoy came to just below the bound."""
    body = BODY[:3000]
    first, rest = decoyed(zlib.compress(bytes(8 * MIB - 10)), zlib.compress(zlib.compress(body)))
    inspection = inspected("deflate", "deflate", "br")
    inspection.feed(first)
    inspection.feed(rest)
    assert sha256(body) in forms(inspection)


@pytest.mark.parametrize("size", [9 * MIB, 40 * MIB])
def test_attack_decoy_does_not_hide_that_the_true_reading_grows_too_much(size: int) -> None:
    first, rest = decoyed(b"", zlib.compress(BODY[:1000] + bytes(size)))
    inspection = feed(inspected("deflate", "br"), first + rest)
    assert inspection.unchecked == "grows too much when decoded"


def test_attack_decoy_does_not_hide_damage() -> None:
    """Clients that know one line of Content-Encoding have the decoy, others the damage."""
    decoy, _ = decoyed(b"", b"x")
    packed = brotli.compress(BODY)
    inspection = feed(inspected("deflate", "br"), decoy + packed[:100] + b"\xff" * 1000)
    assert inspection.unchecked == "damaged"


EMPTY_BLOCKS = b"\0\0\0\xff\xff" * 100_000


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_attack_last_piece_of_each_reading_is_asked_about_before_it_goes(layers: int) -> None:
    """Behind it came bytes that were content to the layer outside of it only."""
    packer = zlib.compressobj(wbits=31)
    sent = packer.compress(BODY) + packer.flush(zlib.Z_FULL_FLUSH) + EMPTY_BLOCKS
    for _ in range(layers - 1):
        outer = zlib.compressobj(0, wbits=31)
        sent = outer.compress(sent) + outer.flush(zlib.Z_SYNC_FLUSH)
    inspection = inspected(*["gzip"] * layers)

    def is_listed() -> bool:
        return sha256(BODY) in forms(inspection)

    held_end, gone, listed = HeldEnd(65_536, inspection.unasked_from, is_listed), b"", False
    for at in range(0, len(sent), 10_000):
        inspection.feed(sent[at : at + 10_000])
        held_end.keep(sent[at : at + 10_000])
        free, listed = held_end.release()
        gone += free
        if listed:
            break
    assert listed
    # A client has less than the file of what went.
    for _ in range(layers):
        gone = zlib.decompressobj(31).decompress(gone)
    assert BODY.startswith(gone)
    assert len(gone) < len(BODY)


def test_empty_body_has_a_digest() -> None:
    assert forms(inspected()) == [sha256(b"")]


def test_nothing_is_computed_beyond_the_limit() -> None:
    inspection = feed(inspected("gzip", limit=MIB), gzip.compress(BODY) + bytes(2 * MIB))
    assert (inspection.is_over, inspection.unchecked) == (True, "too long")
    forms(inspection)
    started = time.process_time()
    for _ in range(1000):
        inspection.feed(BODY)
    assert time.process_time() - started < 0.5
    assert forms(inspection) == []


@given(
    st.lists(st.tuples(st.binary(max_size=9000), st.integers(0, 2))),
    st.integers(0, 20_000),
)
def test_held_is_the_end_and_all_comes_in_order(pieces: list[tuple[bytes, int]], size: int) -> None:
    """And nothing behind the last byte of a reading goes on before that was asked about."""
    grew_at: dict[int, int] = {}

    def asked() -> bool:
        grew_at.clear()
        return False

    held_end = HeldEnd(size, lambda: min(grew_at.values(), default=math.inf), asked)
    gone, come = b"", 0
    for data, reading in pieces:
        come += len(data)
        if data:
            grew_at[reading] = come
        held_end.keep(data)
        free, listed = held_end.release()
        assert not listed
        gone += free
        assert all(len(gone) < at for at in grew_at.values())
        assert held_end.held <= size + 9000 + 4096
    sent = b"".join(data for data, _ in pieces)
    assert held_end.held == len(sent) - len(gone)
    assert size == 0 or held_end.held >= min(size, len(sent))
    assert gone + held_end.rest() == sent


def test_attack_bytes_that_come_alone_take_no_more_memory() -> None:
    tracemalloc.start()
    try:
        held_end = HeldEnd(MIB, lambda: math.inf, lambda: False)
        for _ in range(MIB // 8):
            held_end.keep(b"x")
            held_end.release()
        assert tracemalloc.get_traced_memory()[1] < MIB // 4
    finally:
        tracemalloc.stop()
    assert held_end.rest() == b"x" * (MIB // 8)


def partial(content_range: str, *more: str) -> bytes:
    lines = [f"Content-Range: {value}" for value in (content_range, *more)]
    return "\r\n".join(["HTTP/1.1 206 Partial Content", *lines, "", ""]).encode()


@pytest.mark.parametrize("value", ["bytes 0-9/10", "Bytes 0-0/1", "bytes  0-999999999/1000000000"])
def test_206_of_the_whole_is_no_part(value: str) -> None:
    assert not is_part(206, partial(value))


@pytest.mark.parametrize(
    "head",
    [
        partial("bytes 0-8/10"),
        partial("bytes 1-9/10"),
        partial("bytes 0-9/*"),
        partial("bytes */10"),
        partial("lines 0-9/10"),
        partial("bytes 0-9/10", "bytes 0-3/10"),
        partial(f"bytes 0-{'9' * 30}/1{'0' * 30}"),
        b"HTTP/1.1 206 Partial Content\r\n\r\n",
    ],
)
def test_any_other_206_is_a_part(head: bytes) -> None:
    assert is_part(206, head)
    assert not is_part(200, head)


def test_part_is_asked_for_with_range_only() -> None:
    assert asks_for_part(http_request(Range="bytes=0-"))
    assert not asks_for_part(http_request("http://fine.example/Range:x", If_Range="x"))
    assert not asks_for_part(b"")


@pytest.mark.parametrize(
    ("length", "fields", "endless"),
    [
        (None, {"Content_Type": "text/event-stream"}, True),
        (None, {"Content_Type": "Text/Event-Stream; charset=utf-8"}, True),
        (None, {"Content_Type": "multipart/x-mixed-replace;boundary=x"}, True),
        (None, {"Content_Type": "text/event-stream, text/html"}, False),
        (None, {"Content_Type": "text/event-stream", "content_type": "text/html"}, False),
        (None, {"Content_Type": "text/event-streams"}, False),
        (None, {}, False),
        (7, {"Content_Type": "text/event-stream"}, False),
        (None, {"Content_Type": "text/event-stream", "Content_Disposition": "attachment"}, False),
    ],
)
def test_endless_is_what_names_its_type_and_looks_like_no_file(
    length: int | None, fields: dict[str, str], endless: bool
) -> None:
    head = http_response(length, **fields)
    assert is_endless(parse_response(head), head, STREAMS) == endless
    assert not is_endless(parse_response(head), head, ())


@pytest.mark.parametrize("text", ["", "event-stream", "text/*", "Text/Event-Stream"])
def test_stream_types_are_media_types(text: str) -> None:
    with pytest.raises(ValueError, match="stream_types"):
        IcapSettings(stream_types=(text,))
