"""What is damaged, lost or hostile stops no refresh: the next one puts it right."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from inkgate.rules.crypto.keys import make_signing_key, make_token
from inkgate.rules.errors import PackError, RefreshError
from inkgate.rules.install.install import open_current
from support.installation import Installation, attribute


@pytest.fixture
def listed(installation: Installation) -> Installation:
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    return installation


def answers(installation: Installation, name: str = "listed.example") -> bool:
    matcher = installation.matcher()
    try:
        return matcher.look_up("domain", "name", name.encode()) is not None
    finally:
        matcher.generation.close()


def pack_of(installation: Installation) -> Path:
    return (installation.places.publisher / "pack").resolve()


def current_of(installation: Installation) -> Path:
    return (installation.places.installed / "current").resolve()


def cut_current_rules(listed: Installation) -> None:
    os.truncate(current_of(listed) / "rules.mdb", 4096)


def lose_current_gate(listed: Installation) -> None:
    (current_of(listed) / "suffix.gate").unlink()


def garble_current_manifest(listed: Installation) -> None:
    (current_of(listed) / "manifest.json").write_text("{")


def lose_current_generation(listed: Installation) -> None:
    for path in current_of(listed).iterdir():
        path.unlink()
    current_of(listed).rmdir()


def lose_pack_manifest(listed: Installation) -> None:
    (pack_of(listed) / "manifest.json").unlink()


def damage_pack_file(listed: Installation) -> None:
    (pack_of(listed) / "rules" / "domain.tsv").write_text("x")


def lose_pack(listed: Installation) -> None:
    (listed.places.publisher / "pack").unlink()


def lose_publisher(listed: Installation) -> None:
    """All but the key: as after a disk was replaced and the key came from a backup."""
    for path in sorted(listed.places.publisher.rglob("*"), reverse=True):
        if path.name != "signing.key":
            path.unlink() if path.is_file() or path.is_symlink() else path.rmdir()


def change_signing_key(listed: Installation) -> None:
    (listed.places.publisher / "signing.key").unlink()
    listed.places.public_key_file.unlink()
    make_signing_key(listed.places.publisher, listed.places.public_key_file)


def cut_runs(listed: Installation) -> None:
    for path in listed.places.publisher.glob("sealed/*/*.run"):
        os.truncate(path, max(0, path.stat().st_size - 50))


def flip_bits_in_runs(listed: Installation) -> None:
    for path in listed.places.publisher.glob("sealed/*/*.run"):
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)


def lose_epoch(listed: Installation) -> None:
    (listed.places.publisher / "epoch.json").write_text("{")


FAULTS = [
    cut_current_rules,
    lose_current_gate,
    garble_current_manifest,
    lose_current_generation,
    lose_pack_manifest,
    damage_pack_file,
    lose_pack,
    lose_publisher,
    change_signing_key,
    cut_runs,
    flip_bits_in_runs,
    lose_epoch,
]


@pytest.mark.parametrize("more", [False, True], ids=["nothing-new", "something-new"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.slow
def test_next_refresh_puts_it_right(
    listed: Installation, fault: Callable[[Installation], None], more: bool
) -> None:
    serial = open_current(listed.places.installed, listed.settings.caps).manifest.serial
    fault(listed)
    if more:
        listed.add("more", attribute("domain", "more.example"))
    listed.refresh()
    assert answers(listed)
    assert answers(listed, "more.example") == more
    assert open_current(listed.places.installed, listed.settings.caps).manifest.serial >= serial
    again = listed.refresh()
    assert not again.published
    assert again.done.derived == 0


def test_profile_above_the_caps_is_refused_before_anything_is_sealed(listed: Installation) -> None:
    listed.configure(
        'profiles = { name = { algorithm = "pbkdf2", hash = "sha256", iterations = 2000000 } }'
    )
    with pytest.raises(PackError, match="too-costly"):
        listed.refresh()
    listed.configure('profiles = { name = "test", ip = "test", url = "test", text = "test" }')
    listed.refresh()
    assert answers(listed)


@pytest.mark.slow
def test_more_types_than_a_manifest_may_name_cost_nothing_else(listed: Installation) -> None:
    listed.add("many", *(attribute(f"made-up-{n}", "x") for n in range(1100)))
    assert listed.refresh().report.fates["refused"] == 1100
    assert answers(listed)


def test_more_types_of_the_settings_than_a_manifest_may_name_publish_nothing(
    listed: Installation,
) -> None:
    names = [f"made-up-{n}" for n in range(1100)]
    many = listed.add("many", *(attribute(name, "x") for name in names))
    listed.configure(f"more_types = {names}")
    with pytest.raises(PackError, match="too many classes"):
        listed.refresh()
    assert answers(listed)
    many.unlink()
    listed.refresh()
    assert answers(listed)


@pytest.mark.parametrize("moment", ["9" * 30, "-5", "1e99", "0001-01-01", "9999-12-31T23:59:59"])
@pytest.mark.slow
def test_hostile_timestamp_stops_nothing(listed: Installation, moment: str) -> None:
    listed.configure('max_age_days = { "*" = 36500 }')
    listed.add("odd", attribute("domain", "odd.example", timestamp=moment, last_seen=moment))
    listed.refresh()
    assert answers(listed, "odd.example")


@pytest.mark.parametrize("network", ["0.0.0.0/0", "192.0.0.0/7", "::/0", "2001::/15"])
@pytest.mark.slow
def test_half_the_internet_is_refused(listed: Installation, network: str) -> None:
    listed.add("wide", attribute("ip-dst", network), attribute("ip-dst", "203.0.113.0/24"))
    summary = listed.refresh()
    assert summary.report.total("refused") == 1
    assert summary.rules - summary.canaries == 2


@pytest.mark.parametrize("text", ["192.0.2.010", "192.000.002.010", "010.0.0.1", "192.0.2.010/32"])
@pytest.mark.slow
def test_padded_address_is_refused_not_guessed(listed: Installation, text: str) -> None:
    listed.add("padded", attribute("ip-dst", text))
    assert listed.refresh().report.total("refused") == 1


def test_empty_key_files_never_exist(installation: Installation, tmp_path: Path) -> None:
    """Killed between making and writing: then there is no file, and keygen makes one."""
    token = tmp_path / "token"
    assert make_token(token)
    assert [path.name for path in tmp_path.iterdir()] == ["token"]
    assert token.stat().st_mode & 0o777 == 0o640
    assert not make_token(token)


@pytest.mark.slow
def test_file_that_was_emptied_keeps_its_last_reading(listed: Installation) -> None:
    path = listed.events / "list.txt"
    path.write_text("one.example\ntwo.example\n")
    listed.refresh()
    path.write_text("")
    done = listed.run("inkgate-rules", "refresh")
    assert done.returncode == 1
    assert "list.txt: is empty and was not before" in done.stderr
    assert answers(listed, "one.example")
    told = listed.run("inkgate-rules", "match", "domain=one.example").stdout
    assert "source=list.txt" in told
    assert listed.refresh(allow_empty=True).unreadable == []
    assert not answers(listed, "one.example")


def test_file_name_that_is_not_utf8(listed: Installation) -> None:
    Path(os.fsdecode(bytes(listed.events) + b"/list-\xff.txt")).write_text("one.example\n")
    listed.refresh()
    assert answers(listed, "one.example")


def test_line_without_an_end_is_one_line(listed: Installation) -> None:
    padding = "a" * (16_384 - len("http://x.example/"))
    (listed.events / "list.txt").write_text(
        f"http://x.example/{padding}good.example\nbad.example\n"
    )
    summary = listed.refresh()
    assert not answers(listed, "good.example")
    assert answers(listed, "bad.example")
    (case,) = summary.report.examples["refused", "longer than 8192 bytes"]
    assert case.place == f"{listed.events}/list.txt:1"


@pytest.mark.slow
def test_choosing_a_source_keeps_what_the_others_gave(listed: Installation) -> None:
    listed.configure(
        'sources = ["events", { type = "misp-mysql", host = "127.0.0.1", port = 1, timeout = 1 }]'
    )
    os.environ["INKGATE_MYSQL_PASSWORD"] = "made up"
    done = listed.run("inkgate-rules", "refresh", "--misp", "mysql")
    assert done.returncode == 1
    assert answers(listed)
    listed.add("more", attribute("domain", "more.example"))
    listed.run("inkgate-rules", "refresh", "--misp", "mysql")
    assert not answers(listed, "more.example")
    listed.run("inkgate-rules", "refresh", "--misp", "file")
    assert answers(listed, "more.example")


def test_block_that_has_expired_does_not_live_on_in_a_log(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.configure('max_age_days = { domain = 10 }\nactions = { "tag:watch" = "log" }')
    now = 1_790_000_000
    monkeypatch.setattr("inkgate.rules.refresh.reading.datetime", _Clock(now))
    installation.add(
        "both",
        attribute("domain", "one.example", timestamp=str(now - 9 * 86_400)),
        attribute("domain", "one.example", timestamp=str(now), Tag=[{"name": "watch"}]),
    )
    installation.refresh()
    clock = [now]
    matcher = installation.matcher(now=lambda: clock[0])
    match = matcher.look_up("domain", "name", b"one.example")
    assert match is not None
    assert match.message.action == "block"
    clock[0] += 2 * 86_400
    assert matcher.look_up("domain", "name", b"one.example") is None
    monkeypatch.setattr("inkgate.rules.refresh.reading.datetime", _Clock(now + 2 * 86_400))
    installation.refresh()
    later = installation.matcher(now=lambda: clock[0])
    match = later.look_up("domain", "name", b"one.example")
    assert match is not None
    assert match.message.action == "log"


class _Clock:
    """Stands for datetime where only the present is asked for."""

    def __init__(self, now: int) -> None:
        self._now = now

    def now(self, zone: object) -> object:
        from datetime import UTC, datetime

        assert zone is UTC
        return datetime.fromtimestamp(self._now, UTC)


def test_nothing_to_read_is_an_error_that_names_the_settings(installation: Installation) -> None:
    installation.configure("sources = []")
    with pytest.raises(RefreshError, match="sources is empty"):
        installation.refresh()


def test_stix_bundle_with_its_type_last_is_one(installation: Installation) -> None:
    bundle = {"id": "bundle--1", "objects": [], "zz": "x" * 200_000, "type": "bundle"}
    (installation.events / "bundle.json").write_text(json.dumps(bundle))
    from inkgate.rules.sources.readers.source_file import SourceFile
    from inkgate.rules.sources.readers.stix import is_stix_file

    assert is_stix_file(SourceFile(installation.events / "bundle.json"))
