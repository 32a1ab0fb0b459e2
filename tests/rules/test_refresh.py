"""Refreshing, installing, and every attack on a pack by its name."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from inkgate.rules.crypto.keys import (
    KeyFileError,
    make_token,
    read_public_key,
    read_signing_key,
    read_token,
)
from inkgate.rules.errors import PackError, RefreshError
from inkgate.rules.install.install import install_pack, open_current, verify_pack
from inkgate.rules.lookup.matcher import Matcher
from inkgate.rules.pack.manifest import sign_manifest
from support.installation import BIN, Installation, attribute
from support.measured import measure
from support.waiting import wait_for_work


def uuids(installation: Installation, query: str) -> list[str]:
    done = installation.run("inkgate-rules", "match", "--json", query)
    assert done.returncode in (0, 1), done.stderr
    assert (done.returncode == 0) == bool(done.stdout)
    return [
        a["uuid"]
        for line in done.stdout.splitlines()
        for a in json.loads(line)["message"]["attributes"]
    ]


@pytest.fixture
def listed(installation: Installation) -> Installation:
    installation.add(
        "listed",
        attribute("domain", "listed.example"),
        attribute("url", "http://files.example/bad"),
        attribute("ip-dst", "198.51.100.66"),
        attribute("sha256", "ab" * 32),
    )
    installation.refresh()
    return installation


def test_only_new_indicators_are_derived_and_old_rows_stay(listed: Installation) -> None:
    pack = listed.places.publisher / "pack"
    before = (pack / "rules" / "ip-dst.tsv").read_bytes()
    again = listed.refresh()
    assert (again.done.derived, again.done.new, again.done.resealed, again.done.removed) == (
        0,
        0,
        0,
        0,
    )
    assert not again.published
    listed.add("more", attribute("domain", "added.example"))
    more = listed.refresh()
    assert (more.done.derived, more.done.new, more.serial) == (1, 1, again.serial + 1)
    assert (pack / "rules" / "ip-dst.tsv").read_bytes() == before


def test_equal_values_make_one_rule_with_all_attributes(installation: Installation) -> None:
    one, other = attribute("domain", "Same.example"), attribute("domain", "same[.]example")
    installation.add("both", one, other)
    done = installation.refresh()
    assert done.rules - done.canaries == 1
    assert sorted(uuids(installation, "domain=same.example")) == sorted(
        [str(one["uuid"]), str(other["uuid"])]
    )


def test_removed_indicator_stops_matching(listed: Installation) -> None:
    listed.add("listed", attribute("domain", "other.example"))
    # The four, and the canary of digests, which a set without digests does not have.
    assert listed.refresh().done.removed == 5
    assert uuids(listed, "domain=listed.example") == []


def test_to_ids_deleted_and_bad_values_are_counted(installation: Installation) -> None:
    bad = attribute("ip-dst", "not an address")
    installation.add(
        "mixed",
        attribute("domain", "a.example", to_ids=False),
        attribute("domain", "b.example", deleted="1"),
        attribute("domain", "c.example"),
        bad,
    )
    summary = installation.refresh()
    assert summary.report.skipped == {"to_ids not set": 1, "deleted": 1}
    (case,) = summary.report.examples["refused", "not an IP address"]
    assert (case.place, case.type) == (bad["uuid"], "ip-dst")


@pytest.mark.slow
def test_truncated_file_is_named_and_its_last_good_reading_counts(listed: Installation) -> None:
    path = listed.add("second", attribute("domain", "second.example"))
    listed.refresh()
    whole = path.read_text()
    path.write_text(whole[:-20])
    done = listed.run("inkgate-rules", "refresh")
    assert done.returncode == 1
    assert str(path) in done.stderr
    assert uuids(listed, "domain=second.example")
    assert uuids(listed, "domain=listed.example")


def test_empty_sources_do_not_empty_the_rules(listed: Installation) -> None:
    (listed.events / "listed.json").unlink()
    (fault,) = listed.refresh().unreadable
    assert fault.problem == "had 1 files and has 0"
    assert uuids(listed, "domain=listed.example")
    never = listed.folder / "never"
    never.mkdir()
    listed.configure('sources = ["never"]')
    with pytest.raises(RefreshError, match="allow-empty"):
        listed.refresh()
    assert uuids(listed, "domain=listed.example")
    done = listed.refresh(allow_empty=True)
    assert done.rules == done.canaries > 0


@pytest.mark.parametrize("name", ["url", "uri", "link"])
@pytest.mark.slow
def test_urls_are_looked_up_as_a_proxy_does(installation: Installation, name: str) -> None:
    installation.add("listed", attribute(name, "http://files.example/bad"))
    installation.refresh()
    assert uuids(installation, f"{name}=http://www.files.example/bad?x")
    assert not uuids(installation, f"{name}=http://files.example/other?x")


@pytest.mark.slow
def test_domain_ip_counts_as_domain_unless_turned_off(installation: Installation) -> None:
    installation.add("pair", attribute("domain|ip", "pair.example|192.0.2.1"))
    installation.refresh()
    assert uuids(installation, "domain=www.pair.example")
    assert uuids(installation, "domain|ip=pair.example|192.0.2.1")
    text = installation.config.read_text()
    installation.config.write_text(text.replace("[rules]", "[rules]\ndomain_ip_by_domain = false"))
    installation.refresh()
    assert not uuids(installation, "domain=www.pair.example")
    assert uuids(installation, "domain|ip=pair.example|192.0.2.1")
    assert not uuids(installation, "domain|ip=pair.example|192.0.2.2")


def test_new_token_makes_a_new_epoch(listed: Installation) -> None:
    before = open_current(listed.places.installed, listed.settings.caps).manifest
    listed.places.token_file.unlink()
    make_token(listed.places.token_file)
    with pytest.raises(PackError, match="wrong-token"):
        listed.matcher()
    listed.refresh()
    after = open_current(listed.places.installed, listed.settings.caps).manifest
    assert after.set_id != before.set_id
    assert after.serial > before.serial
    assert uuids(listed, "domain=listed.example")


def test_pack_of_token_a_is_a_clear_error_with_token_b(listed: Installation) -> None:
    listed.places.token_file.write_text("another-Token-4567-of-nobody")
    done = listed.run("inkgate-rules", "match", "domain=listed.example")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "sealed for another token" in done.stderr
    assert "another-Token-4567-of-nobody" not in done.stderr


def test_nothing_on_disk_is_in_clear(installation: Installation) -> None:
    """What a thief of the proxy's rule files finds: no indicator, no UUID, no token."""
    secrets = {
        "domain": "very-secret-name.example",
        "url": "http://secret-host.example/secret-path",
        "ip-dst": "198.51.100.66",
        "sha256": "ab" * 32,
        "text": "a secret remark",
    }
    attributes = [attribute(k, v) for k, v in secrets.items()]
    installation.add("secret", *attributes)
    installation.refresh()
    helper = subprocess.Popen(
        [BIN / "inkgate-helper", "--config", installation.config],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert helper.stdin
    assert helper.stdout
    helper.stdin.write(b"1 GET http://very-secret-name.example/ 127.0.0.1 - - -\n")
    helper.stdin.flush()
    assert helper.stdout.readline().startswith(b"1 OK")
    mapped = {
        Path(line.split(maxsplit=5)[5])
        for line in Path(f"/proc/{helper.pid}/maps").read_text().splitlines()
        if str(installation.folder) in line and "sightings.db" not in line
    }
    assert any(path.name == "rules.mdb" for path in mapped)
    helper.communicate()
    where = installation.places
    files = {p for p in where.installed.rglob("*") if p.is_file()}
    files |= {p for p in (where.publisher / "pack").resolve().rglob("*") if p.is_file()}
    files |= {p for p in where.key_cache.rglob("*") if p.is_file()} | mapped
    assert len(files) > 10
    token = read_token(where.token_file)
    clear = [
        token,
        b"very-secret-name",
        b"secret-path",
        b"198.51.100.66",
        b"ab" * 32,
        bytes.fromhex("ab" * 32),
        b"secret remark",
        *(str(a["uuid"]).encode() for a in attributes),
        *(bytes.fromhex(str(a["uuid"]).replace("-", "")) for a in attributes),
    ]
    clear += [base64.b64encode(text).rstrip(b"=")[:-1] for text in clear]
    for path in files:
        data = path.read_bytes()
        assert not [text for text in clear if text in data], path


def test_key_files_are_not_for_everyone(listed: Installation) -> None:
    where = listed.places
    assert where.token_file.stat().st_mode & 0o777 == 0o640
    assert (where.publisher / "signing.key").stat().st_mode & 0o777 == 0o600
    assert (where.publisher / "last-good").stat().st_mode & 0o777 == 0o700


def test_keygen_never_replaces_a_key(listed: Installation) -> None:
    token = listed.places.token_file.read_bytes()
    assert listed.run("inkgate-rules", "keygen").returncode == 0
    assert listed.places.token_file.read_bytes() == token


def test_short_token_is_refused_without_being_shown(listed: Installation) -> None:
    listed.places.token_file.write_text("short")
    with pytest.raises(KeyFileError) as error:
        read_token(listed.places.token_file)
    assert "short\n" not in str(error.value)


@pytest.mark.parametrize("fault", ["[rules]\nsauces = []", "[rules]\nepsilon = 2", "[rules"])
@pytest.mark.slow
def test_settings_errors_are_one_line_with_the_file(listed: Installation, fault: str) -> None:
    listed.config.write_text(fault)
    done = listed.run("inkgate-rules", "inspect")
    assert done.returncode == 2
    assert str(listed.config) in done.stderr
    assert len(done.stderr.splitlines()) == 1


def manifest_of(pack: Path) -> dict[str, object]:
    loaded: dict[str, object] = json.loads((pack / "manifest.json").read_bytes())
    return loaded


def rewrite(listed: Installation, change: Callable[[dict[str, object]], object]) -> Path:
    """Change the pack's manifest and sign it as the publisher would."""
    pack = (listed.places.publisher / "pack").resolve()
    manifest = manifest_of(pack)
    change(manifest)
    data = json.dumps(manifest).encode()
    (pack / "manifest.json").write_bytes(data)
    key = read_signing_key(listed.places.publisher)
    (pack / "manifest.sig").write_bytes(sign_manifest(data, key))
    return pack


def verify(listed: Installation, pack: Path, installed: int | None = 1) -> None:
    where = listed.places
    manifest = verify_pack(
        pack,
        key=read_public_key(where.public_key_file),
        caps=listed.settings.caps,
        token=read_token(where.token_file),
        now=datetime.now(UTC),
        installed=lambda: installed,
    )
    install_pack(pack, manifest, where.installed, read_public_key(where.public_key_file))


def attack_missing_signature(listed: Installation) -> Path:
    pack = (listed.places.publisher / "pack").resolve()
    (pack / "manifest.sig").write_bytes(b"")
    return pack


def attack_wrong_signature(listed: Installation) -> Path:
    pack = (listed.places.publisher / "pack").resolve()
    (pack / "manifest.sig").write_bytes(base64.b64encode(b"x" * 64))
    return pack


def attack_signature_of_another_key(listed: Installation) -> Path:
    pack = (listed.places.publisher / "pack").resolve()
    data = (pack / "manifest.json").read_bytes()
    (pack / "manifest.sig").write_bytes(sign_manifest(data, Ed25519PrivateKey.generate()))
    return pack


def attack_files_of_another_pack(listed: Installation) -> Path:
    pack = (listed.places.publisher / "pack").resolve()
    path = pack / "rules" / "domain.tsv"
    path.write_bytes(path.read_bytes()[::-1])
    return pack


def attack_swapped_row_between_types(listed: Installation) -> Path:
    rules = (listed.places.publisher / "pack").resolve() / "rules"
    one, other = rules / "domain.tsv", rules / "url.tsv"
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    return rules.parent


def attack_expired(listed: Installation) -> Path:
    past = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    return rewrite(listed, lambda m: m.update(expires=past))


def attack_costly_profile(listed: Installation) -> Path:
    dear = {"algorithm": "argon2id", "memory_kib": 1 << 30, "iterations": 1, "lanes": 1}
    return rewrite(listed, lambda m: m["profiles"].update(name=dear))  # type: ignore[attr-defined]


def attack_ten_gigabytes_declared(listed: Installation) -> Path:
    return rewrite(
        listed,
        lambda m: m["classes"]["url"].update(size=10 << 30),  # type: ignore[index]
    )


def attack_path_that_leaves_the_pack(listed: Installation) -> Path:
    def climb(manifest: dict[str, object]) -> None:
        classes = manifest["classes"]
        assert isinstance(classes, dict)
        classes["../../token"] = classes.pop("url")

    return rewrite(listed, climb)


def attack_unknown_format(listed: Installation) -> Path:
    return rewrite(listed, lambda m: m.update(format=2))


def attack_endless_manifest(listed: Installation) -> Path:
    pack = (listed.places.publisher / "pack").resolve()
    with (pack / "manifest.json").open("ab") as file:
        file.write(b" " * (1 << 20))
    return pack


def attack_count_that_lies(listed: Installation) -> Path:
    return rewrite(
        listed,
        lambda m: m["classes"]["url"].update(rules=3),  # type: ignore[index]
    )


ATTACKS = [
    (attack_missing_signature, "bad-signature"),
    (attack_wrong_signature, "bad-signature"),
    (attack_signature_of_another_key, "bad-signature"),
    (attack_files_of_another_pack, "bad-digest"),
    (attack_swapped_row_between_types, "bad-digest"),
    (attack_expired, "expired"),
    (attack_costly_profile, "too-costly"),
    (attack_ten_gigabytes_declared, "bad-digest"),
    (attack_path_that_leaves_the_pack, "bad-manifest"),
    (attack_unknown_format, "bad-manifest"),
    (attack_endless_manifest, "too-large"),
    (attack_count_that_lies, "bad-rules"),
]


@pytest.mark.parametrize(("attack", "expected"), ATTACKS)
@pytest.mark.slow
def test_attack_is_refused_and_the_old_rules_stay(
    listed: Installation, attack: Callable[[Installation], Path], expected: str
) -> None:
    current = (listed.places.installed / "current").resolve()
    pack = attack(listed)
    with pytest.raises(PackError) as error:
        verify(listed, pack)
    assert error.value.error_class == expected
    assert (listed.places.installed / "current").resolve() == current
    assert uuids(listed, "domain=listed.example")


def test_attack_roll_back(listed: Installation) -> None:
    with pytest.raises(PackError, match="rolled-back"):
        verify(listed, (listed.places.publisher / "pack").resolve(), installed=2)


@pytest.mark.slow
def test_killed_refresh_leaves_one_whole_set(listed: Installation) -> None:
    """kill -9 at many moments: the old set or the new one answers, and the next run heals."""
    command = [BIN / "inkgate-rules", "--config", listed.config, "refresh", "-q"]
    listed.add("whole", *(attribute("domain", f"x-{i}.example") for i in range(60)))
    whole = measure(command).cpu_seconds
    for number in range(12):
        listed.add(
            f"n{number}", *(attribute("domain", f"x{number}-{i}.example") for i in range(60))
        )
        process = subprocess.Popen(command)
        wait_for_work(process, whole * (number + 1) / 13)
        process.send_signal(signal.SIGKILL)
        process.wait()
        matcher = listed.matcher()
        assert matcher.look_up("domain", "name", b"listed.example")
        found = [
            bool(matcher.look_up("domain", "name", f"x{number}-{i}.example".encode()))
            for i in range(60)
        ]
        matcher.generation.close()
        assert all(found) or not any(found)
    listed.refresh()
    matcher = listed.matcher()
    assert all(matcher.look_up("domain", "name", f"x{n}-0.example".encode()) for n in range(12))


def test_two_refreshes_do_not_run_at_once(listed: Installation) -> None:
    import fcntl

    with (listed.places.publisher / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RefreshError, match="another refresh"):
            listed.refresh()


@pytest.mark.slow
def test_gates_off_gives_the_same_verdicts(listed: Installation) -> None:
    text = listed.config.read_text()
    listed.config.write_text(text.replace("[rules]", "[rules]\nepsilon = 1"))
    listed.refresh()
    assert open_current(listed.places.installed, listed.settings.caps).manifest.gates == {}
    assert uuids(listed, "domain=a.listed.example")
    assert uuids(listed, "url=http://files.example/bad?x")
    assert list(listed.places.installed.iterdir())
    assert isinstance(listed.matcher(), Matcher)


def test_stages_are_told_from_the_warninglists_on(installation: Installation) -> None:
    """Compiling them takes most of a first refresh."""
    installation.add("listed", attribute("domain", "listed.example"))
    stages = [stage.name for stage in installation.refresh().stages]
    assert stages == ["warninglists", "reading", "sealing", "publishing", "installing"]
