"""What a proxy's programs load while they work, in an environment that has everything."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from inkgate.config.extras import MODULES
from support.installation import Installation, attribute

LIBRARIES = {name for modules in MODULES.values() for name in modules} - {"bcrypt"}
# `cryptography` looks for bcrypt, for keys in OpenSSH's format.
PUBLISHER = {
    "inkgate.rules.audit", "inkgate.rules.foreign", "inkgate.rules.match",
    "inkgate.rules.refresh", "inkgate.rules.seal", "inkgate.rules.select",
    "inkgate.rules.sources", "inkgate.sightings.aggregation", "inkgate.sightings.commands",
    "inkgate.sightings.export", "inkgate.sightings.report", "inkgate.squid_conf",
    "multiprocessing", "sqlalchemy",
}  # fmt: skip
OF_NO_HELPER = LIBRARIES | PUBLISHER | {
    "click", "jinja2", "markupsafe", "inkgate.blocked_page", "inkgate.config.command",
    "inkgate.icap_server", "inkgate.rules.commands", "asyncio", "email", "http", "ssl",
    "urllib.request", "shutil", "socket", "tempfile",
    "cryptography.hazmat.primitives.serialization",
}  # fmt: skip
OF_NO_INSTALL = (LIBRARIES | PUBLISHER | {"jinja2", "inkgate.helper", "sqlite3"}) - {
    "multiprocessing"
}
OF_NO_ICAP = (LIBRARIES | PUBLISHER | {"inkgate.helper"}) - {*MODULES["icap"]}

HELPER = """\
import atexit, json, sys
from pathlib import Path
import inkgate.helper.__main__ as helper

def note():
    Path(sys.argv[1]).write_text(json.dumps(sorted(sys.modules)))

atexit.register(note)
helper.main(["--config", sys.argv[2]])
"""
IMPORT = """\
import importlib, json, sys
from pathlib import Path

importlib.import_module(sys.argv[2])
Path(sys.argv[1]).write_text(json.dumps(sorted(sys.modules)))
"""


@pytest.fixture
def listed(installation: Installation) -> Iterator[Installation]:
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    return installation


def loaded(
    folder: Path, program: str, argument: str | Path, text: str = ""
) -> tuple[set[str], str]:
    """The modules that a program has loaded at its end, and what it said."""
    path = folder / "modules.json"
    done = subprocess.run(
        [sys.executable, "-c", program, path, argument],
        input=text,
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=120,
        check=True,
    )
    return set(json.loads(path.read_text())), done.stdout


def among(modules: set[str], names: set[str]) -> set[str]:
    """Those modules that are one of these, or lie below it."""
    return {m for m in modules if any(m == name or m.startswith(f"{name}.") for name in names)}


def test_helper_loads_nothing_that_it_does_not_need(listed: Installation) -> None:
    asked = "1 GET http://listed.example/ 192.0.2.1 - - -\n2 GET http://a.test/ 192.0.2.1 - - -\n"
    modules, said = loaded(listed.folder, HELPER, listed.config, asked)
    assert sorted(line.split()[1] for line in said.splitlines()) == ["ERR", "OK"]
    assert {"inkgate.helper.loop", "lmdb", "msgspec"} <= modules
    assert among(modules, OF_NO_HELPER) == set()


def test_install_loads_nothing_of_the_publishers(tmp_path: Path) -> None:
    modules, _ = loaded(tmp_path, IMPORT, "inkgate.rules.commands.installed")
    assert among(modules, OF_NO_INSTALL) == set()


def test_icap_worker_loads_nothing_of_the_publishers(tmp_path: Path) -> None:
    modules, _ = loaded(tmp_path, IMPORT, "inkgate.icap_server.worker")
    assert among(modules, OF_NO_ICAP) == set()


@pytest.mark.parametrize(
    "group", ["inkgate.rules.cli", "inkgate.sightings.commands.cli", "inkgate.squid_conf.cli"]
)
def test_commands_load_a_subcommand_only_when_it_is_asked_for(tmp_path: Path, group: str) -> None:
    modules, _ = loaded(tmp_path, IMPORT, group)
    assert among(modules, LIBRARIES | {"inkgate.rules.refresh", "inkgate.rules.match"}) == set()


def test_what_is_forbidden_would_be_seen(tmp_path: Path) -> None:
    modules, _ = loaded(tmp_path, IMPORT, "inkgate.rules.refresh.refresh")
    assert among(modules, OF_NO_HELPER) > {"inkgate.rules.refresh.refresh", "inkgate.rules.seal"}
