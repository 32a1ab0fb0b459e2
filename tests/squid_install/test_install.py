"""`inkgate squid install` and `uninstall`: what they write, and what they leave alone."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from inkgate.squid_conf.trial import SQUID_USER
from support.installation import BIN, Installation, attribute
from support.placed_squid import ACCESS, PlacedSquid, configure_squid
from support.squid import wait_until_listening

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

LISTED = "http://listed.example/"


@pytest.fixture
def listed() -> Iterator[Installation]:
    made = Installation()
    made.add("listed", attribute("domain", "listed.example"))
    made.refresh()
    yield made
    made.close()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder, without those that are copies of before."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "inkgate-backup" not in path.parts
    }


def test_running_squid_is_changed_told_and_checked(listed: Installation) -> None:
    with PlacedSquid(listed) as squid:
        squid.start()
        assert squid.get(LISTED).incident is None
        done = squid.install()
        assert "OK " in done.stdout
        assert squid.get(LISTED).incident
        text = squid.conf.read_text()
        include = text.index(f"include {squid.fragment}\n")
        assert text.index("http_access deny CONNECT") < include
        assert include < text.index("http_access allow localhost manager")
        # A second time, all is there.
        before = contents(squid.etc)
        done = squid.install()
        assert "all lines are there" in done.stdout
        assert contents(squid.etc) == before


def test_page_that_changed_is_what_users_see_after_install(listed: Installation) -> None:
    with PlacedSquid(listed) as squid:
        squid.start()
        squid.install()
        text = listed.config.read_text()
        listed.config.write_text(re.sub(r"(?m)^contact = .*$", 'contact = "Call 4711"', text))
        done = squid.install()
        assert "all lines are there" in done.stdout
        assert "Call 4711" in squid.get(LISTED).body


def test_uninstall_brings_back_what_was_there(listed: Installation) -> None:
    with PlacedSquid(listed) as squid:
        before = contents(squid.etc)
        squid.start()
        squid.install()
        done = squid.inkgate("uninstall")
        assert done.returncode == 0, done.stderr
        assert squid.process
        assert contents(squid.etc) == before
        assert "no longer asks" in done.stdout
        # Squid closes its port for a moment.
        wait_until_listening(squid.process, squid.port, squid.folder / "cache.log")
        assert squid.get(LISTED).incident is None
        told = listed.run("inkgate", "status").stdout
        assert "inkgate was taken out of squid.conf" in told
        assert "has no line of inkgate's" in squid.inkgate("uninstall").stdout


@pytest.mark.parametrize("umask", [0o077, 0o002, 0o000])
def test_modes_are_the_same_under_every_umask(listed: Installation, umask: int) -> None:
    with PlacedSquid(listed) as squid:
        squid.conf.chmod(0o640)
        shutil.chown(squid.conf, "root", SQUID_USER)
        shutil.rmtree(listed.folder / "pages", ignore_errors=True)
        before = os.umask(umask)
        try:
            squid.install()
        finally:
            os.umask(before)
        assert mode_of(squid.fragment) == 0o644
        assert mode_of(squid.conf) == 0o640
        assert squid.conf.group() == SQUID_USER
        assert mode_of(squid.etc / "inkgate-backup") & 0o777 == 0o700
        launcher = listed.folder / "launcher"
        assert mode_of(launcher) & 0o777 == 0o755
        assert mode_of(launcher / "inkgate-launch") == 0o755
        assert mode_of(listed.folder / "pages" / "ERR_INKGATE_BLOCKED") == 0o644
        squid.start()
        assert squid.get(LISTED).incident


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[squid_conf]", "[squid_conf]\norganisaton = 1"),
        ("[helper]", "[helper]\nfial = 'open'"),
        ("[rules]", "[rules]\nsource = []"),
        ("[sightings]", "[sightings"),
        ("[sightings]", "[sightings]\nnoode = 'a'"),
        ("[helper]", "[health]\nfoldr = ''\n[helper]"),
    ],
)
def test_typo_in_the_settings_leaves_everything_as_it_was(
    listed: Installation, old: str, new: str
) -> None:
    with PlacedSquid(listed) as squid:
        squid.install()
        before = contents(squid.etc)
        listed.config.write_text(listed.config.read_text().replace(old, new))
        done = squid.inkgate("install")
        assert done.returncode == 2
        assert done.stderr.startswith("inkgate: ")
        assert done.stderr.count("\n") == 1
        assert contents(squid.etc) == before


def test_configuration_that_squid_refuses_is_left_alone(listed: Installation) -> None:
    with PlacedSquid(listed, ACCESS.replace("deny manager", "deny no_such_acl")) as squid:
        before = contents(squid.etc)
        done = squid.inkgate("install")
        assert done.returncode == 2
        assert "no_such_acl" in done.stderr
        assert "nothing was changed" in done.stderr
        assert contents(squid.etc) == before
        # Not even for a moment: what is changed is kept as it was first.
        assert not (squid.etc / "inkgate-backup").exists()


def test_what_squid_refuses_in_place_is_put_back(listed: Installation, tmp_path: Path) -> None:
    """A Squid that takes the copy and refuses the real files."""
    with PlacedSquid(listed) as squid:
        before = contents(squid.etc)
        real = shutil.which("squid", path="/usr/sbin:/usr/bin")
        fake = tmp_path / "squid"
        fake.write_text(
            f'#!/bin/sh\ncase "$*" in *{squid.conf}*) echo "FATAL: not today" >&2; exit 1;; esac\n'
            f'exec {real} "$@"\n'
        )
        fake.chmod(0o755)
        done = subprocess.run(
            [BIN / "inkgate", "--config", listed.config, "squid", "install",
             "--squid-conf", squid.conf],
            capture_output=True, text=True, check=False, timeout=120,
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        )  # fmt: skip
        assert done.returncode == 2
        assert "FATAL: not today" in done.stderr
        assert contents(squid.etc) == before


def test_older_drop_in_is_taken_over(listed: Installation) -> None:
    with PlacedSquid(listed) as squid:
        drop_in = squid.etc / "conf.d" / "inkgate.conf"
        old = listed.run("inkgate-squid-conf", "fragment", "--access-log", "").stdout
        drop_in.write_text(old)
        squid.install()
        assert not drop_in.exists()
        kept = [p.read_text() for p in (squid.etc / "inkgate-backup").glob("*-inkgate.conf")]
        assert kept == [old]
        squid.start()
        assert squid.get(LISTED).incident


def test_older_drop_in_that_is_all_of_its_folder_leaves_a_comment(listed: Installation) -> None:
    with PlacedSquid(listed) as squid:
        drop_in = squid.etc / "conf.d" / "inkgate.conf"
        drop_in.write_text(listed.run("inkgate-squid-conf", "fragment", "--access-log", "").stdout)
        (squid.etc / "conf.d" / "debian.conf").unlink()
        squid.install()
        assert drop_in.read_text() == (
            f"# Inkgate's lines have moved to {squid.fragment}, which squid.conf includes.\n"
        )


def test_lines_among_the_administrators_own_are_said(listed: Installation) -> None:
    with PlacedSquid(listed) as squid:
        pasted = listed.run("inkgate-squid-conf", "fragment", "--access-log", "").stdout
        own = squid.etc / "conf.d" / "own.conf"
        own.write_text(f"# ours\n{pasted}")
        before = contents(squid.etc)
        done = squid.inkgate("install")
        assert done.returncode == 2
        assert f"{own}:" in done.stderr
        assert "take out all that inkgate-squid-conf printed" in done.stderr
        assert contents(squid.etc) == before


def test_proxy_that_lets_nobody_in_is_not_opened(listed: Installation) -> None:
    """Squid's default is the opposite of the last http_access: of ours it would be `allow`."""
    with PlacedSquid(listed, "") as squid:
        done = squid.inkgate("install")
        assert done.returncode == 2
        assert "it would let everybody in" in done.stderr


