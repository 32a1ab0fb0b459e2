"""The table of log formats: what each entry must keep, and that none is forgotten."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import pytest

from inkgate.rules.match import logs
from inkgate.rules.match.input.chunks import Chunker
from inkgate.rules.match.logs.clean_log_parts import CleanLogParts
from inkgate.rules.match.logs.entry import Entry
from inkgate.rules.match.logs.log_format import LogFormat
from inkgate.rules.match.logs.registry import AUTO, DESCRIBED, FORMATS, choices, guess, open_reader
from support.logs import access_line
from support.registry_copy import copy_sources

ROOT = Path(__file__).resolve().parents[2]
TABLE = "rules/match/logs/registry.py"
REGISTRY = "inkgate.rules.match.logs.registry"
TEST = "tests/match/test_log_registry.py"

# The beginning of a log of each format: its header, if it has one, and two requests.
SAMPLES = {
    "json": ['{"url": "http://a.example/"}', '{"url": "http://b.example/"}'],
    "zeek": [
        "#separator \\x09",
        "#fields\tid.orig_h\thost\turi",
        "192.0.2.9\ta.example\t/",
        "192.0.2.9\tb.example\t/",
    ],
    "squid": [access_line("http://a.example/"), access_line("http://b.example/")],
    "common": [
        f'192.0.2.9 - - [14/Nov/2023:22:13:20 +0000] "GET http://{host}/ HTTP/1.1" 200 2326'
        for host in ("a.example", "b.example")
    ],
    "combined": [
        f'192.0.2.9 - - [14/Nov/2023:22:13:20 +0000] "GET http://{host}/ HTTP/1.1" 200 2326 '
        '"http://c.example/" "agent"'
        for host in ("a.example", "b.example")
    ],
}
EACH = pytest.mark.parametrize("entry", FORMATS, ids=lambda entry: entry.name)


@EACH
def test_first_lines_show_the_format_and_no_other(entry: LogFormat) -> None:
    lines = SAMPLES[entry.name]
    assert guess(lines) == entry.name
    shown = {other.name for other in FORMATS for line in lines if other.recognises(line)}
    assert shown == {entry.name}


@EACH
def test_any_cut_into_chunks_reads_the_same_requests(entry: LogFormat) -> None:
    lines = SAMPLES[entry.name] * 3
    text = "".join(f"{line}\n" for line in lines).encode()
    for size in (len(text), 200, 60, 11, 1):
        chunker = Chunker("log", AUTO)
        read: list[Entry | None] = []
        for start in range(0, len(text), size):
            for chunk in chunker.feed(text[start : start + size]):
                reader = open_reader(chunk.format, chunk.header)
                read += (
                    found
                    for _, found in reader.entries_to_look_up(chunk.text.decode(), CleanLogParts(9))
                )
        hosts = [found.uri.split("/")[2] if found else None for found in read]
        assert hosts == ["a.example", "b.example"] * 3, size


@EACH
def test_the_format_is_in_the_documentation_and_in_the_help(entry: LogFormat) -> None:
    page = (ROOT / "docs/matching.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert any(f"`{entry.name}`" in row.split("|")[1] for row in rows)
    assert entry.name in choices()


def test_every_format_of_the_room_is_in_the_table() -> None:
    made = {
        found.name
        for module in pkgutil.iter_modules(logs.__path__, f"{logs.__name__}.")
        for found in vars(importlib.import_module(module.name)).values()
        if isinstance(found, LogFormat)
    }
    assert made == {entry.name for entry in (*FORMATS, DESCRIBED)}
    assert len({entry.name for entry in FORMATS}) == len(FORMATS)


@pytest.mark.slow
def test_an_entry_without_a_reader_fails_mypy(tmp_path: Path) -> None:
    copy = copy_sources(tmp_path)
    assert copy.mypy(REGISTRY) == []
    dummy = 'LogFormat(name="dummy", recognises=bool, last_header=no_header),'
    copy.replace(TABLE, "    squid_log.SQUID,\n", f"    squid_log.SQUID,\n    {dummy}\n")
    copy.replace(TABLE, "import LogFormat\n", "import LogFormat, no_header\n")
    assert any('Missing positional argument "open_reader"' in line for line in copy.mypy(REGISTRY))


@pytest.mark.slow
def test_an_entry_that_nobody_tests_or_describes_fails(tmp_path: Path) -> None:
    copy = copy_sources(tmp_path)
    assert copy.pytest(TEST, "-k", "first_lines or chunks or documentation") == ""
    copy.replace(
        TABLE,
        "squid_log.SQUID,\n",
        'squid_log.SQUID,\n    squid_log.SQUID._replace(name="dummy"),\n',
    )
    said = copy.pytest(TEST, "-k", "dummy")
    assert "KeyError: 'dummy'" in said
    assert "3 failed" in said


@pytest.mark.slow
def test_a_format_whose_header_is_forgotten_fails(tmp_path: Path) -> None:
    copy = copy_sources(tmp_path)
    copy.replace(
        "rules/match/logs/zeek_log.py",
        "ZeekLog(header), last_header)",
        "ZeekLog(header), lambda _text, _before: b'')",
    )
    assert "1 failed" in copy.pytest(TEST, "-k", "chunks and zeek")


@pytest.mark.slow
def test_a_format_that_is_left_out_of_the_table_fails(tmp_path: Path) -> None:
    copy = copy_sources(tmp_path)
    copy.replace(TABLE, "    zeek_log.ZEEK,\n", "")
    assert "1 failed" in copy.pytest(TEST, "-k", "every_format_of_the_room")
