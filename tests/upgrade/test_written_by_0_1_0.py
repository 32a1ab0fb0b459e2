"""What version 0.1.0 wrote goes on unchanged under this one.

The archive was made by tools/make_upgrade_fixture.py with the commands of 0.1.0:
installed rules and packs, keys, key cache, last good copies of every kind of source, journal
and outbox, Squid's lines, blocked page and settings.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from inkgate.rules.crypto.keys import make_token
from inkgate.rules.lookup.canary_rules import installed_canaries
from support.configured_squid import ConfiguredSquid
from support.helper_process import HelperProcess
from support.installation import BIN, Installation
from support.misp import Misp, MispServer

ARCHIVE = Path(__file__).with_name("written-by-0.1.0.tar.xz")


class Written(Installation):
    """The folder that 0.1.0 left, as if this machine had not been started again since."""

    def __init__(self) -> None:
        super().__init__()
        for path in self.folder.iterdir():
            if path.is_file():
                path.unlink()
        (self.folder / "events").rmdir()
        unpack = ["tar", "-xJf", ARCHIVE, "-C", self.folder, "--strip-components=1"]
        subprocess.run(unpack, check=True)
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
        for path in (self.folder / "run" / "keys").glob("*.mdb*"):
            set_id, _, ending = path.name.split(".", 2)
            path.rename(path.with_name(f"{set_id}.{boot}.{ending}"))
        self.written: dict[str, Any] = json.loads((self.folder / "written.json").read_text())
        self._follow_to_this_folder()
        for path in (self.folder, *self.folder.rglob("*")):
            shutil.chown(path, group="proxy")

    def _follow_to_this_folder(self) -> None:
        """Name the last good copies by where their files lie now, as 0.1.0 names them."""
        copies = self.folder / "publisher" / "last-good"
        for path in self.folder.rglob("*"):
            place = path.relative_to(self.folder)
            then, now = (
                hashlib.sha256(os.fsencode(folder / place)).hexdigest()[:32] + path.suffix
                for folder in (Path(self.written["folder"]), self.folder)
            )
            if (copies / then).exists():
                (copies / then).rename(copies / now)

    def incidents(self) -> list[dict[str, Any]]:
        done = self.run("inkgate-sightings", "list", "--json")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def old() -> Iterator[Written]:
    made = Written()
    yield made
    made.close()


def test_verdicts_are_the_same_and_the_key_cache_spares_every_derivation(old: Written) -> None:
    asked: dict[str, str] = old.written["asked"]
    helper = HelperProcess(old)
    try:
        answers = helper.ask(*asked)
        derivations = helper.derivations
    finally:
        said = helper.close()
    assert [a.decode() for a in answers] == list(asked.values())
    assert {"OK", "ERR"} == set(asked.values())
    assert derivations == 0
    assert "cache" not in said


def test_without_its_key_cache_every_name_would_be_derived(old: Written) -> None:
    for path in (old.folder / "run" / "keys").glob("*.mdb"):
        path.unlink()
    helper = HelperProcess(old)
    try:
        helper.ask(*old.written["asked"])
        assert helper.derivations > 0
    finally:
        helper.close()


def test_installed_set_is_read_as_it_was(old: Written) -> None:
    done = old.run("inkgate-rules", "inspect", "--json")
    assert json.loads(done.stdout) == old.written["manifest"]


def test_refresh_finds_nothing_new_but_the_canaries(old: Written) -> None:
    """The MISP of the fixture is away: its last reading counts, as does the feed's."""
    done = old.run("inkgate-rules", "refresh")
    assert done.returncode == 1, done.stderr
    assert "not read: 127.0.0.1:9" in done.stderr
    numbers = _numbers(done.stdout)
    assert numbers["sealed again"] == numbers["removed"] == "0"
    # The sets of the fixture are padded: canaries take the place of dummies.
    assert numbers["rules"].endswith(f" ({numbers['new']} of them canaries)")
    serial = old.written["manifest"]["serial"]
    assert numbers["serial"] == f"{serial + 1}"
    again = _numbers(old.run("inkgate-rules", "refresh").stdout)
    assert again["derived"] == again["new"] == again["removed"] == "0"
    assert again["serial"] == f"{serial + 1} (unchanged)"


def test_old_set_has_no_canary_and_the_next_one_has(old: Written) -> None:
    assert not installed_canaries(old.config).any
    old.run("inkgate-rules", "refresh")
    held = installed_canaries(old.config)
    digests = {"md5", "sha1", "sha256", "filename|sha256"} & set(old.written["manifest"]["classes"])
    assert held == (True, True, True, bool(digests))


