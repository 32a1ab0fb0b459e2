"""The tables of sources and of file formats: complete, and strict about the settings."""

from __future__ import annotations

import importlib
import os
import pkgutil
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from inkgate.config.settings_file import SettingsError
from inkgate.rules import sources
from inkgate.rules.install.outcome import OUTCOME
from inkgate.rules.sources import readers
from inkgate.rules.sources.files import Files
from inkgate.rules.sources.last_good import LastGood
from inkgate.rules.sources.misp_feed import Feed
from inkgate.rules.sources.misp_mysql import MispMysql
from inkgate.rules.sources.misp_web import MispWeb
from inkgate.rules.sources.readers.file_format import FileFormat
from inkgate.rules.sources.readers.registry import FILE_FORMATS
from inkgate.rules.sources.registry import SOURCE_TYPES, open_sources, read_entries
from inkgate.rules.sources.source import SourceContext, SourceType
from inkgate.rules.sources.taxii import Taxii
from inkgate.rules.sources.typed_list import TypedList
from support.installation import Installation, attribute
from support.registry_copy import copy_sources

TABLE = "rules/sources/registry.py"
REGISTRY = "inkgate.rules.sources.registry"
TEST = "tests/sources/test_source_registry.py"
TYPES = "type is one of files, list, feed, misp-web, misp-mysql, taxii"
GOOD = {"type": "feed", "location": "feed"}

# A type of source as somebody would add it: this file, and one line in the table.
DUMMY = """
from collections.abc import Iterator
from typing import Final
import msgspec
from inkgate.config.errors import Unreadable
from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.source import Origin, SourceContext, SourceType

class DummySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="dummy"):
    value: str

class Dummy:
    origin: Origin = "file"
    def __init__(self, value: str) -> None:
        self._value = value
    def read(self, faults: list[Unreadable]) -> Iterator[Attribute]:
        yield Attribute(type="domain", value=self._value, uuid="", to_ids=True)
    def remembered(self, faults: list[Unreadable]) -> Iterator[Attribute]:
        yield from ()

def _open(settings: DummySettings, context: SourceContext) -> Dummy:
    return Dummy(settings.value)

SOURCE: Final = SourceType(DummySettings, _open)
"""

USE = """
from inkgate.rules.sources.last_good import LastGood
from inkgate.rules.sources.registry import open_sources, read_entries
from inkgate.rules.sources.source import SourceContext

def test_dummy(tmp_path):
    entries = read_entries(tmp_path, [{"type": "dummy", "value": "listed.example"}])
    (source,) = open_sources(entries, SourceContext(tmp_path, tmp_path, LastGood(tmp_path)))
    assert [a.value for a in source.read([])] == ["listed.example"]
"""


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"type": "feed"}, "Object missing required field `location`; correct that key"),
        ({**GOOD, "tmeout": 3}, "Object contains unknown field `tmeout`; did you mean timeout?"),
        ({**GOOD, "timeout": "long"}, ", timeout: Expected `int`, got `str`; correct that key"),
        ({"type": "misp-web", "url": "ftp://x"}, "url begins with https://; correct that key"),
        (
            {"type": "misp-web", "url": "https://x", "types": ["a", 7]},
            ", types[1]: Expected `str`, got `int`; correct that key",
        ),
        ({"type": "nope"}, f", type: Invalid value 'nope'; {TYPES}"),
        ({"type": 7}, f", type: Expected `str`, got `int`; {TYPES}"),
        ({"type": ["list"]}, f", type: Expected `str`, got `list`; {TYPES}"),
        ({"location": "feed"}, f"Object missing required field `type`; {TYPES}"),
        ({}, f"Object missing required field `type`; {TYPES}"),
    ],
)
def test_wrong_entry_is_one_line_with_file_entry_key_and_remedy(
    entry: dict[str, object], said: str
) -> None:
    with pytest.raises(SettingsError) as raised:
        read_entries(Path("/etc/inkgate.toml"), ["events", GOOD, entry])
    separator = "" if said.startswith(",") else ": "
    assert str(raised.value) == f"/etc/inkgate.toml: [[rules.sources]] entry 3{separator}{said}"


def test_wrong_entry_ends_a_refresh_before_anything_is_changed(installation: Installation) -> None:
    installation.add("one", attribute("domain", "listed.example"))
    installation.refresh()
    before = _stats(installation)
    installation.configure('sources = ["events", {type = "feed", locaton = "feed"}]')
    exported = installation.folder / "exported"
    export = ["export-foreign", "--format", "thesis-pbkdf2", str(exported)]
    for arguments in (["refresh"], export):
        done = installation.run("inkgate-rules", *arguments)
        assert done.returncode == 2
        assert done.stderr == (
            f"inkgate-rules: {installation.config}: [[rules.sources]] entry 2: "
            "Object contains unknown field `locaton`; did you mean location?\n"
        )
    assert _stats(installation) == before
    assert not exported.exists()


def _stats(installation: Installation) -> list[tuple[Path, os.stat_result]]:
    """All that a refresh may change, but for the record of how it ended."""
    (installation.places.installed / OUTCOME).unlink(missing_ok=True)
    places = (installation.places.publisher, installation.places.installed / "generations")
    return [(path, path.stat()) for place in places for path in sorted(place.rglob("*"))]


