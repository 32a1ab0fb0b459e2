"""Epochs, subscribers and costs: whose keys a set is sealed under, and when they change."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from inkgate.rules.crypto.keys import make_token
from inkgate.rules.errors import RefreshError
from inkgate.rules.install.install import open_current
from inkgate.rules.pack.manifest import Manifest
from inkgate.rules.paths import writer_lock
from support.installation import Installation, attribute

pytestmark = pytest.mark.slow


@pytest.fixture
def listed(installation: Installation) -> Installation:
    installation.add(
        "listed",
        *(attribute("domain", f"host{n}.example") for n in range(20)),
        attribute("ip-dst", "192.0.2.7"),
    )
    return installation


def manifest(installation: Installation) -> Manifest:
    return open_current(installation.places.installed, installation.settings.caps).manifest


def test_new_epoch_derives_everything_under_a_new_salt(listed: Installation) -> None:
    first = listed.refresh()
    before = manifest(listed)
    done = listed.run("inkgate-rules", "refresh", "--new-epoch")
    assert done.returncode == 0, done.stderr
    after = manifest(listed)
    assert after.set_id != before.set_id
    assert after.set_salt != before.set_salt
    assert after.serial == before.serial + 1
    assert f"derived  {first.done.derived}\n" in done.stdout
    assert listed.run("inkgate-rules", "match", "domain=host7.example").returncode == 0
    assert listed.refresh().done.derived == 0


def test_an_epoch_that_was_begun_is_taken_up_again(
    listed: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed.refresh()
    with monkeypatch.context() as patch:
        patch.setattr("inkgate.rules.refresh.refresh.publish", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            listed.refresh(new_epoch=True)
    done = listed.refresh(new_epoch=True).done
    assert done.derived == 0


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_other_costs_make_a_new_epoch(listed: Installation) -> None:
    listed.refresh()
    before = manifest(listed)
    options = ["--hash", "sha512", "--iterations", "2", "--ipiterations", "3"]
    done = listed.run("inkgate-rules", "refresh", *options)
    assert done.returncode == 0, done.stderr
    after = manifest(listed)
    assert after.set_id != before.set_id
    told = listed.run("inkgate-rules", "inspect", "--json").stdout
    assert '"iterations": 3' in told
    assert '"iterations": 2' in told
    assert after.profiles["digest"] == before.profiles["digest"]
    assert listed.run("inkgate-rules", "match", "ip-dst=192.0.2.7").returncode == 0


@pytest.fixture
def two(listed: Installation) -> Iterator[tuple[Installation, Installation]]:
    """A publisher, and a subscriber on another machine with a token of his own."""
    subscriber = Installation()
    key = subscriber.places.public_key_file
    key.unlink(missing_ok=True)
    key.write_bytes(listed.places.public_key_file.read_bytes())
    token = listed.folder / "branch.token"
    token.write_bytes(subscriber.places.token_file.read_bytes())
    with listed.config.open("a") as file:
        file.write('\n[rules.subscribers.branch]\ntoken_file = "branch.token"\n')
    yield listed, subscriber
    subscriber.close()


def test_a_subscriber_gets_rules_of_his_own(two: tuple[Installation, Installation]) -> None:
    publisher, subscriber = two
    publisher.refresh()
    file = publisher.folder / "branch.inkgate"
    done = publisher.run("inkgate-rules", "publish", "--for", "branch")
    assert done.returncode == 0, done.stderr
    exported = publisher.run("inkgate-rules", "export", "--for", "branch", str(file))
    assert exported.returncode == 0, exported.stderr
    assert subscriber.run("inkgate-rules", "install", str(file)).returncode == 0
    assert subscriber.run("inkgate-rules", "match", "domain=host3.example").returncode == 0
    own, theirs = manifest(publisher), manifest(subscriber)
    assert theirs.subscriber == "branch"
    assert own.set_id != theirs.set_id
    assert own.set_salt != theirs.set_salt
    ours = (publisher.places.publisher / "pack" / "rules" / "domain.tsv").read_bytes()
    his = publisher.places.publisher / "subscribers" / "branch" / "pack" / "rules" / "domain.tsv"
    tags = {line.split(b"\t")[0] for line in ours.splitlines()}
    assert not tags & {line.split(b"\t")[0] for line in his.read_bytes().splitlines()}


def test_a_pack_for_another_subscriber_is_refused_by_name(
    two: tuple[Installation, Installation],
) -> None:
    publisher, subscriber = two
    publisher.refresh()
    file = publisher.folder / "own.inkgate"
    assert publisher.run("inkgate-rules", "export", str(file)).returncode == 0
    done = subscriber.run("inkgate-rules", "install", str(file))
    assert done.returncode == 2
    assert "sealed for another token" in done.stderr


def test_publishing_for_a_subscriber_installs_nothing_here(
    two: tuple[Installation, Installation],
) -> None:
    publisher, _ = two
    publisher.refresh()
    before = manifest(publisher)
    assert publisher.run("inkgate-rules", "publish", "--for", "branch").returncode == 0
    assert manifest(publisher) == before


def test_output_folder_gets_one_file_a_pack(two: tuple[Installation, Installation]) -> None:
    publisher, subscriber = two
    out = publisher.folder / "out"
    done = publisher.run(
        "inkgate-rules", "publish", "--for", "branch", "--output", str(out), "--quiet"
    )
    assert done.returncode == 0, done.stderr
    (file,) = out.iterdir()
    assert done.stdout.strip() == str(file)
    assert subscriber.run("inkgate-rules", "install", str(file)).returncode == 0


def test_a_subscriber_may_get_less(two: tuple[Installation, Installation]) -> None:
    publisher, subscriber = two
    with publisher.config.open("a") as file:
        file.write('select = { types = ["ip-dst"] }\npad = 16\n')
    out = publisher.folder / "out"
    done = publisher.run(
        "inkgate-rules", "publish", "--for", "branch", "--output", str(out), "--quiet"
    )
    (pack,) = out.iterdir()
    assert subscriber.run("inkgate-rules", "install", str(pack)).returncode == 0, done.stderr
    assert {n: f.rules for n, f in manifest(subscriber).classes.items()} == {
        "ip-dst": 16,
        # Of canaries alone.
        "domain": 16,
        "url": 16,
        "ip-dst|port": 16,
    }


def test_unknown_subscriber_is_an_error_that_names_the_section(listed: Installation) -> None:
    done = listed.run("inkgate-rules", "publish", "--for", "nobody")
    assert done.returncode == 2
    assert "[rules.subscribers.nobody]" in done.stderr


def test_subscribers_new_token_makes_his_new_epoch(two: tuple[Installation, Installation]) -> None:
    publisher, _ = two
    pack = publisher.places.publisher / "subscribers" / "branch" / "pack" / "manifest.json"
    assert publisher.run("inkgate-rules", "publish", "--for", "branch").returncode == 0
    before = pack.read_bytes()
    (publisher.folder / "branch.token").unlink()
    make_token(publisher.folder / "branch.token")
    assert publisher.run("inkgate-rules", "publish", "--for", "branch").returncode == 0
    assert b'"serial": 2' in pack.read_bytes()
    assert before != pack.read_bytes()


def test_source_kinds_can_be_chosen(listed: Installation) -> None:
    assert listed.run("inkgate-rules", "refresh", "--misp", "file").returncode == 0
    done = listed.run("inkgate-rules", "refresh", "--misp", "mysql")
    assert done.returncode == 2
    assert "nothing to read from mysql" in done.stderr
    assert listed.run("inkgate-rules", "match", "domain=host3.example").returncode == 0


def test_two_refreshes_at_once_do_not_meet(listed: Installation) -> None:
    with (
        writer_lock(listed.places.publisher, 0o700),
        pytest.raises(RefreshError, match="another refresh"),
    ):
        listed.refresh()
