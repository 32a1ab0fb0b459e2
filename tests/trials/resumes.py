"""A listed file, fetched in every way in which clients put a file together from parts.

    python tests/trials/resumes.py [--sizes BYTES ...] [--json FILE]

curl, wget, aria2c, Chromium and Firefox are run through a real Squid with inkgate's ICAP
server, over http and over opened https, with `unchecked = "block"` and with `"pass"`. With
`"block"` the file never completes, with `"pass"` in the ways alone that `COMPLETES` names, as
docs/icap.md says ("Bodies"). A file that is not listed completes in every way but those that
the setting forbids, so that it is the listing that stops it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.firefox import firefox_saves
from support.icap_squid import IcapSquid
from support.installation import Installation, attribute
from support.ranges import joined
from support.saved import chromium_saves

LACKING = 77
SIZES = (1_000, 60_000, 500_000, 3 << 20, 16 << 20)
NAME = "files.example"
RESULT = Path(__file__).parents[2] / ".inkgate" / "resumes.json"
_TRIES = 8
_HELD = 1 << 20  # of what is longer, some arrives before it breaks off
_SECONDS = 120

# Ways in which a listed file completes with `unchecked = "pass"`, and from which size on: what
# docs/icap.md says. With "block" there is none. What broke off is remembered, so nobody resumes.
COMPLETES: dict[str, int] = {
    "ranges one by one": 0,
    "several ranges at once": 0,
}
# Which of its parts comes first decides: with "pass" a file that is longer may complete.
MAY_COMPLETE: dict[str, int] = {"aria2c -x4": 1 << 20}


class Source(NamedTuple):
    """Where a file is, and how to get there.

    Attributes:
        url: of the file.
        proxy: Squid's port.
        authority: the file with the CA's certificate.
        size: of the file in bytes.
        folder: empty, for the client.
    """

    url: str
    proxy: int
    authority: Path
    size: int
    folder: Path

    @property
    def saved(self) -> Path:
        return self.folder / "saved"

    def curl(self, *words: str, out: str = "saved") -> bytes:
        """Run curl; what is in its file then."""
        path = self.folder / out
        command = ["curl", "-q", "-s", "-m", str(_SECONDS), "--cacert", str(self.authority)]
        proxy = ["-x", f"http://127.0.0.1:{self.proxy}"]
        _run([*command, *proxy, "-o", str(path), *words, self.url])
        return path.read_bytes() if path.exists() else b""


def _run(command: list[str], cwd: Path | None = None) -> None:
    subprocess.run(command, capture_output=True, timeout=_SECONDS + 30, check=False, cwd=cwd)


def plain(source: Source) -> bytes:
    return source.curl()


def from_byte_zero(source: Source) -> bytes:
    return source.curl("-r", "0-")


def one_by_one(source: Source) -> bytes:
    middle = source.size // 2
    ranges = (f"0-{middle - 1}", f"{middle}-{source.size - 1}")
    return b"".join(source.curl("-r", part, out=f"part{n}") for n, part in enumerate(ranges))


def at_once(source: Source) -> bytes:
    middle = source.size // 2
    return joined(source.curl("-H", f"Range: bytes=0-{middle - 1},{middle}-"))


def curl_resumes(source: Source) -> bytes:
    found = source.curl()
    for _ in range(_TRIES):
        if len(found) >= source.size:
            break
        found = source.curl("-C", "-")
    return found


def wget(source: Source, *words: str) -> bytes:
    proxy = f"http://127.0.0.1:{source.proxy}"
    command = ["wget", "--no-config", "-q", "-T", "20", "--waitretry=1", *words]
    command += ["-e", "use_proxy=yes", "-e", f"http_proxy={proxy}", "-e", f"https_proxy={proxy}"]
    command += [f"--ca-certificate={source.authority}", "-O", str(source.saved), source.url]
    _run(command)
    return source.saved.read_bytes() if source.saved.exists() else b""


def wget_plain(source: Source) -> bytes:
    return wget(source, f"--tries={_TRIES}")


def wget_resumes(source: Source) -> bytes:
    found = b""
    for _ in range(_TRIES):
        found = wget(source, "-c", "--tries=1")
        if len(found) >= source.size:
            break
    return found


def aria2(source: Source) -> bytes:
    for _ in range(2):
        command = ["aria2c", "--no-conf", "-q", "-x4", "-s4", "-k1M", "-c", f"-m{_TRIES}"]
        command += ["--retry-wait=1", f"--all-proxy=http://127.0.0.1:{source.proxy}"]
        command += [f"--ca-certificate={source.authority}", "-d", str(source.folder)]
        _run([*command, "-o", "saved", source.url])
    return source.saved.read_bytes() if source.saved.exists() else b""


def chromium(source: Source) -> bytes:
    return chromium_saves(source.url, source.proxy, source.folder)


def firefox(source: Source) -> bytes:
    found, resumed = firefox_saves(source.url, source.proxy, source.folder)
    # What broke off is taken up again: else nothing was tried. Below that the page comes at once.
    assert resumed or len(found) == source.size or source.size < _HELD, "Firefox resumed nothing"
    return found


WAYS: dict[str, tuple[str, Callable[[Source], bytes]]] = {
    "curl": ("curl", plain),
    "from byte 0": ("curl", from_byte_zero),
    "ranges one by one": ("curl", one_by_one),
    "several ranges at once": ("curl", at_once),
    "curl -C -": ("curl", curl_resumes),
    "wget": ("wget", wget_plain),
    "wget -c": ("wget", wget_resumes),
    "aria2c -x4": ("aria2c", aria2),
    "chromium": ("chromium", chromium),
    "firefox": ("firefox-esr", firefox),
}
# What `unchecked = "block"` keeps from everybody: parts have no digest.
FORBIDDEN = ("ranges one by one", "several ranges at once")


class Row(NamedTuple):
    """One way, one file."""

    unchecked: str
    scheme: str
    way: str
    size: int
    listed: bool
    completes: bool
    bytes: int


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="in bytes")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--json", type=Path, default=RESULT, help="where the result goes")
    options = parser.parse_args()
    missing = {WAYS[way][0] for way in options.ways if not shutil.which(WAYS[way][0])}
    if missing:
        print(f"needs {', '.join(sorted(missing))}")
        sys.exit(LACKING)
    rows = [
        row
        for unchecked in ("block", "pass")
        for row in with_setting(unchecked, options.sizes, options.ways)
    ]
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps([row._asdict() for row in rows], indent=1) + "\n")
    found = [text for row in rows if (text := wrong(row))]
    print(*found, sep="\n")
    sys.exit(1 if found else 0)


def wrong(row: Row) -> str:
    """What is not as it must be."""
    if row.listed and row.unchecked == "pass" and row.size > MAY_COMPLETE.get(row.way, row.size):
        return ""
    if row.listed:
        least = COMPLETES.get(row.way) if row.unchecked == "pass" else None
        must = least is not None and row.size > least
    else:
        must = row.unchecked == "pass" or row.way not in FORBIDDEN
    return "" if row.completes == must else f"{'completes' if row.completes else 'broken'}: {row}"


def with_setting(unchecked: str, sizes: list[int], ways: list[str]) -> list[Row]:
    """All ways with one value of the setting."""
    draw = random.Random(20)
    files = {(size, listed): draw.randbytes(size) for size in sizes for listed in (True, False)}
    installation = Installation()
    digests = [hashlib.sha256(body).hexdigest() for (_, listed), body in files.items() if listed]
    installation.add("listed", *(attribute("sha256", digest) for digest in digests))
    installation.refresh()
    squid = IcapSquid(installation, bump="full", settings=f'unchecked = "{unchecked}"\n')
    try:
        # Each way has a URL and an ETag of its own: what was blocked is remembered by them.
        for origin in (squid.origin, squid.secure):
            for way in ways:
                for (size, listed), body in files.items():
                    path = _path(way, size, listed=listed)
                    origin.files[path] = (body, _fields(path))
        return [
            _tried(squid, unchecked, scheme, way, size, listed, body)
            for (size, listed), body in files.items()
            for scheme in ("http", "https")
            for way in ways
        ]
    finally:
        squid.close()
        installation.close()


def _path(way: str, size: int, *, listed: bool) -> str:
    return f"/{list(WAYS).index(way)}-{'listed' if listed else 'clean'}-{size}.bin"


def _fields(path: str) -> dict[str, str]:
    tag = hashlib.sha256(path.encode()).digest()
    return {
        "Accept-Ranges": "bytes",
        "ETag": f'"{tag.hex()}"',
        "Last-Modified": formatdate(1_700_000_000 + int.from_bytes(tag[:3]), usegmt=True),
        "Content-Type": "application/octet-stream",
    }


def _tried(
    squid: IcapSquid, unchecked: str, scheme: str, way: str, size: int, listed: bool, body: bytes
) -> Row:
    port = squid.origin.port if scheme == "http" else squid.secure.port
    url = f"{scheme}://{NAME}:{port}{_path(way, size, listed=listed)}"
    with tempfile.TemporaryDirectory(prefix="inkgate-resumes-") as folder:
        source = Source(url, squid.port, squid.authority, size, Path(folder))
        got = WAYS[way][1](source)
    row = Row(unchecked, scheme, way, size, listed, got == body, len(got))
    print(*row, flush=True)
    return row


if __name__ == "__main__":
    main()
