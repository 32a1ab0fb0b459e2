"""Plain lists, typed and guessed, as they lie about in the wild."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from inkgate.config.errors import Unreadable
from inkgate.rules.sources.readers.plain_list import guess_type, read_plain_list
from support.installation import Installation

LINES = [
    ("bad.example", "domain", "bad.example"),
    (".sub.bad.example", "domain", ".sub.bad.example"),
    ("bad[.]example", "domain", "bad[.]example"),
    ("0.0.0.0 hosts.example", "domain", "hosts.example"),
    ("127.0.0.1\thosts.example", "domain", "hosts.example"),
    ("192.0.2.7", "ip-dst", "192.0.2.7"),
    ("192.0.2.0/24", "ip-dst", "192.0.2.0/24"),
    ("2001:db8::7", "ip-dst", "2001:db8::7"),
    ("192.0.2.7:8080", "ip-dst|port", "192.0.2.7|8080"),
    ("[2001:db8::7]:8080", "ip-dst|port", "2001:db8::7|8080"),
    ("bad.example:8080", "hostname|port", "bad.example|8080"),
    ("http://bad.example/x", "url", "http://bad.example/x"),
    ("bad.example/x", "url", "bad.example/x"),
    ("hxxp://bad[.]example/x", "url", "hxxp://bad[.]example/x"),
    ("/just/a/path.php", "uri", "/just/a/path.php"),
    ("AB" * 16, "md5", "AB" * 16),
    ("ab" * 20, "sha1", "ab" * 20),
    ("ab" * 32, "sha256", "ab" * 32),
    ("someone@bad.example", "email", "someone@bad.example"),
    ("user-agent\tEvil Bot/1.0", "user-agent", "Evil Bot/1.0"),
    ("bad.example # seen last week", "domain", "bad.example"),
    ("what is this", "", "what is this"),
]


@pytest.mark.parametrize(("line", "kind", "value"), LINES)
def test_line(tmp_path: Path, line: str, kind: str, value: str) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(f"\ufeff# a remark\r\n\r\n; another\n{line}\r\n".encode())
    (attribute,) = read_plain_list(path)
    assert (attribute.type, attribute.value) == (kind, value)
    assert (attribute.source, attribute.place, attribute.to_ids) == ("list.txt", "list.txt:4", True)


def test_given_type_is_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("bad.example\n")
    (attribute,) = read_plain_list(path, "hostname")
    assert attribute.type == "hostname"


@pytest.mark.parametrize(
    ("suffix", "pack"), [(".gz", gzip.compress), (".xz", lzma.compress), (".bz2", bz2.compress)]
)
def test_compressed(tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]) -> None:
    whole = tmp_path / f"list.txt{suffix}"
    whole.write_bytes(pack(b"".join(b"host%d.example\n" % n for n in range(5000))))
    assert len(list(read_plain_list(whole))) == 5000
    cut = tmp_path / f"cut.txt{suffix}"
    cut.write_bytes(whole.read_bytes()[:-12])
    with pytest.raises(Unreadable, match=r"cut\.txt"):
        next(read_plain_list(cut))


@pytest.mark.parametrize(
    "text", ["", ".", "..", "1.2.3", "host", "\0", "a b", "::", "[]:1", "x" * 9]
)
def test_guess_never_raises(text: str) -> None:
    assert isinstance(guess_type(text), str)


def test_endless_line_is_cut_and_refused(installation: Installation) -> None:
    (installation.events / "list.txt").write_text("a" * 1_000_000 + "\nbad.example\n")
    summary = installation.refresh()
    assert summary.rules - summary.canaries == 1
    assert summary.report.total("refused") >= 1


@pytest.mark.slow
def test_a_list_is_enough_to_block(installation: Installation) -> None:
    """What a Squid operator without a MISP has: one file, one indicator a line."""
    (installation.events / "list.txt").write_text("bad.example\n192.0.2.7\nwhat is this\n")
    done = installation.run("inkgate-rules", "refresh")
    assert done.returncode == 0, done.stderr
    assert "refused: 1 (" in done.stderr
    assert "list.txt:3" in done.stderr
    assert "what is this" not in done.stderr
    found = installation.run("inkgate-rules", "match", "domain=www.bad.example")
    assert found.returncode == 0
    assert "source=list.txt" in found.stdout


@pytest.mark.slow
def test_typed_list_from_the_settings(installation: Installation) -> None:
    (installation.folder / "hosts").write_text("bad.example\n")
    installation.configure(
        'sources = [{ type = "list", path = "hosts", indicator_type = "hostname" }]'
    )
    installation.refresh()
    assert installation.run("inkgate-rules", "match", "hostname=bad.example").returncode == 0
    assert installation.run("inkgate-rules", "match", "domain=bad.example").returncode == 1
