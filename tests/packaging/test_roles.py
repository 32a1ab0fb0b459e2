"""Each role's commands run with what its lock file installs, and nothing else.

Peers are ports on which nobody listens: a command has loaded all that it needs when it
says that they cannot be reached. A library that is missing would be a traceback.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from functools import cache

import pytest

from support.icap import Icap, http_request, reqmod
from support.installation import BIN, SETTINGS, Installation, attribute
from support.squid import free_port
from support.venvs import LOCKS, ROOT, Built, Venv

pytestmark = pytest.mark.slow

Role = Callable[[str], Venv]


@pytest.fixture(scope="module")
def role(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Role:
    """Makes the environment of a role, once."""

    @cache
    def make(name: str) -> Venv:
        made = Venv(tmp_path_factory.mktemp(name) / "venv", LOCKS / f"{name}.txt")
        made.install(built.wheel)
        return made

    return make


@pytest.fixture
def listed(installation: Installation) -> Iterator[Installation]:
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    return installation


def seen(installation: Installation) -> None:
    """Have the helper block something, so that there is a sighting."""
    request = b"1 GET http://listed.example/ 192.0.2.1 - - -\n"
    command = [BIN / "inkgate-helper", "--config", installation.config]
    done = subprocess.run(command, input=request, capture_output=True, check=True)
    assert done.stdout.startswith(b"1 OK ")


def said(done: subprocess.CompletedProcess[str], status: int) -> str:
    text = done.stdout + done.stderr
    assert "Traceback" not in text
    assert "not installed" not in text
    assert done.returncode == status, text
    return text


def test_publisher(role: Role, installation: Installation) -> None:
    port = free_port()
    (installation.folder / "secret").write_text("x" * 40)
    misp = f'url = "https://127.0.0.1:{port}", key_file = "secret"'
    more = (
        f'{{ type = "feed", location = "https://127.0.0.1:{port}/feed" }}',
        f'{{ type = "misp-web", {misp}, retries = 1, first_wait = 0.0 }}',
        f'{{ type = "misp-mysql", port = {port}, password_file = "secret" }}',
    )
    text = SETTINGS.replace('"events"', f'"events", {", ".join(more)}')
    # MISP's own warninglists, which come with a package.
    installation.config.write_text(text.replace('warninglists = { default = "off" }\n', ""))
    installation.add("listed", attribute("domain", "listed.org"), attribute("domain", "google.com"))
    venv = role("publisher")
    rules = "inkgate-rules", "--config", installation.config
    text = said(venv.run(*rules, "refresh"), 1)
    for fault in (
        "/feed/manifest.json: cannot be downloaded",
        f"127.0.0.1:{port}: does not answer",
        f"mysql:127.0.0.1:{port}/misp: cannot be reached",
    ):
        assert fault in text
    assert "dropped: 1" in text
    said(venv.run(*rules, "match", "domain=listed.org"), 0)
    said(venv.run(*rules, "match", "domain=google.com"), 1)
    out = str(installation.folder / "partner")
    said(venv.run(*rules, "export-foreign", "--format", "thesis-pbkdf2", out), 1)


def test_stix(role: Role, installation: Installation) -> None:
    bundle = {
        "type": "bundle",
        "id": f"bundle--{uuid.uuid4()}",
        "objects": [
            {
                "type": "indicator",
                "spec_version": "2.1",
                "id": f"indicator--{uuid.uuid4()}",
                "created": "2026-01-01T00:00:00.000Z",
                "modified": "2026-01-01T00:00:00.000Z",
                "pattern": "[domain-name:value = 'stix.example']",
                "pattern_type": "stix",
                "valid_from": "2026-01-01T00:00:00Z",
            }
        ],
    }
    path = installation.events / "bundle.json"
    path.write_text(json.dumps(bundle))
    program = (
        "import sys; from pathlib import Path\n"
        "from inkgate.rules.sources.readers.registry import read_path\n"
        "print([a.value for a in read_path(Path(sys.argv[1]))])"
    )
    assert "stix.example" in said(role("stix").run("python", "-c", program, path), 0)


@pytest.mark.parametrize("command", ["report", "drain"])
def test_sightings(role: Role, listed: Installation, command: str) -> None:
    port = free_port()
    (listed.folder / "secret").write_text("x" * 40)
    journal = 'journal = "run/sightings.db"'
    config = listed.config.read_text()
    misp = (
        f'[sightings.misp]\nurl = "https://127.0.0.1:{port}"\nkey_file = "secret"\nattempts = 1\n'
    )
    shared = f'journal = "redis://127.0.0.1:{port}/0"\nspool = "run/sightings.db"'
    if command == "report":
        listed.config.write_text(config + misp)
    else:
        listed.config.write_text(config.replace(journal, shared))
    seen(listed)
    venv = role(command)
    text = said(venv.run("inkgate-sightings", "--config", listed.config, command), 1)
    assert "what is left waits for the next run" in text or "waiting 1" in text
    said(venv.run("python", "-c", "import redis"), 0)


def test_match(role: Role, listed: Installation) -> None:
    venv = role("match")
    rules = "inkgate-rules", "--config", listed.config, "match"
    log = listed.folder / "access.log"
    log.write_text('{"time": 1, "url": "http://listed.example/"}\n')
    program = (
        "import sys, zstandard; from pathlib import Path; log = Path(sys.argv[1])\n"
        "log.with_suffix('.zst').write_bytes(zstandard.compress(log.read_bytes()))"
    )
    said(venv.run("python", "-c", program, log), 0)
    assert "domain" in said(venv.run(*rules, log.with_suffix(".zst")), 0)
    url = f"redis://127.0.0.1:{free_port()}/0"
    assert "ConnectionError" in said(venv.run(*rules, "--redis", url, "--redis-list", "lines"), 2)
    said(venv.run("python", "-c", "import bcrypt"), 0)


@pytest.mark.parametrize("protocol", ["masked", "shi"])
def test_aggregation(role: Role, protocol: str) -> None:
    program = ROOT / "tests" / "aggregation" / "test_end_to_end.py"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", program,
         "-k", f"test_totals_in_misp and {protocol}"],
        env={**os.environ, "INKGATE_TEST_BIN": str(role("aggregation").bin)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


def test_audit(role: Role, listed: Installation) -> None:
    picture = listed.folder / "plot.svg"
    done = role("audit").run("inkgate-rules", "--config", listed.config, "audit", "--plot", picture)
    assert "Time to try all candidates" in said(done, 0)
    assert picture.read_text().startswith("<?xml")


def test_icap(role: Role, listed: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("support.icap.BIN", role("icap").bin)
    server = Icap(listed)
    try:
        assert server.ask(reqmod(http_request("http://listed.example/"))).http_status == 403
    finally:
        server.close()
    assert server.process.returncode in (0, -signal.SIGTERM)
