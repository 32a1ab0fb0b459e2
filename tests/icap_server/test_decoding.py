"""Content-encodings: all of a body, and nothing after it, however it is cut."""

from __future__ import annotations

import gzip
import random
import time
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given as given_data
from hypothesis import strategies as st

from inkgate.icap_server.body.brotli_stream import Brotli
from inkgate.icap_server.body.decoding import Decoder, Layers
from inkgate.icap_server.body.inflate import DecodingError, Deflate, Gzip, Zlib, is_zlib
from inkgate.icap_server.body.memory import Memory
from inkgate.icap_server.body.zstd_stream import Zstd

RANDOM = random.Random(7).randbytes(100_000)
BODIES = {
    "zeros": bytes(1 << 20),
    "binary with zeros": RANDOM + bytes(3_000_000) + RANDOM[:1000],
    "text": b"some text " * 300_000,
    "empty": b"",
}


def nothing() -> None:
    """Nobody wants to know where a member ends."""


def for_nothing(_: int) -> None:
    """Steps cost nothing."""


def gunzip() -> Gzip:
    return Gzip(nothing, nothing, for_nothing)


def inflate(window: int = 15) -> Deflate:
    return (Zlib if window > 0 else Deflate)(nothing, nothing, for_nothing)


def unbrotli() -> Brotli:
    return Brotli(nothing, for_nothing)


def unzstd() -> Zstd:
    return Zstd(nothing, nothing, for_nothing)


MEMORY = Memory(256 << 20, 128 << 20)


class Kept:
    """A reading that keeps what it gets."""

    def __init__(self, readings: list[Kept]) -> None:
        self.data, self.ends, self.more = b"", 0, 0
        readings.append(self)

    def feed(self, data: bytes) -> None:
        self.data += data

    def ended(self) -> None:
        self.ends += 1

    def goes_on(self) -> None:
        self.more += 1


def readings_of(sent: bytes, *encodings: str, cut: int = 1 << 30) -> tuple[list[bytes], str]:
    readings: list[Kept] = []
    layers = Layers(encodings, lambda: Kept(readings), MEMORY)
    for at in range(0, len(sent), cut):
        layers.feed(sent[at : at + cut], 64 << 20)
    return [reading.data for reading in readings], layers.failed


@pytest.mark.parametrize("size", [1000, 65_536, 1 << 30])
@pytest.mark.parametrize("name", BODIES)
def test_brotli_gives_all_of_a_compressible_body(name: str, size: int) -> None:
    packed = brotli.compress(BODIES[name], quality=5)
    decoder = unbrotli()
    pieces = (packed[at : at + size] for at in range(0, len(packed), size))
    assert b"".join(out for piece in pieces for out in decoder.feed(piece)) == BODIES[name]


