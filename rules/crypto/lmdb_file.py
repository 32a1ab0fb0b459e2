"""LMDB files: what LMDB itself does not check."""

from __future__ import annotations

from pathlib import Path

import lmdb


def is_whole(env: lmdb.Environment, path: Path) -> bool:
    """Whether every page is there: reading past the end of a mapped file ends the process."""
    pages: int = env.info()["last_pgno"] + 1
    page_size: int = env.stat()["psize"]
    return path.stat().st_size >= pages * page_size
