"""CSV that is small when packed and large when not, and rows that are odd."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from inkgate.config.errors import Unreadable
from inkgate.rules.seal.partition import _grouped
from inkgate.rules.select.indicators import Record
from inkgate.rules.sources.readers.csv_lines import MAX_ROW, NO_CSV
from inkgate.rules.sources.readers.drop_json import NO_NETWORK
from inkgate.rules.sources.readers.misp_csv import NO_TEXT, OTHER_COLUMNS
from inkgate.rules.sources.readers.registry import read_path

HEADERS = {"misp": "uuid,type,value", "columns": "number,other,domain"}
BOUNDED = """
import resource, sys
from pathlib import Path
from inkgate.rules.sources.readers.registry import read_path
read_path(Path(sys.argv[1]))
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + (24 << 20),) * 2)
print(sum(1 for _ in read_path(Path(sys.argv[1]))))
"""
GOOD = b"u,domain,a.example\n"
# 64 MiB, and less of what would take 50 bytes of memory for each of its own.
ROWS = {
    "rows": (b"u" * 1000 + GOOD) * 65_000,
    "blank rows": b"\n" * (1 << 18),
    "row of many fields": b'"u\n",' * (1 << 20) + b'"u"\n',
    "one line": b"u," * (8 << 20) + b"\n",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", HEADERS)
@pytest.mark.parametrize("name", ROWS)
def test_memory_does_not_grow_with_the_file(tmp_path: Path, kind: str, name: str) -> None:
    """130 KB took 4.4 GB."""
    path = tmp_path / "feed.csv.gz"
    data = HEADERS[kind].encode() + b"\n" + GOOD + ROWS[name] + GOOD
    path.write_bytes(gzip.compress(data, 1))
    done = subprocess.run([sys.executable, "-c", BOUNDED, str(path)], capture_output=True,
                          text=True, timeout=300, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= (65_002 if name == "rows" else 2)


LISTED = Record("domain", "name", b"a.example", "name", "a.example", is_url=False, action="block",
                expires=0, fields={"source": "feed.csv"})  # fmt: skip


def test_line_that_a_list_repeats_is_kept_once() -> None:
    """A value that a feed named six million times took gigabytes where it was sealed."""
    same = (msgspec.structs.replace(LISTED) for _ in range(10_000))
    others = [
        msgspec.structs.replace(LISTED, action="log"),
        msgspec.structs.replace(LISTED, expires=7),
        msgspec.structs.replace(LISTED, fields={"source": "other.csv"}),
    ]
    ((key, kept),) = _grouped([*same, *others, *others]).items()
    assert key == ("domain", b"a.example")
    assert kept == [LISTED, *others]


def fates(path: Path) -> Counter[str]:
    return Counter(a.skipped or a.refused or a.value for a in read_path(path))


ODD = {
    "columns": (b"u2,domain,b.example,extra", OTHER_COLUMNS),
    "quote": (b'u2,domain,"b.example"x', NO_CSV),
    "Latin-1 in the value": (b"u2,domain,\xe9.example", NO_TEXT),
    "long field": (b'u2,domain,"' + b"x" * MAX_ROW + b'"', NO_CSV),
    "long row": (b"u2,domain," + b"x," * MAX_ROW, NO_CSV),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_row_costs_itself_alone(tmp_path: Path, name: str) -> None:
    """It cost all rows."""
    row, fate = ODD[name]
    path = tmp_path / "export.csv"
    path.write_bytes(b"uuid,type,value\nu1,domain,a.example\n%b\nu3,domain,c.example\n" % row)
    assert fates(path) == {"a.example": 1, "c.example": 1, fate: 1}


def test_bytes_of_another_encoding_in_a_comment_cost_nothing(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_bytes(b"uuid,type,value,comment\nu1,domain,a.example,\xe9\n")
    (found,) = read_path(path)
    assert (found.value, found.comment) == ("a.example", "?")


@pytest.mark.parametrize("end", [b"u2,domain,b.exa", b'u2,domain,"b.exa\nx\n'])
@pytest.mark.parametrize("kind", HEADERS)
def test_file_that_is_cut_off_gives_nothing(tmp_path: Path, kind: str, end: bytes) -> None:
    path = tmp_path / "export.csv"
    path.write_bytes(HEADERS[kind].encode() + b"\nu1,domain,a.example\n" + end)
    with pytest.raises(Unreadable, match="cut off"):
        next(read_path(path))


NETWORK = json.dumps({"cidr": "192.0.2.0/24", "sblid": "SBL1"}).encode()
NETWORKS = {
    "identifier that is a list": (b'{"cidr":"198.51.100.0/24","sblid":["x"]}', "198.51.100.0/24"),
    "identifier of Latin-1": (b'{"cidr":"198.51.100.0/24","sblid":"\xe9"}', "198.51.100.0/24"),
    "no JSON": (b'{"cidr":', NO_NETWORK),
    "no object": (b"7", NO_NETWORK),
    "no network": (b'{"CIDR":"198.51.100.0/24"}', NO_NETWORK),
    "network that is a list": (b'{"cidr":["198.51.100.0/24"]}', NO_NETWORK),
    "nested too deeply": (b'{"cidr":' + b"[" * 5000 + b"]" * 5000 + b"}", NO_NETWORK),
    "number of 5,000 digits": (b'{"cidr":"198.51.100.0/24","x":' + b"1" * 5000 + b"}",
                               "198.51.100.0/24"),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_odd_line_of_networks_costs_itself_alone(tmp_path: Path, name: str) -> None:
    line, fate = NETWORKS[name]
    path = tmp_path / "drop.json"
    path.write_bytes(NETWORK + b"\n" + line + b"\n" + b'{"type":"metadata"}\n')
    assert fates(path) == {"192.0.2.0/24": 1, fate: 1, "remark or blank": 1}
