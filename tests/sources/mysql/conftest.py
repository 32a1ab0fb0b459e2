"""A MISP's database in a real MariaDB."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.certificates import self_signed
from support.mariadb import PASSWORD, MariaDb


@pytest.fixture(scope="module")
def certificate() -> Iterator[tuple[str, str]]:
    """A certificate, which is its own authority, and its key; the server can read both."""
    folder = Path(tempfile.mkdtemp(prefix="inkgate-certificate-"))
    folder.chmod(0o755)
    paths = self_signed(folder)
    for path in paths:
        Path(path).chmod(0o644)
    yield paths
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def server(certificate: tuple[str, str]) -> Iterator[MariaDb]:
    made = MariaDb(f"--ssl-cert={certificate[0]}", f"--ssl-key={certificate[1]}")
    yield made
    made.close()


@pytest.fixture
def misp(server: MariaDb) -> MariaDb:
    """A MISP with one published event (id 1) and nothing in it."""
    server.empty()
    server.add("organisations", name="Example Org", uuid=str(uuid.uuid4()))
    server.add("users", email="reader@misp.example")
    server.add("events", uuid="e1", info="made up event")
    return server


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INKGATE_MYSQL_PASSWORD", PASSWORD)
