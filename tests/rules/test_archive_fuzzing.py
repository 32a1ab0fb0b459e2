"""Whatever bytes come as a pack: a PackError and nothing else, and nothing is replaced."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from inkgate.rules.crypto.keys import read_public_key, read_token
from inkgate.rules.errors import PackError
from inkgate.rules.install.archive import export_pack, install_archive
from inkgate.rules.install.serials import current_folder
from inkgate.rules.install.ustar import read_members
from support.installation import Installation, attribute

pytestmark = pytest.mark.slow

BLOCK = 512
# Fields of a header by their place (pax(1), "ustar Interchange Format").
FIELDS = {
    "name": (0, 100),
    "mode": (100, 8),
    "uid": (108, 8),
    "gid": (116, 8),
    "size": (124, 12),
    "mtime": (136, 12),
    "typeflag": (156, 1),
    "linkname": (157, 100),
    "magic": (257, 8),
    "uname": (265, 32),
    "gname": (297, 32),
    "devmajor": (329, 8),
    "devminor": (337, 8),
    "prefix": (345, 155),
}


@pytest.fixture(scope="module")
def made() -> Iterator[Installation]:
    made = Installation()
    made.add("listed", attribute("domain", "listed.example"))
    made.refresh()
    yield made
    made.close()


@pytest.fixture(scope="module")
def archive(made: Installation) -> bytes:
    target = io.BytesIO()
    export_pack((made.places.publisher / "pack").resolve(), target)
    return target.getvalue()


def refused(made: Installation, data: bytes) -> None:
    where = made.places
    current = current_folder(where.installed)
    with pytest.raises(PackError):
        install_archive(
            io.BytesIO(data),
            where.installed,
            key=read_public_key(where.public_key_file),
            caps=made.settings.caps,
            token=read_token(where.token_file),
            now=datetime.now(UTC),
        )
    assert current_folder(where.installed) == current
    assert not list(where.installed.glob(".unpacked-*"))


def content(archive: bytes) -> list[tuple[str, bytes]] | None:
    """What a reader gets out of an archive; None if it refuses it."""
    try:
        return [(m.name, b"".join(m.chunks)) for m in read_members(io.BytesIO(archive))]
    except tarfile.TarError:
        return None


def with_checksum(header: bytes) -> bytes:
    """The header with the checksum that it ought to have, so that a reader goes on."""
    blank = header[:148] + b" " * 8 + header[156:]
    return blank[:148] + b"%06o\0 " % sum(blank) + blank[156:]


def with_field(archive: bytes, field: str, value: bytes) -> bytes:
    start, length = FIELDS[field]
    header = archive[:start] + value[:length].ljust(length, b"\0") + archive[start + length : BLOCK]
    return with_checksum(header) + archive[BLOCK:]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize(
    "value", [b"\xff\xfe", b"\xe9t\xe9", b"\x80" + b"\xff" * 11, b"\xff" * 12, b"-1", b"9" * 12]
)
def test_every_field_of_a_header(
    made: Installation, archive: bytes, field: str, value: bytes
) -> None:
    changed = with_field(archive, field, value)
    # What a reader does not look at may say anything.
    if content(changed) != content(archive):
        refused(made, changed)


def test_name_in_another_encoding_is_one_line(made: Installation, archive: bytes) -> None:
    file = made.folder / "foreign.inkgate"
    file.write_bytes(with_field(archive, "uname", "Zoë".encode("latin-1")))
    done = made.run("inkgate-rules", "install", str(file))
    assert done.returncode == 2
    assert done.stderr == (
        "inkgate-rules: bad-digest: the archive is damaged (a header that is not ASCII); "
        "get it again\n"
    )


@given(data=st.data())
@examples(max_examples=300)
def test_changed_bytes(made: Installation, archive: bytes, data: st.DataObject) -> None:
    changed = bytearray(archive)
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, BLOCK - 1) | st.integers(0, len(changed) - 1))
        changed[at] ^= data.draw(st.integers(1, 255))
    head = bytes(changed[:BLOCK])
    if data.draw(st.booleans()):
        head = with_checksum(head)
    candidate = head + bytes(changed[BLOCK:])
    if content(candidate) != content(archive):
        refused(made, candidate)


@given(noise=st.binary(max_size=4 * BLOCK))
@examples(max_examples=200)
def test_noise(made: Installation, noise: bytes) -> None:
    refused(made, noise)
    refused(made, with_checksum(noise.ljust(BLOCK, b"\0")[:BLOCK]) + noise)


@given(cut=st.integers(0, 1 << 16))
@examples(max_examples=50)
def test_cut_off(made: Installation, archive: bytes, cut: int) -> None:
    end = len(archive.rstrip(b"\0"))
    refused(made, archive[: min(cut, end - 1)])
