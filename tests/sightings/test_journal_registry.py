"""The table of the journal's back-ends: what each entry must keep, and that none is forgotten."""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from inkgate.config.settings_file import SettingsError, load_section
from inkgate.sightings.journal import backends
from inkgate.sightings.journal.backends.backend import JournalBackend
from inkgate.sightings.journal.backends.registry import (
    BACKENDS,
    backend_of,
    own_file,
    reported_file,
)
from inkgate.sightings.journal.journal import Journal
from inkgate.sightings.report.reporter import drain
from inkgate.sightings.settings import SightingsSettings
from support.redis_server import RedisServer
from support.registry_copy import copy_sources
from support.reporting import sighting

ROOT = Path(__file__).resolve().parents[2]
TABLE = "sightings/journal/backends/registry.py"
REGISTRY = "inkgate.sightings.journal.backends.registry"
TEST = "tests/sightings/test_journal_registry.py"
EACH = pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)


@contextlib.contextmanager
def redis() -> Iterator[str]:
    with RedisServer() as server:
        yield server.url


def file() -> AbstractContextManager[str]:
    return contextlib.nullcontext("sightings.db")


# What `journal` is set to for each back-end, while whatever it needs is running.
VALUES = {"a SQLite file": file, "a Redis stream": redis}


def settings_of(folder: Path, journal: str) -> tuple[Path, SightingsSettings]:
    config = folder / "inkgate.toml"
    config.write_text(
        f'[sightings]\njournal = "{journal}"\nspool = "spool.db"\ncollected = "collected.db"\n'
    )
    return config, load_section(config, "sightings", SightingsSettings)


@EACH
def test_what_a_proxy_records_comes_into_the_file_that_is_reported(
    backend: JournalBackend, tmp_path: Path
) -> None:
    with VALUES[backend.name]() as journal:
        config, settings = settings_of(tmp_path, journal)
        assert backend_of(config, settings) is backend
        own, reported = own_file(config, settings), reported_file(config, settings)
        assert own
        assert reported
        Journal(own).append([sighting(["u"], incident=f"IG-{n}") for n in range(3)])
        if backend.relay is not None:
            assert own != reported
            assert drain(config, settings, print, threading.Event(), follow=False) == 3
            step = backend.relay.collect(config, settings, Journal(reported))
            while step():
                pass
        assert [s.incident for s in Journal(reported).read()] == ["IG-0", "IG-1", "IG-2"]


@EACH
def test_every_scheme_is_in_the_documentation(backend: JournalBackend) -> None:
    page = (ROOT / "docs/settings.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith("| `journal` |"))
    assert all(f"`{scheme}://" in row for scheme in backend.schemes)
    assert backend.schemes or "SQLite" in row


def test_no_two_back_ends_have_a_scheme_in_common() -> None:
    schemes = [scheme for backend in BACKENDS for scheme in backend.schemes or (None,)]
    assert len(set(schemes)) == len(schemes)


@pytest.mark.parametrize("journal", ["amqp://h/0", "rabbit+redis://h", "://h"])
def test_a_url_of_no_back_end_is_refused(tmp_path: Path, journal: str) -> None:
    config, settings = settings_of(tmp_path, journal)
    with pytest.raises(SettingsError, match=r"there is no back-end for .* redis://, rediss://$"):
        own_file(config, settings)


def test_an_empty_journal_has_no_files(tmp_path: Path) -> None:
    config, settings = settings_of(tmp_path, "")
    assert own_file(config, settings) is None
    assert reported_file(config, settings) is None


def test_every_back_end_of_the_room_is_in_the_table() -> None:
    made = {
        found.name
        for module in pkgutil.iter_modules(backends.__path__, f"{backends.__name__}.")
        for found in vars(importlib.import_module(module.name)).values()
        if isinstance(found, JournalBackend)
    }
    assert made == {backend.name for backend in BACKENDS}


@pytest.mark.slow
def test_an_entry_without_a_reported_file_fails_mypy(tmp_path: Path) -> None:
    copy = copy_sources(tmp_path)
    assert copy.mypy(REGISTRY) == []
    copy.replace(
        TABLE,
        "    REDIS_STREAM,\n",
        "    REDIS_STREAM,\n    JournalBackend(name='dummy', schemes=('dummy',), relay=None,\n"
        "    own_file=REDIS_STREAM.own_file),\n",
    )
    said = copy.mypy(REGISTRY)
    assert any('Missing positional argument "reported_file"' in line for line in said)


@pytest.mark.slow
def test_an_entry_that_nobody_tries_or_describes_fails(tmp_path: Path) -> None:
    copy = copy_sources(tmp_path)
    dummy = "SQLITE_FILE._replace(name='dummy', schemes=('dummy',)),"
    copy.replace(TABLE, "    REDIS_STREAM,\n", f"    REDIS_STREAM,\n    {dummy}\n")
    said = copy.pytest(TEST, "-k", "dummy")
    assert "KeyError: 'dummy'" in said
    assert "2 failed" in said


@pytest.mark.slow
def test_an_entry_whose_relay_is_forgotten_fails(tmp_path: Path) -> None:
    copy = copy_sources(tmp_path)
    copy.replace(TABLE, "    REDIS_STREAM,\n)", "    REDIS_STREAM._replace(relay=None),\n)")
    assert "1 failed" in copy.pytest(TEST, "-k", "comes_into_the_file and Redis")


@pytest.mark.slow
def test_a_back_end_that_is_left_out_of_the_table_fails(tmp_path: Path) -> None:
    copy = copy_sources(tmp_path)
    copy.replace(TABLE, "    REDIS_STREAM,\n)", ")")
    assert "1 failed" in copy.pytest(TEST, "-k", "every_back_end_of_the_room")
