"""Files with a key or a password: what would be sent with it is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from inkgate.config.errors import Unreadable
from inkgate.config.secret import read_secret

KEY = "k" * 40
REFUSED = {
    "nothing": (b" \n", "is empty"),
    "a byte order mark": (b"\xef\xbb\xbf" + KEY.encode(), "byte order mark"),
    "a second line": (f"{KEY}\n# of the reader\n".encode(), "second line"),
    "an old second line": (f"{KEY}\rmore".encode(), "second line"),
    "UTF-16": (KEY.encode("utf-16-le"), "UTF-16"),
    "UTF-16 that says so": (KEY.encode("utf-16"), "is not text"),
    "too much": (b"k" * 4097, "longer than 4096 bytes"),
}


@pytest.mark.parametrize(("content", "problem"), REFUSED.values(), ids=REFUSED)
def test_file_that_holds_more_than_a_secret(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "misp.key"
    path.write_bytes(content)
    with pytest.raises(Unreadable, match=problem) as told:
        read_secret(path, "INKGATE_NO_SUCH_KEY", "misp.example")
    assert "misp.key" in str(told.value)
    assert KEY not in str(told.value)


@pytest.mark.parametrize("content", [KEY, f"{KEY}\n", f" {KEY}\r\n\n", "k" * 4096])
def test_file_that_holds_a_secret(tmp_path: Path, content: str) -> None:
    path = tmp_path / "misp.key"
    path.write_text(content, newline="")
    assert read_secret(path, "INKGATE_NO_SUCH_KEY", "misp.example") == content.strip()
