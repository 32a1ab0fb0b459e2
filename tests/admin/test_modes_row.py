"""Rows on modes: what Squid's user cannot read or may change is said, and the remedy mends it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inkgate.admin.status import modes
from inkgate.admin.status.row import Level, Machine, Row
from inkgate.config.access import ENTER, READ, WRITE, account, changeable, obstacle
from inkgate.rules.install.serials import current_folder
from inkgate.squid_conf.launching import place_launcher
from support.installation import SETTINGS, Installation, attribute
from support.sabotage import forked, give

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to Squid's user")
USER = "proxy"


@pytest.fixture(scope="module")
def original() -> Iterator[Installation]:
    settings = SETTINGS.replace("[squid_conf]\n", '[squid_conf]\nlauncher = "launcher"\n')
    made = Installation(settings)
    made.add("listed", attribute("domain", "listed.example"))
    made.refresh()
    assert made.run("inkgate-squid-conf", "pages").returncode == 0
    place_launcher(made.folder / "launcher", "open")
    give(made.folder / "run", USER)
    yield made
    made.close()


@pytest.fixture
def made(original: Installation, tmp_path: Path) -> Iterator[Installation]:
    """The installation, with all modes and owners put back afterwards."""
    before = {path: path.lstat() for path in (original.folder, *original.folder.rglob("*"))}
    yield original
    for path, found in before.items():
        if not path.is_symlink():
            os.chown(path, found.st_uid, found.st_gid)
            path.chmod(found.st_mode & 0o7777)


def rows(made: Installation) -> dict[str, Row]:
    return {row.name: row for row in modes.rows(Machine(made.config, [], 0.0))}


def generation(made: Installation) -> Path:
    folder = current_folder(made.places.installed)
    assert folder is not None
    return folder


def test_all_is_well_and_said_in_four_rows(made: Installation) -> None:
    found = rows(made)
    assert list(found) == ["readable", "protected", "private", "writable"]
    assert {row.level for row in found.values()} == {Level.OK}


Place = Callable[[Installation], Path]
PLACES: dict[str, Place] = {
    "settings": lambda made: made.config,
    "token": lambda made: made.places.token_file,
    "public key": lambda made: made.places.public_key_file,
    "folder of all": lambda made: made.folder,
    "rules": lambda made: made.places.installed,
    "generations": lambda made: made.places.installed / "generations",
    "generation": generation,
    "rules.mdb": lambda made: generation(made) / "rules.mdb",
    "gate": lambda made: generation(made) / "suffix.gate",
    "serials": lambda made: made.places.installed / "serials.json",
    "pages": lambda made: made.folder / "pages",
    "page": lambda made: made.folder / "pages" / "ERR_INKGATE_BLOCKED",
    "launcher": lambda made: made.folder / "launcher",
    "inkgate-launch": lambda made: made.folder / "launcher" / "inkgate-launch",
    "inkgate-standby": lambda made: made.folder / "launcher" / "inkgate-standby",
    "fail": lambda made: made.folder / "launcher" / "fail",
    "publisher": lambda made: made.places.publisher,
}
READABLE = PLACES.keys() - {"public key", "serials", "publisher"}


def mended(made: Installation, row: Row, place: Path) -> None:
    assert str(place) in row.text + row.remedy
    subprocess.run(["/bin/sh", "-ec", row.remedy], check=True, capture_output=True)
    assert rows(made)[row.name].level is Level.OK, rows(made)[row.name]


@pytest.mark.parametrize("name", sorted(READABLE))
def test_what_squids_user_cannot_read_is_said(made: Installation, name: str) -> None:
    """As a umask of 077 leaves it."""
    place = PLACES[name](made)
    place.chmod(place.stat().st_mode & 0o7700)
    row = rows(made)["readable"]
    assert row.level is Level.CRITICAL
    mended(made, row, place)


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("how", ["group", "everybody", "owner"])
def test_what_squids_user_may_change_is_said(made: Installation, name: str, how: str) -> None:
    """As a umask of 002 or 000 leaves it, or a chown of too much."""
    place = PLACES[name](made)
    if how == "owner":
        shutil.chown(place, USER)
    else:
        shutil.chown(place, group=USER if how == "group" else "root")
        place.chmod(place.stat().st_mode | (0o030 if how == "group" else 0o007))
    row = rows(made)["protected"]
    assert row.level is Level.CRITICAL
    mended(made, row, place)


def test_secrets_for_others_are_said(made: Installation) -> None:
    made.places.token_file.chmod(0o644)
    row = rows(made)["private"]
    assert row.level is Level.WARNING
    mended(made, row, made.places.token_file)
    shutil.chown(made.places.publisher, group=USER)
    made.places.publisher.chmod(0o750)
    key = made.places.publisher / "signing.key"
    key.chmod(0o644)
    mended(made, rows(made)["private"], key)


def test_folders_that_squids_user_must_write_are_said(made: Installation) -> None:
    run = made.folder / "run"
    run.chmod(0o550)
    row = rows(made)["writable"]
    assert row.level is Level.WARNING
    assert f"cannot write in {run}" in row.text
    run.chmod(0o777)
    mended(made, rows(made)["writable"], run)


def test_journal_that_root_made_is_said(made: Installation) -> None:
    """As an ICAP server that ran as root leaves it: the helper cannot write it."""
    run = made.folder / "run"
    (run / "sightings.db").touch(0o644)
    (run / "$(touch x)").touch(0o644)
    (run / "link").symlink_to("/etc/passwd")
    try:
        row = rows(made)["writable"]
        assert row.level is Level.WARNING
        assert "$" not in row.text + row.remedy
        assert "link" not in row.text
        mended(made, row, run / "sightings.db")
    finally:
        for path in run.iterdir():
            path.unlink()


def test_one_users_trial_is_not_measured_by_that(made: Installation) -> None:
    give(made.folder, USER)
    found = rows(made)
    assert list(found) == ["protected"]
    assert found["protected"].level is Level.OK
    assert "trial" in found["protected"].text


def test_who_may_not_look_says_so(made: Installation) -> None:
    made.places.installed.chmod(0o700)
    done = forked(lambda: print({n: r.level.name for n, r in rows(made).items()}), "nobody")
    assert done.status == 0, done.stderr
    assert "'readable': 'UNKNOWN'" in done.stdout


@pytest.mark.parametrize("mode", [0o000, 0o400, 0o040, 0o004, 0o070, 0o007, 0o604, 0o640, 0o4711])
@pytest.mark.parametrize("owner", ["root", USER])
@pytest.mark.parametrize("group", ["root", USER])
@pytest.mark.parametrize("folder", [0o700, 0o750, 0o755, 0o770, 0o777, 0o1777, 0o711])
def test_what_is_said_is_what_the_kernel_does(
    made: Installation, mode: int, owner: str, group: str, folder: int
) -> None:
    place = made.folder / "events"
    file = next(place.iterdir())
    shutil.chown(place, "root", group)
    place.chmod(folder)
    shutil.chown(file, owner, group)
    file.chmod(mode)
    squid = account(USER)
    assert squid is not None

    def ask() -> None:
        may = [os.access(file, what) for what in (os.R_OK, os.W_OK, os.X_OK)]
        moved = False
        try:
            file.rename(place / "moved")
            moved = True
        except OSError:
            pass
        print(*may, moved)

    said = [obstacle(squid, file, what) is None for what in (READ, WRITE, ENTER)]
    exchangeable = changeable(squid, file) is not None
    answers = forked(ask, USER).stdout.split()
    if answers[-1] == "True":
        (place / "moved").rename(file)
    assert [str(answer) for answer in said] == answers[:3]
    # Its owner gives himself the right; everything else is as it is.
    may_change = "True" in (answers[1], answers[3]) or owner == USER
    assert exchangeable == may_change
