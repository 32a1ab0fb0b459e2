"""Whatever gets its name by a rename was flushed before, and its folder is flushed after."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inkgate.blocked_page.page import BlockedPages, write_pages
from inkgate.rules.foreign.export import export_thesis
from inkgate.rules.foreign.thesis_writer import Pbkdf2Cost
from inkgate.sightings.aggregation.exchange.mailbox import FileMailbox
from inkgate.sightings.aggregation.exchange.state_folder import StateFolder
from support.aggregation import Party
from support.installation import Installation, Quiet, attribute

Inode = tuple[int, int]


class Recorder:
    """Notes every flush and every rename of this process, by inode."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.flushed: list[Inode | None] = []
        self.renamed: list[tuple[int, Inode, Path]] = []
        self._fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self._note_fsync)
        for name in ("rename", "replace", "link"):
            monkeypatch.setattr(os, name, self._noting(getattr(os, name)))

    def _note_fsync(self, fd: int) -> None:
        self._fsync(fd)
        self.flushed.append(_inode(Path(f"/proc/self/fd/{fd}")))

    def _noting(self, real: object) -> object:
        def call(source: str | Path, target: str | Path) -> None:
            if not Path(source).is_symlink():
                self.renamed.append((len(self.flushed), _inode(Path(source)), Path(target)))
            real(source, target)  # type: ignore[operator]

        return call

    def faults(self) -> list[str]:
        found = []
        for moment, source, target in self.renamed:
            if source not in self.flushed[:moment]:
                found.append(f"{target} was not flushed before")
            if _inode(target.parent) not in self.flushed[moment:]:
                found.append(f"the folder of {target} was not flushed after")
        return found


def _inode(path: Path) -> Inode:
    status = path.stat()
    return status.st_dev, status.st_ino


def test_all_that_is_renamed_is_flushed(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.add(
        "listed", attribute("domain", "listed.example"), attribute("domain", "no name")
    )
    recorder = Recorder(monkeypatch)
    installation.refresh()
    assert not recorder.faults()
    where = installation.places
    export_thesis(
        installation.config, installation.settings, where, tmp_path / "partner",
        b"t" * 32, Pbkdf2Cost("sha256", 1, 1), Quiet(),
    )  # fmt: skip
    write_pages(tmp_path / "pages", BlockedPages("Example Ltd", "desk@organisation.example"))
    party, state = Party("masked", 3, 2), StateFolder(tmp_path / "state")
    state.identity()
    state.pin(party.group, party.group.encoded)
    FileMailbox(tmp_path / "box").put("a/0/up", "x", b"message")
    names = {target.name for _, _, target in recorder.renamed}
    assert {"epoch.json", "0000000001", "last-refresh.tsv", "metadata", "x.msg"} <= names
    assert {path.parent.name for _, _, path in recorder.renamed} >= {"last-good", "generations"}
    assert not recorder.faults()
