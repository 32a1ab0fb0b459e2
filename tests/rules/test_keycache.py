"""The key cache saves work and decides nothing, whatever is on the disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inkgate.rules.crypto.key_cache import KeyCache

SET = "00" * 16


def fill(folder: Path, count: int = 200) -> Path:
    cache = KeyCache(folder, SET)
    cache.put_many([("name", b"host%d" % n, bytes([n % 256]) * 32) for n in range(count)])
    cache.close()
    (path,) = folder.glob("*.mdb")
    return path


def test_what_was_put_is_there_after_a_restart(tmp_path: Path) -> None:
    fill(tmp_path)
    cache = KeyCache(tmp_path, SET)
    assert cache.get("name", b"host7") == bytes([7]) * 32
    assert cache.get("ip", b"host7") is None


@pytest.mark.slow
def test_file_that_another_process_makes_larger_is_not_cut_off(tmp_path: Path) -> None:
    """Its size was asked for before what it needs, which another process may change meanwhile."""
    path = fill(tmp_path, 1)
    code = (
        "import sys; from pathlib import Path\n"
        "from inkgate.rules.crypto.key_cache import KeyCache\n"
        "for n in range(40):\n"
        f"    cache = KeyCache(Path(sys.argv[1]), {SET!r})\n"
        "    for m in range(100): cache.put_many([('name', b'%d/%d' % (n, m), bytes(32))])\n"
        "    cache.close()\n"
    )
    cache = KeyCache(tmp_path, SET)
    writers = [subprocess.Popen([sys.executable, "-c", code, tmp_path]) for _ in range(3)]
    try:
        while any(writer.poll() is None for writer in writers):
            for _ in range(200):
                assert cache.get("name", b"host0") == bytes(32)
    finally:
        for writer in writers:
            if writer.poll() is None:
                writer.kill()
            writer.wait()
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert [*tmp_path.glob("*.mdb")] == [path]


@pytest.mark.parametrize("pages", [1, 2, 3])
def test_cut_off_file_is_begun_anew(tmp_path: Path, pages: int) -> None:
    """LMDB maps the file: reading past its end would kill the helper, and then the next one."""
    path = fill(tmp_path)
    os.truncate(path, pages * 4096)
    cache = KeyCache(tmp_path, SET)
    assert cache.get("name", b"host7") is None
    cache.put_many([("name", b"host7", b"x" * 32)])
    assert cache.get("name", b"host7") == b"x" * 32


def test_changed_bytes_are_not_believed(tmp_path: Path) -> None:
    path = fill(tmp_path)
    path.write_bytes(path.read_bytes().replace(bytes([7]) * 32, bytes([8]) * 32))
    cache = KeyCache(tmp_path, SET)
    assert cache.get("name", b"host7") is None
    assert cache.get("name", b"host8") == bytes([8]) * 32


def test_entry_of_another_value_is_not_believed(tmp_path: Path) -> None:
    cache = KeyCache(tmp_path, SET)
    cache.put_many([("name", b"one", b"1" * 32)])
    index, other = cache.index("name", b"one"), cache.index("name", b"two")
    with cache._env.begin(write=True) as txn:
        txn.put(other, txn.get(index))
    assert cache.get("name", b"two") is None


def test_another_start_of_the_machine_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut may leave anything in a file that was not flushed."""
    fill(tmp_path)
    monkeypatch.setattr("inkgate.rules.crypto.key_cache._boot", lambda: "other")
    cache = KeyCache(tmp_path, SET)
    assert cache.get("name", b"host7") is None
    assert [path.name for path in tmp_path.glob("*.mdb")] == [f"{SET}.other.mdb"]


def test_full_cache_starts_anew_and_goes_on(tmp_path: Path) -> None:
    cache = KeyCache(tmp_path, SET, limit=64 * 1024)
    for n in range(3000):
        cache.put_many([("name", b"host%d" % n, b"x" * 32)])
    assert cache.get("name", b"host2999") == b"x" * 32
