"""What runs with the base alone, as on a proxy; and what says in one line that it needs more."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from inkgate.config.extras import Extra, remedy
from support.installation import SETTINGS, Installation, attribute
from support.status import complaints
from support.venvs import LOCKS, Venv, locked

pytestmark = pytest.mark.slow

PERIOD = ["--period", "2026-01-01", "--list", "list"]
# The commands that need more than the base, with arguments that they would take.
NEEDED: list[tuple[Extra, str, list[str]]] = [
    ("publisher", "inkgate-rules", ["refresh"]),
    ("publisher", "inkgate-rules", ["publish", "--for", "other"]),
    ("publisher", "inkgate-rules", ["export-foreign", "--format", "thesis-pbkdf2", "out"]),
    ("publisher", "inkgate-squid-conf", ["run", "--state", "trial"]),
    ("report", "inkgate-sightings", ["report"]),
    ("report", "inkgate-sightings", ["false-positive", "IG-1"]),
    ("report", "inkgate-sightings", ["export"]),
    ("drain", "inkgate-sightings", ["drain"]),
    ("aggregation", "inkgate-sightings", ["setup", "g", "--uuids", "list", "--serial", "1"]),
    ("aggregation", "inkgate-sightings", ["deal", "--group", "list", "--folder", "keys"]),
    ("aggregation", "inkgate-sightings", ["encrypt", "g", *PERIOD]),
    ("aggregation", "inkgate-sightings", ["aggregate", "g", *PERIOD]),
    ("aggregation", "inkgate-sightings", ["publish", "g", *PERIOD, "--uuids", "list"]),
    ("icap", "inkgate-icap", []),
    ("audit", "inkgate-rules", ["audit", "--plot", "plot.svg"]),
    ("match", "inkgate-rules", ["match", "log.zst"]),
    ("match", "inkgate-rules", ["match", "--redis-list", "lines"]),
]  # fmt: skip

ALL_HELP = """\
import sys
from importlib import import_module
import click
from inkgate.config.extras import MODULES
from click.testing import CliRunner
for place in ("rules.cli", "sightings.commands.cli", "squid_conf.cli", "admin.cli"):
    group = import_module(f"inkgate.{place}").main
    told = CliRunner().invoke(group, ["--help"])
    assert told.exit_code == 0, told.output
    names = group.list_commands(click.Context(group))
    assert names
    for name in names:
        assert f"\\n  {name} " in told.output, name
        done = CliRunner().invoke(group, ["--config", "/nowhere", name, "--help"])
        assert done.exit_code == 0, (name, done.output, done.exception)
        assert group.get_command(click.Context(group), name).name == name
        print(place, name)
loaded = {m for modules in MODULES.values() for m in modules} & sys.modules.keys()
assert not loaded, loaded
"""


@pytest.fixture(scope="module")
def publisher() -> Iterator[Installation]:
    """Rules that were made with everything installed."""
    made = Installation()
    made.add(
        "listed",
        attribute("domain", "listed.example"),
        attribute("url", "http://files.example/bad"),
        attribute("ip-dst", "198.51.100.66"),
    )
    made.refresh()
    yield made
    made.close()


@pytest.fixture
def proxy(publisher: Installation, base: Venv) -> Iterator[Installation]:
    """A proxy without anything of the publisher's but token, public key and a pack."""
    made = Installation(SETTINGS.replace('sources = ["events"]\n', ""))
    shutil.rmtree(made.places.publisher)
    for name in ("token", "publisher.pub"):
        shutil.copy2(publisher.folder / name, made.folder / name)
    exported = publisher.run("inkgate-rules", "export", str(made.folder / "pack.inkgate"))
    assert exported.returncode == 0, exported.stderr
    done = base.run(
        "inkgate-rules", "--config", made.config, "install", made.folder / "pack.inkgate"
    )
    assert (done.returncode, done.stderr) == (0, "")
    yield made
    made.close()


def test_it_holds_what_the_base_lock_names(base: Venv) -> None:
    held = {path.name.split("-")[0].lower().replace("_", "-")
            for path in base.site_packages.glob("*.dist-info")}  # fmt: skip
    assert held == {name.replace("_", "-") for name in locked(LOCKS / "base.txt")} | {"inkgate"}