@pytest.mark.parametrize("size", [1, 1000, 1 << 30])
@pytest.mark.parametrize("name", BODIES)
def test_raw_deflate_gives_all_of_a_compressible_body(name: str, size: int) -> None:
    """No checksum follows it that would push the last output out."""
    body = BODIES[name][: len(BODIES[name]) // 65_536 * 65_536]
    packed = zlib.compress(body, wbits=-15)
    decoder = inflate(-15)
    pieces = (packed[at : at + size] for at in range(0, len(packed), size))
    assert b"".join(out for piece in pieces for out in decoder.feed(piece)) == body


@pytest.mark.parametrize("cut", [1, 3, 10, 1000])
@pytest.mark.parametrize("after", [b"", b"\0" * 50, b"junk"])
def test_what_follows_the_last_member_is_ignored_wherever_pieces_end(
    cut: int, after: bytes
) -> None:
    data = gzip.compress(b"one") + gzip.compress(b"two") + after
    decoder = gunzip()
    pieces = (data[at : at + cut] for at in range(0, len(data), cut))
    assert b"".join(out for piece in pieces for out in decoder.feed(piece)) == b"onetwo"


def test_deflate_ends_at_its_end() -> None:
    decoder = inflate()
    assert b"".join(decoder.feed(zlib.compress(b"abc") + b"junk")) == b"abc"
    assert list(decoder.feed(b"more")) == []


def test_much_after_the_end_costs_nothing() -> None:
    """It was kept and copied with every piece: 60 MB took most of a minute."""
    decoder = gunzip()
    list(decoder.feed(gzip.compress(b"x")))
    started = time.process_time()
    for _ in range(1000):
        assert list(decoder.feed(b"A" * 65_536)) == []
    assert time.process_time() - started < 5


def given(decoder: Decoder, data: bytes, cut: int = 1 << 30) -> tuple[bytes, str]:
    """All that comes out, and why it ended early."""
    out = bytearray()
    try:
        for at in range(0, len(data), cut):
            for piece in decoder.feed(data[at : at + cut]):
                out += piece
    except DecodingError as error:
        return bytes(out), str(error)
    return bytes(out), ""


CUTS = pytest.mark.parametrize("cut", [1, 7, 4096, 1 << 30])


@CUTS
@pytest.mark.parametrize("at", [-8, -1])
@pytest.mark.slow
def test_gzip_is_decoded_whatever_its_checksums_say(at: int, cut: int) -> None:
    packed = bytearray(gzip.compress(RANDOM))
    packed[at] ^= 1
    assert given(gunzip(), bytes(packed) * 2, cut) == (RANDOM * 2, "")


RAW = zlib.compress(RANDOM, wbits=-15)
FIXED = b"\x1f\x8b\x08%c\0\0\0\0\0\3"
HEADERS = {
    "plain": FIXED % 0,
    "extra": FIXED % 4 + b"\5\0extra",
    "empty extra": FIXED % 4 + b"\0\0",
    "longest extra": FIXED % 4 + b"\xff\xff" + bytes(65_535),
    "name": FIXED % 8 + b"name\0",
    "long name": FIXED % 8 + b"n" * 200_000 + b"\0",
    "comment": FIXED % 16 + b"comment\0",
    "all": FIXED % 31 + b"\2\0..name\0comment\0CR",
    "wrong checksum": FIXED % 2 + b"no",
    "reserved flags": FIXED % 0xE0,
}


@pytest.mark.parametrize("cut", [1, 4096, 1 << 30])
@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
@pytest.mark.slow
def test_header_is_skipped_wherever_pieces_end(header: bytes, cut: int) -> None:
    member = header + RAW + bytes(8)
    assert given(gunzip(), member + member, cut) == (RANDOM * 2, "")


@pytest.mark.parametrize("header", [b"\x1f\x8c", b"\x1f\x8b\x07", b"PK", b"\0" * 10])
def test_what_is_no_gzip_is_damaged(header: bytes) -> None:
    assert given(gunzip(), header + bytes(10)) == (b"", "damaged")


@given_data(st.binary(max_size=3000), st.integers(0, 9), st.integers(1, 3000))
def test_gzip_and_deflate_give_what_was_packed(data: bytes, level: int, cut: int) -> None:
    assert given(gunzip(), gzip.compress(data, level), cut) == (data, "")
    for window in (15, 9, -15):
        assert given(inflate(window), zlib.compress(data, level, window), cut) == (data, "")


@given_data(st.binary(max_size=200), st.integers(1, 200))
def test_any_bytes_decode_or_are_damaged(data: bytes, cut: int) -> None:
    for start in (b"", FIXED % 31, FIXED % 0, b"\x78\x9c"):
        for decoder in (gunzip(), inflate(), inflate(-15)):
            assert given(decoder, start + data, cut)[1] in ("", "damaged")


LOOKS_LIKE_ZLIB = b"\x78\x01\0\xfe\xff" + b"1" + zlib.compress(RANDOM, wbits=-15)


@CUTS
@pytest.mark.parametrize("name", ["deflate", "gzip", "x-gzip"])
def test_attack_raw_deflate_that_begins_like_zlib(name: str, cut: int) -> None:
    """Chromium, Firefox and curl try zlib, and then raw deflate from the beginning."""
    found, failed = readings_of(LOOKS_LIKE_ZLIB, name, cut=cut)
    assert b"1" + RANDOM in found
    assert not failed


@CUTS
@pytest.mark.parametrize("label", ["deflate", "gzip"])
def test_attack_label_of_one_format_and_body_of_another(label: str, cut: int) -> None:
    """curl, wget and aria2 take zlib for gzip; aria2 takes gzip for deflate."""
    for packed in (gzip.compress(RANDOM), zlib.compress(RANDOM), zlib.compress(RANDOM, wbits=-15)):
        found, failed = readings_of(packed, label, cut=cut)
        assert RANDOM in found
        assert not failed


def test_attack_client_that_undoes_the_outermost_alone() -> None:
    """wget and aria2 do so with two lines of Content-Encoding."""
    found, failed = readings_of(gzip.compress(RANDOM), "gzip", "gzip")
    assert RANDOM in found
    assert failed
    found, _ = readings_of(gzip.compress(RANDOM), "gzip", "zstd")
    assert RANDOM in found


def test_attack_many_encodings_and_names_that_nobody_knows() -> None:
    """Firefox undoes 16, and passes over what it does not know."""
    sent = RANDOM
    for _ in range(16):
        sent = gzip.compress(sent, 1)
    found, _ = readings_of(sent, "foo", *(["gzip"] * 16), "foo")
    assert found[-1] == RANDOM


def test_attack_second_deflate_stream_is_read_and_junk_is_not() -> None:
    """Firefox reads on when the second comes by itself."""
    for window in (15, -15):
        packed = zlib.compress(RANDOM, wbits=window)
        assert given(inflate(window), packed + zlib.compress(b"more", wbits=window)) == (
            RANDOM + b"more",
            "",
        )
        assert given(inflate(window), packed + b"\xff" * 30) == (RANDOM, "")


def test_attack_readings_that_multiply_are_bounded() -> None:
    sent = RANDOM[:1000]
    for _ in range(16):
        sent = b"\x78\x01\0\xfe\xff" + b"1" + zlib.compress(sent, wbits=-15)
    started = time.process_time()
    found, _ = readings_of(sent, *(["deflate"] * 16), cut=10)
    assert len(found) <= 32 + 16
    assert time.process_time() - started < 2


def test_attack_look_alikes_that_failed_leave_room_for_others() -> None:
    """They counted to the end of the body, and the last layer was read in one format only."""
    sent = RANDOM[:1000]
    for _ in range(15):
        sent = b"\x78\x01\0\xfe\xff" + sent[:1] + zlib.compress(sent[1:], wbits=-15)
    # br whose first bytes are a header of zlib's, for clients that undo deflate alone: one
    # block of 1 MiB that is not compressed.
    size = 0x1001D1
    head = (8 | (size - 1) << 4 | 1 << 28).to_bytes(4, "little")
    sent = head + sent.ljust(size, b"\xff") + b"\3"
    assert is_zlib(sent)
    found, failed = readings_of(sent, *(["deflate"] * 15), "br")
    assert RANDOM[:1000] in found
    assert not failed


def test_long_brotli_is_decoded_once() -> None:
    body = random.Random(9).randbytes(1 << 20) + b"some text " * 100_000
    packed = brotli.compress(body, quality=5)
    assert len(packed) > 3 * 256 * 1024
    once, here = time.process_time(), 0.0
    brotli.Decompressor().process(packed)
    once = time.process_time() - once
    started = time.process_time()
    for _ in unbrotli().feed(packed):
        pass
    here = time.process_time() - started
    assert here < 1.7 * once + 0.02


def test_brotli_gives_all_that_came_however_much_that_is() -> None:
    """Where the room was full and the input at its end, the rest waited for more input."""
    packer = brotli.Compressor(quality=5, lgwin=24)
    packed = packer.process(RANDOM * 50 + b"end") + packer.flush()
    assert b"".join(unbrotli().feed(packed)) == RANDOM * 50 + b"end"


@CUTS
def test_zstd_before_a_damaged_block_is_given(cut: int) -> None:
    packer = zstandard.ZstdCompressor().compressobj()
    packed = packer.compress(RANDOM) + packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    assert given(unzstd(), packed + b"\xff" * 1000, cut) == (RANDOM, "damaged")


@CUTS
@pytest.mark.parametrize("size", [0, 100, 300, 70_000, 3_000_000])
@pytest.mark.parametrize("checksum", [False, True])
def test_zstd_of_any_head_is_decoded(size: int, checksum: bool, cut: int) -> None:
    body = (RANDOM * 30)[:size]
    for has_size in (False, True):
        packer = zstandard.ZstdCompressor(
            level=1, write_checksum=checksum, write_content_size=has_size
        )
        packed = packer.compress(body)
        if cut == 1 and size > 100_000:
            packed, body = packed[:0], b""
        assert given(unzstd(), packed, cut) == (body, "")


def wide(log: int, body: bytes = RANDOM) -> bytes:
    settings = zstandard.ZstdCompressionParameters(window_log=log)
    packer = zstandard.ZstdCompressor(compression_params=settings).compressobj()
    return packer.compress(body) + packer.flush()


@pytest.mark.parametrize("log", [23, 24, 27])
def test_windows_as_wide_as_curl_takes_are_read(log: int) -> None:
    assert given(unzstd(), wide(log)) == (RANDOM, "")


REPEATED = b"".join(b"%04d" % number + RANDOM for number in range(104))
WINDOWS = {"br": brotli.compress(REPEATED, quality=5, lgwin=24), "zstd": wide(27, REPEATED)}


@pytest.mark.parametrize("name", WINDOWS)
def test_attack_windows_share_a_bound(name: str) -> None:
    """Of a body that is still open, and as much as is in use of them."""
    memory = Memory(64 << 20, 32 << 20)
    packed, readings = WINDOWS[name], list[Kept]()

    def begun(client: bytes, sent: bytes) -> Layers:
        layers = Layers((name,), lambda: Kept(readings), memory, client)
        layers.feed(sent, 64 << 20)
        return layers

    open_ones = [begun(b"one", packed[:-1]) for _ in range(3)]
    assert not any(layers.failed for layers in open_ones)
    assert "no memory" in begun(b"one", packed[:-1]).failed
    # Those of others are read, and what is at its end keeps nothing.
    open_ones += [begun(b"two", packed[:-1]) for _ in range(2)]
    whole = [begun(b"two", packed) for _ in range(9)]
    assert not any(layers.failed for layers in open_ones + whole)
    open_ones.clear()
    assert all(memory.take(client, 32 << 20) for client in (b"one", b"two"))


@CUTS
def test_all_that_stands_before_damage_is_given(cut: int) -> None:
    """zlib says that a checksum is wrong and keeps what the same call had decoded."""
    packed = bytearray(zlib.compress(RANDOM))
    packed[-1] ^= 1
    assert given(inflate(), bytes(packed), cut) == (RANDOM, "damaged")


@CUTS
def test_what_was_flushed_before_an_impossible_block_is_given(cut: int) -> None:
    packer = zlib.compressobj(wbits=31)
    packed = packer.compress(RANDOM) + packer.flush(zlib.Z_SYNC_FLUSH) + b"\xff" * 1000
    assert given(gunzip(), packed, cut) == (RANDOM, "damaged")


@pytest.mark.parametrize("size", [1000, 300_000, 3_000_000])
@pytest.mark.parametrize("cut", [1000, 65_536, 1 << 30])
@pytest.mark.parametrize("junk", [b"\0", b"A" * 100_000])
@pytest.mark.slow
def test_attack_junk_behind_brotli_hides_nothing(size: int, cut: int, junk: bytes) -> None:
    """The decoder fails and keeps what the same call had decoded, the file's end."""
    body = (RANDOM * 30)[:size]
    for packed in (brotli.compress(body, quality=1), brotli.compress(body[:900] * 999, quality=5)):
        whole = brotli.decompress(packed)
        assert given(unbrotli(), packed + junk, cut) == (whole, "")


@CUTS
def test_brotli_before_damage_is_given(cut: int) -> None:
    packer = brotli.Compressor(quality=5)
    packed = packer.process(RANDOM) + packer.flush()
    assert given(unbrotli(), packed + b"\xff" * 1000, cut) == (RANDOM, "damaged")


@CUTS
def test_junk_behind_a_zstd_frame_costs_nothing_of_it(cut: int) -> None:
    sent = zstandard.compress(RANDOM) * 2 + b"junk"
    assert given(unzstd(), sent, cut) == (RANDOM * 2, "damaged")


def test_zstd_frames_that_hold_nothing_are_skipped() -> None:
    skipped = b"\x50\x2a\x4d\x18\3\0\0\0abc"
    sent = skipped + zstandard.compress(RANDOM) + skipped * 2 + zstandard.compress(b"")
    assert given(unzstd(), sent) == (RANDOM, "")


def in_zstd(start: bytes, block: bytes, blocks: int) -> bytes:
    packer = zstandard.ZstdCompressor(level=3).compressobj()
    packed = [packer.compress(start), *(packer.compress(block) for _ in range(blocks))]
    return b"".join(packed) + packer.flush()


NAMED = b"\x1f\x8b\x08\x08" + bytes(6)
INNER = {
    "name without end": ("gzip", in_zstd(NAMED, b"A" * (1 << 20), 300)),
    "junk after gzip": ("gzip", in_zstd(gzip.compress(b"x"), b"A" * (1 << 20), 300)),
    "junk after brotli": ("br", in_zstd(brotli.compress(b"x"), b"A" * (1 << 20), 300)),
    "skippable frames": ("zstd", in_zstd(b"", (b"\x50\x2a\x4d\x18" + bytes(4)) * 131_072, 300)),
}


def failure_of(sent: bytes, most: int, *encodings: str) -> str:
    layers = Layers(encodings, lambda: Kept([]), MEMORY)
    for at in range(0, len(sent), 65_536):
        layers.feed(sent[at : at + 65_536], most)
    return layers.failed


@pytest.mark.parametrize(("inner", "sent"), INNER.values(), ids=INNER)
def test_attack_inner_layer_that_grows_and_gives_nothing_is_a_bomb(inner: str, sent: bytes) -> None:
    started = time.process_time()
    assert "grows" in (why := failure_of(sent, 8 << 20, inner, "zstd")) or "many" in why
    assert time.process_time() - started < 2


ZSTD_HEAD = zstandard.ZstdCompressor(write_content_size=False).compress(b"x")[:6]
MUCH = {
    "gzip members": ("gzip", gzip.compress(b"") * 400_000),
    "gzip members of a byte": ("gzip", gzip.compress(b"x", mtime=0) * 400_000),
    "deflate streams": ("deflate", zlib.compress(b"", wbits=-15) * 4_000_000),
    "zlib streams": ("deflate", zlib.compress(b"") * 900_000),
    "zstd frames": ("zstd", zstandard.compress(b"") * 800_000),
    "zstd blocks": ("zstd", ZSTD_HEAD + bytes(8 << 20)),
    "zstd blocks of a byte": ("zstd", ZSTD_HEAD + b"\x08\0\0x" * (2 << 20)),
    "zstd skippable frames": ("zstd", (b"\x50\x2a\x4d\x18" + bytes(4)) * (1 << 20)),
    "br calls": ("br", b"\x0c" + b"\x03".rjust(8 << 20, b"\x06")),
}


@pytest.mark.parametrize(("inner", "sent"), MUCH.values(), ids=MUCH)
@pytest.mark.parametrize("layers", [1, 12])
def test_attack_little_that_takes_many_steps_is_given_up(
    inner: str, sent: bytes, layers: int
) -> None:
    packed = zstandard.compress(sent, 3)
    started = time.process_time()
    why = failure_of(packed, 8 << 20, *(["deflate"] * (layers - 1)), inner, "zstd")
    assert time.process_time() - started < 0.5
    assert why


def test_attack_bytes_that_come_one_by_one_take_no_steps_at_each_layer() -> None:
    """4 KiB in 16 layers, of which one gave a byte at a time, took three seconds."""
    sent = bytes(2000)
    for _ in range(14):
        sent = zlib.compress(sent, 0, wbits=-15)
    members = (gzip.compress(sent[at : at + 1], 0) for at in range(len(sent)))
    sent = gzip.compress(b"".join(members))
    started = time.process_time()
    found, failed = readings_of(sent, *(["deflate"] * 14), "gzip", "gzip")
    assert bytes(2000) in found
    assert not failed
    assert time.process_time() - started < 0.3


def test_file_of_many_small_members_is_decoded() -> None:
    # bgzip makes one for each 64 KiB.
    members = b"".join(gzip.compress(RANDOM[at : at + 100]) for at in range(0, 100_000, 100))
    assert b"".join(gunzip().feed(members)) == RANDOM