def test_last_good_copies_stand_in_for_every_file(old: Written) -> None:
    """All files are damaged or gone at once; what they listed stays listed."""
    for path in (*old.events.iterdir(), *(old.folder / "feed").iterdir()):
        path.write_bytes(b"{")
    (old.folder / "names.txt").unlink()
    done = old.run("inkgate-rules", "refresh")
    assert done.returncode == 1, done.stderr
    assert _numbers(done.stdout)["removed"] == "0"
    assert done.stderr.count("not read") >= 5


def test_next_refresh_goes_on_from_the_old_serial_and_epoch(old: Written) -> None:
    old.add("new", {"uuid": "0c0ffee0-0000-4000-8000-000000000001", "type": "domain",
                    "value": "new.example", "to_ids": True})  # fmt: skip
    done = old.run("inkgate-rules", "refresh")
    numbers = _numbers(done.stdout)
    before = old.written["manifest"]
    canaries = int(numbers["rules"].split("(")[1].split()[0])
    assert numbers["new"] == str(1 + canaries)
    assert numbers["serial"] == str(before["serial"] + 1)
    after = json.loads(old.run("inkgate-rules", "inspect", "--json").stdout)
    assert after["set_id"] == before["set_id"]


def test_pack_of_another_subscriber_and_exported_file_install(old: Written) -> None:
    (old.folder / "elsewhere.toml").write_text(
        '[rules]\ninstalled = "elsewhere"\ntoken_file = "token"\n'
        'public_key_file = "publisher.pub"\nkey_cache = "run/other-keys"\n'
    )
    done = subprocess.run(
        [BIN / "inkgate-rules", "--config", old.folder / "elsewhere.toml", "install",
         old.folder / "rules.inkgate"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # The branch's token was one letter 43 times; now such a token is refused, by its file's name.
    branch = ("publish", "--for", "branch", "--output", str(old.folder))
    done = old.run("inkgate-rules", *branch)
    assert done.returncode == 2
    assert f"mv {old.folder}/branch.token {old.folder}/branch.token.old" in done.stderr
    make_token(old.folder / "branch.token.new")
    (old.folder / "branch.token.new").rename(old.folder / "branch.token")
    done = old.run("inkgate-rules", *branch)
    assert done.returncode == 1, done.stderr
    assert list(old.folder.glob("branch-*.inkgate"))


def test_rollback_to_the_older_pack_is_still_refused(old: Written) -> None:
    old.add("new", {"uuid": "0c0ffee0-0000-4000-8000-000000000001", "type": "domain",
                    "value": "new.example", "to_ids": True})  # fmt: skip
    old.run("inkgate-rules", "refresh")
    done = old.run("inkgate-rules", "install", str(old.folder / "rules.inkgate"))
    assert done.returncode == 2
    assert "rolled-back" in done.stderr


def test_journal_lists_every_incident(old: Written) -> None:
    assert old.incidents() == old.written["incidents"]
    assert old.incidents()


def test_outbox_tells_what_waited_and_nothing_twice(old: Written) -> None:
    with _misp(old) as server:
        done = old.run("inkgate-sightings", "report")
        # The attributes of files were refused under 0.1.0 and stay so.
        assert done.returncode in (0, 1), done.stderr
        told = {(s.attribute.uuid, s.source) for s in server.misp.sightings.values()}
        before = {(attribute, source) for _, attribute, source in old.written["told"]}
        assert before
        waiting = {a for a, _, _ in old.written["attributes"]} - {a for a, _ in before}
        assert waiting
        assert told == {(attribute, "proxy.test") for attribute in waiting}


@pytest.mark.e2e
def test_squid_lines_and_page_of_0_1_0_block(old: Written) -> None:
    lines = (old.folder / "inkgate.conf").read_text()
    lines = lines.replace("@FOLDER@", str(old.folder)).replace("@BIN@", str(BIN))
    with ConfiguredSquid(old, lines) as squid:
        blocked = squid.get("http://files.example/malware/payload.exe")
        assert blocked.status == 403
        assert blocked.incident
        assert squid.get("http://files.example/harmless.txt").status == 200


@contextmanager
def _misp(old: Written) -> Iterator[MispServer]:
    """A MISP that knows the attributes that the one of the fixture had."""
    misp = Misp()
    rows = old.written["attributes"]
    misp.add_event("made up", [(kind, f"{n}.example") for n, (_, _, kind) in enumerate(rows)])
    for attribute, (uuid, _, _) in zip(list(misp.attributes.values()), rows, strict=True):
        del misp.attribute_uuids[attribute.uuid]
        attribute.uuid = uuid
        misp.attribute_uuids[uuid] = attribute
    with MispServer(misp) as server:
        text = old.config.read_text()
        start = text.index("[sightings.misp]")
        text = text[:start] + text[start:].replace("http://127.0.0.1:9", server.url)
        old.config.write_text(text)
        yield server


def _numbers(printed: str) -> dict[str, str]:
    rows = (line.strip().split("  ", 1) for line in printed.splitlines() if "  " in line.strip())
    return {row[0]: row[1].strip() for row in rows}