def test_helper_blocks(base: Venv, proxy: Installation) -> None:
    asked = (
        "1 GET http://www.listed.example/ 192.0.2.1 - - -\n"
        "2 GET http://files.example/bad 192.0.2.1 - - -\n"
        "3 GET http://fine.example/ 192.0.2.1 - - -\n"
        "4 GET http://198.51.100.66/ 192.0.2.1 - - -\n"
    )
    done = base.run("inkgate-helper", "--config", proxy.config, text=asked)
    assert (done.returncode, complaints(done.stderr)) == (0, [])
    answers = {line.split()[0]: line.split()[1] for line in done.stdout.splitlines()}
    assert answers == {"1": "OK", "2": "OK", "3": "ERR", "4": "OK"}

    listed = base.run("inkgate-sightings", "--config", proxy.config, "list", "--json")
    records = [json.loads(line) for line in listed.stdout.splitlines()]
    assert sorted(record["class"] for record in records) == ["domain", "ip-dst", "url"]
    incident = records[0]["incident"]
    shown = base.run("inkgate-sightings", "--config", proxy.config, "show", incident)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert records[0]["class"] in shown.stdout
    for command in ("status", "prune", "refused", "list"):
        done = base.run("inkgate-sightings", "--config", proxy.config, command)
        assert (done.returncode, done.stderr) == (0, "")


def test_what_is_installed_can_be_inspected_and_asked(base: Venv, proxy: Installation) -> None:
    rules = "inkgate-rules", "--config", proxy.config
    done = base.run(*rules, "inspect")
    assert (done.returncode, done.stderr) == (0, "")
    assert "class        rules  bytes\ndomain       2      " in done.stdout
    assert base.run(*rules, "match", "domain=listed.example").returncode == 0
    assert base.run(*rules, "match", "domain=fine.example").returncode == 1
    log = proxy.folder / "access.log"
    log.write_text('{"time": 1, "url": "http://listed.example/"}\n')
    done = base.run(*rules, "match", log)
    assert done.returncode == 0, done.stderr
    assert "domain" in done.stdout


def test_squids_side_is_written(base: Venv, proxy: Installation) -> None:
    squid = "inkgate-squid-conf", "--config", proxy.config
    done = base.run(*squid, "pages")
    assert (done.returncode, done.stderr) == (0, "")
    pages = [Path(line).read_text() for line in done.stdout.splitlines()]
    assert len(pages) == 3
    assert all('href="mailto:desk@organisation.example?' in page for page in pages)
    assert "external_acl_type" in base.run(*squid, "fragment").stdout
    assert "http_port" in base.run(*squid, "minimal").stdout
    assert "icap_service" in base.run(*squid, "--icap").stdout


def test_every_subcommand_shows_its_help(base: Venv, tmp_path: Path) -> None:
    (tmp_path / "help.py").write_text(ALL_HELP)
    done = base.run("python", tmp_path / "help.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) >= 30
    for command in ("inkgate-helper", "inkgate-icap"):
        assert base.run(command, "--help").returncode == 0


@pytest.mark.parametrize(
    ("extra", "command", "arguments"), NEEDED, ids=[f"{c} {' '.join(a)}" for _, c, a in NEEDED]
)
def test_command_without_its_extra_says_so_in_one_line(
    base: Venv, proxy: Installation, extra: str, command: str, arguments: list[str]
) -> None:
    (proxy.folder / "list").write_text("\n")
    # An empty frame.
    (proxy.folder / "log.zst").write_bytes(bytes.fromhex("28b52ffd2000010000"))
    done = base.run(command, "--config", proxy.config, *arguments, folder=proxy.folder)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if "0 lines in" not in line]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith(f"{command}: ")
    assert lines[0].endswith(f", which is not installed; {remedy(extra)}")
    if arguments and "match" not in arguments and "audit" not in arguments:
        assert lines[0].startswith(f"{command}: {arguments[0]} needs ")
