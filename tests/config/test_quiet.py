"""What a timer runs with --quiet says nothing when nothing changed, and something when it did."""

from __future__ import annotations

import pytest

from support.installation import Installation, attribute

pytestmark = pytest.mark.slow


def said(installation: Installation, *words: str, command: str = "inkgate-rules") -> str:
    done = installation.run(command, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_refresh(installation: Installation) -> None:
    installation.add("one", attribute("domain", "listed.example"), attribute("domain", "no name"))
    first = said(installation, "refresh", "-q")
    assert "refused: 1" in first
    assert said(installation, "refresh", "-q") == ""
    assert "refused: 1" in said(installation, "refresh")
    installation.add("two", attribute("domain", "other name"))
    assert "refused: 2" in said(installation, "refresh", "--quiet")
    assert said(installation, "refresh", "--quiet") == ""


def test_refresh_with_a_source_that_is_not_read(installation: Installation) -> None:
    installation.add("one", attribute("domain", "listed.example"))
    (installation.events / "bad.json").write_text("{")
    for _ in range(2):
        done = installation.run("inkgate-rules", "refresh", "-q")
        assert (done.returncode, done.stdout) == (1, "")
        assert "not read: " in done.stderr


def test_install(installation: Installation) -> None:
    installation.add("one", attribute("domain", "listed.example"))
    installation.refresh()
    pack = str(installation.folder / "pack.inkgate")
    said(installation, "export", pack)
    assert said(installation, "install", "-q", pack) == ""
    assert said(installation, "install", pack).startswith("kept serial 1 with ")
    (installation.folder / "rules/current").unlink()
    assert said(installation, "install", "-q", pack).startswith("installed serial 1 with ")


def test_publish(installation: Installation) -> None:
    (installation.folder / "other.token").write_bytes(b"kF9xQ2pL7vB3nM8wkF9xQ2pL7vB3nM8zR")
    text = installation.config.read_text()
    section = '[rules.subscribers.other]\ntoken_file = "other.token"\n'
    installation.config.write_text(text.replace("[helper]", section + "[helper]"))
    installation.add("one", attribute("domain", "listed.example"))
    words = ("publish", "--for", "other", "-q", "-o", str(installation.folder / "out"))
    assert "other-0000000001.inkgate" in said(installation, *words)
    assert said(installation, *words) == ""


@pytest.mark.parametrize("command", ["report", "prune"])
def test_sightings(installation: Installation, command: str) -> None:
    text = installation.config.read_text()
    more = '[sightings.misp]\nurl = "http://127.0.0.1:9"\nkey_variable = "HOME"\n'
    installation.config.write_text(text + more)
    # It makes the journal.
    said(installation, "report", command="inkgate-sightings")
    assert said(installation, command, command="inkgate-sightings") != ""
    assert said(installation, command, "-q", command="inkgate-sightings") == ""
