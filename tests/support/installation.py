"""A whole inkgate in a temporary folder that Squid's user can reach."""

from __future__ import annotations

import grp
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inkgate.config.settings_file import load_section
from inkgate.rules.crypto.keys import make_signing_key, make_token, read_token
from inkgate.rules.install.install import open_current
from inkgate.rules.lookup.matcher import Matcher
from inkgate.rules.paths import RulesPaths, rules_paths
from inkgate.rules.refresh.reading import Options
from inkgate.rules.refresh.refresh import Summary, refresh
from inkgate.rules.settings import RulesSettings
from support.waiting import wait_until

# The commands that are tested; tests/packaging has other environments' tested, too.
BIN = Path(os.environ.get("INKGATE_TEST_BIN") or Path(sys.prefix).resolve() / "bin")

SETTINGS = """\
[rules]
sources = ["events"]
publisher = "publisher"
installed = "rules"
token_file = "token"
public_key_file = "publisher.pub"
key_cache = "run/keys"
profiles = { name = "test", ip = "test", url = "test", text = "test" }
warninglists = { default = "off" }
[helper]
fail = "open"
[health]
folder = "run/health"
[sightings]
journal = "run/sightings.db"
node = "proxy.test"
[squid_conf]
organisation = "Example Ltd"
contact = "help <desk@organisation.example> 100%"
pages = "pages"
ttl = 2
negative_ttl = 2
"""


class Quiet:
    """No progress."""

    def start(self, stage: str, total: int | None) -> None:
        pass

    def advance(self, count: int) -> None:
        pass


def attribute(kind: str, value: str, **more: object) -> dict[str, object]:
    """A MISP attribute with a new UUID."""
    return {
        "uuid": str(uuid.uuid4()),
        "type": kind,
        "value": value,
        "to_ids": True,
        "category": "Network activity",
        **more,
    }


class Installation:
    """Settings, keys, events and rules in one folder; removed with `close`."""

    def __init__(self, settings: str = SETTINGS) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="inkgate-test-"))
        if os.getuid() == 0:
            # As the README has it: what is made in here belongs to Squid's group.
            os.chown(self.folder, 0, grp.getgrnam("proxy").gr_gid)
        self.folder.chmod(0o2755)
        self.config = self.folder / "inkgate.toml"
        self.config.write_text(settings)
        self.events = self.folder / "events"
        self.events.mkdir()
        (self.folder / "run").mkdir()
        make_token(self.places.token_file)
        make_signing_key(self.places.publisher, self.places.public_key_file)

    @property
    def settings(self) -> RulesSettings:
        return load_section(self.config, "rules", RulesSettings)

    @property
    def places(self) -> RulesPaths:
        return rules_paths(self.config, self.settings)

    def configure(self, lines: str) -> None:
        """Add lines to the `[rules]` section; a key that is there already is replaced."""
        keys = {line.partition("=")[0].strip() for line in lines.splitlines()}
        kept = [
            line
            for line in self.config.read_text().splitlines()
            if line.partition("=")[0].strip() not in keys
        ]
        text = "\n".join(kept).replace("[rules]", f"[rules]\n{lines}")
        self.config.write_text(text + "\n")

    def add(self, name: str, *attributes: dict[str, object]) -> Path:
        """Write an event file."""
        event = {"id": "7", "uuid": str(uuid.uuid4()), "info": "made up", "date": "2026-01-01"}
        path = self.events / f"{name}.json"
        path.write_text(json.dumps({"Event": {**event, "Attribute": list(attributes)}}))
        return path

    def refresh(self, **options: Any) -> Summary:
        return refresh(self.config, self.settings, Quiet(), Options(**options))

    def matcher(self, now: Callable[[], float] = time.time) -> Matcher:
        where = self.places
        return Matcher(
            open_current(where.installed, self.settings.caps), read_token(where.token_file), now=now
        )

    def run(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of inkgate's commands with this installation's settings."""
        return subprocess.run(
            [BIN / command, "--config", self.config, *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, "COLUMNS": "300"},
        )

    def sightings(self, incident: str) -> list[dict[str, Any]]:
        """What the journal has on an incident, as the command prints it.

        It is written after the answer: a new file, on a disk that others keep busy, takes
        its time.
        """

        def listed() -> str:
            done = self.run("inkgate-sightings", "list", "--json", "--incident", incident)
            assert done.returncode == 0, done.stderr
            return done.stdout

        lines = wait_until(listed, f"{incident} in the journal").splitlines()
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