def test_each_entry_opens_its_source_and_paths_are_one(tmp_path: Path) -> None:
    entries = read_entries(
        tmp_path / "inkgate.toml",
        [
            {"type": "list", "path": "a.txt", "indicator_type": "domain"},
            "b",
            {"type": "misp-web", "url": "https://misp.example"},
            "c",
            GOOD,
            {"type": "misp-mysql"},
            {"type": "taxii", "url": "https://taxii.example/"},
            {"type": "files", "paths": ["d"]},
        ],
    )
    context = SourceContext(tmp_path, tmp_path / "state", LastGood(tmp_path / "copies"))
    opened = [type(source) for source in open_sources(entries, context)]
    assert opened == [Files, TypedList, MispWeb, Feed, MispMysql, Taxii, Files]


def test_state_of_a_source_lies_where_it_always_did(tmp_path: Path) -> None:
    context = SourceContext(tmp_path, tmp_path / "state", LastGood(tmp_path / "copies"))
    path = context.state_path("https://misp.example", ".db")
    assert path == tmp_path / "state" / "31753a86a9a96662.db"


def declared(package: ModuleType, kind: type) -> set[int]:
    """Which objects of a kind the modules of a package declare."""
    modules = pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
    return {
        id(value)
        for module in modules
        for value in vars(importlib.import_module(module.name)).values()
        if isinstance(value, kind)
    }


def test_every_source_of_the_room_is_in_the_table() -> None:
    assert declared(sources, SourceType) == {id(kind) for kind in SOURCE_TYPES}
    assert len({kind.settings.__struct_config__.tag for kind in SOURCE_TYPES}) == len(SOURCE_TYPES)


def test_every_format_of_the_room_is_in_the_table() -> None:
    assert declared(readers, FileFormat) == {id(form) for form in FILE_FORMATS}


@pytest.mark.slow
def test_source_that_is_added_as_one_file_and_one_line_is_read(tmp_path: Path) -> None:
    copy = copy_sources(tmp_path)
    (copy.folder / "rules/sources/dummy.py").write_text(
        f"from __future__ import annotations\n{DUMMY}"
    )
    copy.replace(TABLE, "import files, ", "import dummy, files, ")
    copy.replace(TABLE, "    misp_mysql.SOURCE,\n", "    misp_mysql.SOURCE,\n    dummy.SOURCE,\n")
    assert copy.mypy(REGISTRY, "inkgate.rules.sources.dummy") == []
    assert copy.pytest(TEST, "-k", "every_source_of_the_room") == ""
    # What is missing is its part of the documentation.
    assert "1 failed" in copy.pytest("tests/sources/test_settings_page.py", "-k", "on_the_page")
    (copy.folder / "test_dummy.py").write_text(USE)
    assert copy.pytest("test_dummy.py") == ""


@pytest.mark.slow
def test_source_without_a_way_to_open_it_fails_mypy(tmp_path: Path) -> None:
    copy = copy_sources(tmp_path)
    assert copy.mypy(REGISTRY) == []
    copy.replace(TABLE, "typed_list.SOURCE,\n", "SourceType(typed_list.ListSettings),\n")
    assert any('Missing positional argument "open"' in line for line in copy.mypy(REGISTRY))


@pytest.mark.slow
def test_source_that_is_opened_by_anothers_way_fails_mypy(tmp_path: Path) -> None:
    copy = copy_sources(tmp_path)
    module, feed = "inkgate.rules.sources.misp_feed", "rules/sources/misp_feed.py"
    assert copy.mypy(module) == []
    line = "from inkgate.rules.sources.last_good import LastGood\n"
    copy.replace(feed, line, f"{line}from inkgate.rules.sources.typed_list import _open as other\n")
    copy.replace(feed, "SourceType(FeedSettings, _open)", "SourceType(FeedSettings, other)")
    assert any('Argument 2 to "SourceType"' in line for line in copy.mypy(module))


@pytest.mark.slow
def test_source_that_is_left_out_of_the_table_fails(tmp_path: Path) -> None:
    copy = copy_sources(tmp_path)
    copy.replace(TABLE, "    misp_web.SOURCE,\n", "")
    assert "1 failed" in copy.pytest(TEST, "-k", "every_source_of_the_room")


@pytest.mark.slow
def test_format_without_a_reader_fails_mypy(tmp_path: Path) -> None:
    copy = copy_sources(tmp_path)
    table = "rules/sources/readers/registry.py"
    dummy = 'FileFormat("dummy", (".dummy",), bool),'
    copy.replace(table, "    stix.FORMAT,\n", f"    stix.FORMAT,\n    {dummy}\n")
    found = copy.mypy("inkgate.rules.sources.readers.registry")
    assert any('Missing positional argument "read"' in line for line in found)


@pytest.mark.slow
def test_format_that_is_left_out_of_the_table_fails(tmp_path: Path) -> None:
    copy = copy_sources(tmp_path)
    copy.replace("rules/sources/readers/registry.py", "    misp_csv.FORMAT,\n", "")
    assert "1 failed" in copy.pytest(TEST, "-k", "every_format_of_the_room")


@pytest.mark.parametrize("source", SOURCE_TYPES, ids=lambda s: s.settings.__name__)
def test_settings_of_every_source_refuse_a_key_that_they_do_not_know(
    source: SourceType[msgspec.Struct],
) -> None:
    """A misspelt key that is passed over is a setting that silently does not hold."""
    assert source.settings.__struct_config__.forbid_unknown_fields
