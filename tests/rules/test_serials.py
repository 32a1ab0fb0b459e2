"""No roll-back: the highest serial is remembered whatever happens to the installed manifest.

And no dead end: every state that a lost or restored folder leads to is said, and what the
message tells to do is done here to the letter, and works.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from inkgate.rules.crypto.keys import (
    check_pair,
    make_signing_key,
    read_public_key,
    read_token,
)
from inkgate.rules.install import install as installing
from inkgate.rules.install.archive import install_archive
from inkgate.rules.install.serials import SERIALS, current_folder
from inkgate.rules.pack import manifest as manifests
from inkgate.rules.pack.manifest import MAX_SERIAL
from inkgate.rules.refresh import refresh as refreshing
from support.installation import Installation, attribute

pytestmark = pytest.mark.slow

Damage = Callable[[Path], object]


class Two:
    """A publisher that seals for the proxy `branch`, and that proxy with serial 3 installed."""

    def __init__(self) -> None:
        self.publisher, self.proxy = Installation(), Installation()
        shutil.rmtree(self.proxy.places.publisher)
        shutil.copy(self.publisher.places.public_key_file, self.proxy.places.public_key_file)
        shutil.copy(self.proxy.places.token_file, self.publisher.folder / "branch.token")
        self.publisher.config.write_text(
            self.publisher.config.read_text()
            + '[rules.subscribers.branch]\ntoken_file = "branch.token"\n'
        )
        self.packs = [self.publish(f"name{n}.example") for n in (1, 2, 3)]
        self.install(self.packs[-1])

    def publish(self, name: str, *options: str, status: int = 0) -> Path:
        self.publisher.add(name, attribute("domain", name))
        folder = self.publisher.folder / "out"
        self.done = self.publisher.run(
            "inkgate-rules", "publish", "--for", "branch", "-o", str(folder), *options
        )
        assert self.done.returncode == status, self.done.stderr
        return Path(self.done.stdout.splitlines()[-1]) if not status else Path()

    def install(self, pack: Path, *options: str, status: int = 0) -> str:
        done = self.proxy.run("inkgate-rules", "install", *options, str(pack))
        assert done.returncode == status, done.stderr
        if status:
            assert len(done.stderr.splitlines()) == 1
        return done.stderr

    def close(self) -> None:
        self.publisher.close()
        self.proxy.close()


@pytest.fixture
def two() -> Iterator[Two]:
    made = Two()
    yield made
    made.close()


def manifest(root: Path) -> Path:
    folder = current_folder(root)
    assert folder is not None
    return folder / "manifest.json"


DAMAGES: dict[str, Damage] = {
    "nothing": lambda root: None,
    "manifest-cut": lambda root: os.truncate(manifest(root), 100),
    "manifest-empty": lambda root: os.truncate(manifest(root), 0),
    "manifest-removed": lambda root: manifest(root).unlink(),
    "manifest-lower": lambda root: manifest(root).write_text(
        manifest(root).read_text().replace('"serial": 3', '"serial": 1')
    ),
    "signature-removed": lambda root: manifest(root).with_name("manifest.sig").unlink(),
    "generation-removed": lambda root: shutil.rmtree(manifest(root).parent),
    "all-generations-removed": lambda root: shutil.rmtree(root / "generations"),
    "current-removed": lambda root: (root / "current").unlink(),
    "memory-removed": lambda root: (root / SERIALS).unlink(),
    "memory-removed-and-manifest-cut": lambda root: (
        (root / SERIALS).unlink(),
        os.truncate(manifest(root), 100),
    ),
    "memory-removed-and-manifest-removed": lambda root: (
        (root / SERIALS).unlink(),
        manifest(root).unlink(),
    ),
    "memory-lower": lambda root: (root / SERIALS).write_text(
        re.sub(r": ?3", ":1", (root / SERIALS).read_text())
    ),
    "memory-cut": lambda root: os.truncate(root / SERIALS, 10),
    "memory-empty": lambda root: os.truncate(root / SERIALS, 0),
    "memory-of-other-types": lambda root: (root / SERIALS).write_text('{"a": "b"}'),
    "memory-a-folder": lambda root: (
        (root / SERIALS).unlink(),
        (root / SERIALS).mkdir(),
    ),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_older_pack_is_refused_whatever_is_damaged(two: Two, damage: Damage) -> None:
    damage(two.proxy.places.installed)
    said = two.install(two.packs[1], status=2)
    assert "rolled-back" in said
    assert "--accept-older" in said
    assert two.proxy.run("inkgate-rules", "match", "domain=name2.example").returncode != 0 or (
        two.proxy.run("inkgate-rules", "match", "domain=name3.example").returncode == 0
    )


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_remedies_of_the_refusal_work(two: Two, damage: Damage) -> None:
    root = two.proxy.places.installed
    damage(root)
    if (root / SERIALS).is_dir():
        (root / SERIALS).rmdir()
    two.install(two.packs[1], "--accept-older")
    assert two.proxy.run("inkgate-rules", "match", "domain=name2.example").returncode == 0
    assert two.proxy.run("inkgate-rules", "match", "domain=name3.example").returncode == 1
    two.install(two.packs[0], status=2)
    two.install(two.packs[2])


class Killed(BaseException):
    """A kill at that moment."""


def test_a_kill_before_the_swap_lets_the_same_pack_in_again(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = two.publish("name4.example")
    where = two.proxy.places

    def kill(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(installing, "swap_link", kill)
    with pytest.raises(Killed), new.open("rb") as source:
        install_archive(
            source,
            where.installed,
            key=read_public_key(where.public_key_file),
            caps=two.proxy.settings.caps,
            token=read_token(where.token_file),
            now=datetime.now(UTC),
        )
    two.install(two.packs[2], status=2)
    two.install(new)


def follow(message: str, made: Installation) -> None:
    """Do what a message tells to do: its `mv`, and then its `inkgate-rules keygen`."""
    found = re.search(r"\(mv (\S+) (\S+)\), run (inkgate-rules keygen)", message)
    assert found, message
    shutil.move(found[1], found[2])
    done = made.run(*found[3].split())
    assert done.returncode == 0, done.stderr


def failed(made: Installation, *words: str) -> str:
    done = made.run("inkgate-rules", *words)
    assert done.returncode == 2, done
    assert len(done.stderr.splitlines()) == 1
    return done.stderr


def lose_publisher(made: Installation) -> None:
    shutil.rmtree(made.places.publisher)


def test_lost_publisher_is_told_by_keygen_and_makes_no_mixed_pair(two: Two) -> None:
    lose_publisher(two.publisher)
    said = failed(two.publisher, "keygen")
    assert "publisher.pub: is here, but" in said
    assert not two.publisher.places.publisher.exists()
    assert "run inkgate-rules keygen" in failed(two.publisher, "refresh")
    follow(said, two.publisher)
    # A new publisher begins at serial 1, and the proxy has 3 of the old one.
    pack = two.publish("anew.example")
    assert pack.name == "branch-0000000001.inkgate"
    said = two.install(pack, status=2)
    assert "put its publisher.pub over the file that public_key_file names" in said
    shutil.copy(two.publisher.places.public_key_file, two.proxy.places.public_key_file)
    two.install(pack)
    assert two.proxy.run("inkgate-rules", "match", "domain=anew.example").returncode == 0
    two.install(two.publish("more.example"))


def test_former_publisher_is_still_remembered(two: Two) -> None:
    """Back to the old key (a backup was found): its packs still go on from where they were."""
    kept = two.publisher.folder / "kept"
    shutil.copytree(two.publisher.places.publisher, kept, symlinks=True)
    old_key = two.publisher.places.public_key_file.read_bytes()
    lose_publisher(two.publisher)
    follow(failed(two.publisher, "keygen"), two.publisher)
    shutil.copy(two.publisher.places.public_key_file, two.proxy.places.public_key_file)
    two.install(two.publish("anew.example"))
    two.proxy.places.public_key_file.write_bytes(old_key)
    two.install(two.packs[1], status=2)
    two.install(two.packs[2])


@pytest.mark.parametrize("remedy", ["--serial", "--accept-older"])
def test_packs_lost_and_the_key_kept(two: Two, remedy: str) -> None:
    shutil.rmtree(two.publisher.places.publisher / "subscribers")
    pack = two.publish("anew.example")
    said = two.install(pack, status=2)
    if remedy == "--serial":
        found = re.search(r"inkgate-rules publish --for NAME (--serial \d+)", said)
        assert found, said
        # Nothing else has changed, and still a new pack is made.
        done = two.publisher.run(
            "inkgate-rules", "publish", "--for", "branch", "-o", str(pack.parent), *found[1].split()
        )
        assert done.returncode == 0, done.stderr
        pack = Path(done.stdout.splitlines()[-1])
        two.install(pack)
    else:
        assert "inkgate-rules install --accept-older FILE" in said
        two.install(pack, "--accept-older")
    assert two.proxy.run("inkgate-rules", "match", "domain=anew.example").returncode == 0
    two.install(two.publish("more.example"))


def test_slip_in_a_serial_is_no_dead_end(two: Two) -> None:
    two.publish("name4.example", "--serial", str(MAX_SERIAL), status=2)
    found = re.search(r"give one up to (\d+)\n", two.done.stderr)
    assert found, two.done.stderr
    two.install(two.publish("name4.example", "--serial", found[1]))
    two.install(two.publish("name5.example"))


def test_proxy_that_took_the_last_serial_takes_the_next_pack_once(two: Two) -> None:
    root = two.proxy.places.installed
    (root / SERIALS).write_text(re.sub(r": ?3", f":{MAX_SERIAL}", (root / SERIALS).read_text()))
    pack = two.publish("name4.example")
    said = two.install(pack, status=2)
    assert "--serial" not in said, "nobody can number on"
    assert "inkgate-rules install --accept-older FILE" in said
    two.install(pack, "--accept-older")
    two.install(two.publish("name5.example"))


def alone() -> Installation:
    made = Installation()
    for name in ("one", "two", "three"):
        made.add(name, attribute("domain", f"{name}.example"))
        assert made.run("inkgate-rules", "refresh").returncode == 0
    return made


@pytest.fixture
def machine() -> Iterator[Installation]:
    """One machine that seals for itself, at serial 3."""
    made = alone()
    yield made
    made.close()


def lose_packs(made: Installation) -> None:
    (made.places.publisher / "pack").unlink()
    shutil.rmtree(made.places.publisher / "packs")


def lose_epoch(made: Installation) -> None:
    (made.places.publisher / "epoch.json").unlink()


def lose_all_but_the_key(made: Installation) -> None:
    key = (made.places.publisher / "signing.key").read_bytes()
    shutil.rmtree(made.places.publisher)
    made.places.publisher.mkdir(mode=0o700)
    (made.places.publisher / "signing.key").write_bytes(key)


def lose_rules(made: Installation) -> None:
    shutil.rmtree(made.places.installed)


def lose_public_key(made: Installation) -> None:
    made.places.public_key_file.unlink()
    assert "run inkgate-rules keygen" in failed(made, "refresh")
    assert made.run("inkgate-rules", "keygen").returncode == 0


def lose_token(made: Installation) -> None:
    made.places.token_file.unlink()
    assert "run inkgate-rules keygen" in failed(made, "refresh")
    assert made.run("inkgate-rules", "keygen", "--token").returncode == 0


def lose_publisher_and_follow(made: Installation) -> None:
    lose_publisher(made)
    follow(failed(made, "keygen"), made)


def mix_keys(made: Installation) -> None:
    """As versions before this one left them: a new signing key beside the old public key."""
    make_signing_key(made.folder / "other", made.folder / "other.pub")
    shutil.copy(made.folder / "other" / "signing.key", made.places.publisher / "signing.key")
    said = failed(made, "refresh")
    assert failed(made, "keygen") == said
    follow(said, made)


def damage_signing_key(made: Installation) -> None:
    (made.places.publisher / "signing.key").write_text("damaged")
    said = failed(made, "keygen")
    assert failed(made, "refresh") == said
    found = re.search(r"\(mv (\S+) (\S+)\), run inkgate-rules keygen", said)
    assert found
    shutil.move(found[1], found[2])
    follow(failed(made, "keygen"), made)


def damage_public_key(made: Installation) -> None:
    made.places.public_key_file.write_text("damaged")
    said = failed(made, "keygen")
    follow(said, made)


def weak_token(made: Installation) -> None:
    made.places.token_file.write_text("0" * 16)
    said = failed(made, "refresh")
    assert failed(made, "keygen") == said
    follow(said, made)


def damage_memory(made: Installation) -> None:
    (made.places.installed / SERIALS).write_text("{")
    assert "inkgate-rules refresh --accept-older" in failed(made, "refresh")
    assert made.run("inkgate-rules", "refresh", "--accept-older").returncode == 0


def use_up_serials(made: Installation) -> None:
    """As a slip with --serial left it before there was a bound."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refreshing, "MAX_SERIAL_STEP", MAX_SERIAL)
        patch.setattr(manifests, "MAX_SERIAL_STEP", MAX_SERIAL)
        made.refresh(serial=MAX_SERIAL)
    said = failed(made, "refresh")
    found = re.search(r"rm -r (\S+)\)", said)
    assert found, said
    shutil.rmtree(found[1])
    assert "--accept-older" in failed(made, "refresh")
    assert made.run("inkgate-rules", "refresh", "--accept-older").returncode == 0