def test_other_icap_service_is_not_pushed_aside(listed: Installation) -> None:
    access = (
        "icap_enable on\nicap_service virus reqmod_precache icap://127.0.0.1:1/virus\n"
        "adaptation_access virus allow all\n" + ACCESS
    )
    with PlacedSquid(listed, access) as squid:
        done = squid.inkgate("install", "--icap")
        assert done.returncode == 2
        assert "adaptation_service_chain" in done.stderr
        squid.install("--helper")


@pytest.mark.skipif(os.getuid() != 0, reason="root alone has something to lose")
@pytest.mark.parametrize("what", ["folder", "group", "link", "fragment", "launcher", "pages"])
def test_attack_root_does_not_write_where_others_may_change_the_way(
    listed: Installation, what: str, tmp_path: Path
) -> None:
    victim = listed.folder / "victim"
    victim.write_text("root's own\n")
    with PlacedSquid(listed) as squid:
        conf = squid.conf
        if what == "folder":
            shutil.chown(squid.etc, SQUID_USER)
        elif what == "group":
            shutil.chown(squid.etc, "root", SQUID_USER)
            squid.etc.chmod(0o775)
        elif what == "link":
            conf = squid.folder / "squid.conf"
            conf.symlink_to(squid.conf)
        elif what == "fragment":
            squid.fragment.symlink_to(squid.folder / "inkgate.conf")
            (squid.folder / "inkgate.conf").symlink_to(victim)
        else:
            configure_squid(listed, f'{what} = "squid/{what}"')
            text = listed.config.read_text()
            kept = [x for x in text.splitlines() if not x.startswith(f"{what} = ") or "squid/" in x]
            listed.config.write_text("\n".join(kept) + "\n")
        before = contents(squid.etc)
        done = listed.run("inkgate", "squid", "install", "--squid-conf", str(conf))
        assert done.returncode == 2, (done.stdout, done.stderr)
        assert "root write elsewhere" in done.stderr
        assert contents(squid.etc) == before
        assert victim.read_text() == "root's own\n"
