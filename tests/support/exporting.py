"""A journal, what is exported of it, and the command between them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from inkgate.sightings.journal.journal import Journal
from inkgate.sightings.journal.sighting import Sighting
from support.installation import BIN

DAY = 86_400
# Midnight, so that what is about days is easy to say; not long ago, so that all is kept.
MORNING = float((int(time.time()) // DAY - 7) * DAY)
QUICK = "first_wait = 0.01\nlongest_wait = 0.05\n"
ATTRIBUTE = "5f0c0a57-6d4c-4c3c-9a6e-000000000001"
OTHER = "5f0c0a57-6d4c-4c3c-9a6e-000000000002"


class Exporting:
    """Settings with exports in a temporary folder; the commands run as processes.

    Args:
        exports: the tables `[[sightings.export]]`, without their heads.
        sightings: further lines of `[sightings]`.
        more: further sections.
        folder: where all of it lies.
    """

    def __init__(
        self, *exports: str, sightings: str = "", more: str = "", folder: Path | None = None
    ) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix="inkgate-export-"))
        self.journal = Journal(self.folder / "sightings.db", busy_timeout=60)
        self.config = self.folder / "inkgate.toml"
        journal = "" if "journal =" in sightings else 'journal = "sightings.db"\n'
        tables = "\n".join(f"[[sightings.export]]\n{QUICK}{export}" for export in exports)
        self.config.write_text(
            f'[health]\nfolder = "health"\n'
            f'[sightings]\n{journal}node = "proxy1"\nclients_key_file = "clients.key"\n'
            f'spool = "sightings.db"\ncollected = "collected.db"\n{sightings}\n{tables}\n{more}\n'
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.journal.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def saw(self, *attributes: str, **more: Any) -> Sighting:
        """Journal a match."""
        found = match(*attributes, **more)
        self.journal.append([found])
        return found

    def run(self, *arguments: str, status: int = 0) -> str:
        """Run `inkgate-sightings`; what it printed."""
        done = subprocess.run(
            self.command(*arguments), capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def export(self, status: int = 0) -> str:
        return self.run("export", status=status)

    def command(self, *arguments: str) -> list[str | Path]:
        return [BIN / "inkgate-sightings", "--config", self.config, *arguments]

    @contextmanager
    def following(self, log: Path) -> Iterator[subprocess.Popen[bytes]]:
        """`export --follow`, ended after the `with`."""
        with log.open("ab") as errors:
            process = subprocess.Popen(self.command("export", "--follow"), stderr=errors)
        try:
            yield process
        finally:
            process.terminate()
            assert process.wait(60) == 0, log.read_text()

    def rows(self) -> dict[str, dict[str, Any]]:
        """`inkgate status`, by name."""
        done = subprocess.run(
            [BIN / "inkgate", "--config", self.config, "status", "--json"],
            capture_output=True,
            text=True,
            check=False,
            env=dict(os.environ),
        )
        return {row["name"]: row for row in json.loads(done.stdout)["rows"]}

    def bundles(self, folder: str = "stix") -> list[dict[str, Any]]:
        """What is in a folder of bundles, the oldest first."""
        paths = sorted((self.folder / folder).iterdir(), key=lambda p: p.stat().st_mtime_ns)
        return [json.loads(path.read_text()) for path in paths]


def match(*attributes: str, moment: float = MORNING, **more: Any) -> Sighting:
    """A match as the recorder journals it."""
    return Sighting(
        **{
            "time": moment, "incident": f"IG-{uuid.uuid4().hex[:10].upper()}",
            "indicator_class": "domain", "attributes": attributes, "client": "192.0.2.7",
            "method": "GET", "action": "block", "node": "proxy1",
            "events": ("12",) * len(attributes), **more,
        }
    )  # fmt: skip


def lines(path: Path) -> list[dict[str, Any]]:
    """The documents of a file of JSON lines, each of which is whole."""
    text = path.read_text()
    assert text.endswith("\n") or not text
    return [json.loads(line) for line in text.splitlines()]