def restore_an_old_publisher(made: Installation) -> None:
    """Its serial is 3; meanwhile 4 and 5 were installed. Nothing is new in the sources."""
    kept = made.folder / "kept"
    shutil.copytree(made.places.publisher, kept, symlinks=True)
    for name in ("four", "five"):
        made.add(name, attribute("domain", f"{name}.example"))
        assert made.run("inkgate-rules", "refresh").returncode == 0
        (made.events / f"{name}.json").unlink()
    shutil.rmtree(made.places.publisher)
    kept.rename(made.places.publisher)


STATES = (
    lose_packs,
    lose_epoch,
    lose_all_but_the_key,
    lose_rules,
    lose_public_key,
    lose_token,
    lose_publisher_and_follow,
    mix_keys,
    damage_signing_key,
    damage_public_key,
    weak_token,
    damage_memory,
    use_up_serials,
    restore_an_old_publisher,
)


@pytest.mark.parametrize("state", STATES)
def test_no_state_of_one_machine_is_a_dead_end(
    machine: Installation, state: Callable[[Installation], None]
) -> None:
    state(machine)
    for name in ("six", "seven"):
        machine.add(name, attribute("domain", f"{name}.example"))
        done = machine.run("inkgate-rules", "refresh")
        assert done.returncode == 0, done.stderr
        assert machine.run("inkgate-rules", "match", f"domain={name}.example").returncode == 0
    assert machine.run("inkgate-rules", "keygen").returncode == 0
    check_pair(machine.places.publisher, machine.places.public_key_file)


def test_keygen_of_a_proxy_makes_the_token_alone(machine: Installation) -> None:
    lose_publisher(machine)
    machine.places.public_key_file.unlink()
    done = machine.run("inkgate-rules", "keygen", "--token")
    assert done.returncode == 0
    assert not machine.places.publisher.exists()
    assert not machine.places.public_key_file.exists()
