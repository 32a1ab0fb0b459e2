"""Packs as one file: what is carried over, and every attack on the way by its name."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from inkgate.rules.crypto.keys import read_public_key, read_signing_key, read_token
from inkgate.rules.errors import PackError
from inkgate.rules.install.archive import export_pack, install_archive
from inkgate.rules.install.serials import current_folder
from inkgate.rules.pack.manifest import Manifest, sign_manifest
from support.installation import BIN, Installation, attribute

pytestmark = pytest.mark.slow

Members = dict[str, bytes]


@pytest.fixture
def listed(installation: Installation) -> Installation:
    installation.add(
        "listed",
        attribute("domain", "listed.example"),
        attribute("url", "http://files.example/bad"),
    )
    installation.refresh()
    return installation


def pack_of(installation: Installation) -> Path:
    return (installation.places.publisher / "pack").resolve()


def exported(installation: Installation) -> bytes:
    target = io.BytesIO()
    export_pack(pack_of(installation), target)
    return target.getvalue()


def members(archive: bytes) -> Members:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return {m.name: opened.extractfile(m).read() for m in opened}  # type: ignore[union-attr]


def packed(content: Members, *more: tuple[tarfile.TarInfo, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info, data in more:
            archive.addfile(info, io.BytesIO(data))
    return target.getvalue()


def install(installation: Installation, archive: bytes) -> Manifest:
    where = installation.places
    return install_archive(
        io.BytesIO(archive),
        where.installed,
        key=read_public_key(where.public_key_file),
        caps=installation.settings.caps,
        token=read_token(where.token_file),
        now=datetime.now(UTC),
    )


def signed(installation: Installation, content: Members, manifest: dict[str, object]) -> Members:
    """The same content under another manifest that the publisher signed."""
    data = json.dumps(manifest).encode()
    line = sign_manifest(data, read_signing_key(installation.places.publisher))
    return {"manifest.json": data, "manifest.sig": line} | {
        name: data for name, data in content.items() if not name.startswith("manifest")
    }


@pytest.fixture
def other_machine(listed: Installation) -> Iterator[Installation]:
    """A subscriber that has the token and the publisher's public key, and no rules yet."""
    subscriber = Installation()
    for name in ("token_file", "public_key_file"):
        source: Path = getattr(listed.places, name)
        getattr(subscriber.places, name).write_bytes(source.read_bytes())
    yield subscriber
    subscriber.close()


def test_export_and_install_carry_a_pack_to_another_machine(
    listed: Installation, other_machine: Installation
) -> None:
    file = listed.folder / "rules.inkgate"
    assert listed.run("inkgate-rules", "export", str(file)).returncode == 0
    done = other_machine.run("inkgate-rules", "install", str(file))
    assert done.returncode == 0, done.stderr
    assert "6 rules" in done.stdout, "two that are listed, and four canaries"
    assert other_machine.run("inkgate-rules", "match", "domain=listed.example").returncode == 0


def test_through_a_pipe(listed: Installation, other_machine: Installation) -> None:
    out = subprocess.run(
        [BIN / "inkgate-rules", "--config", listed.config, "export", "-"],
        capture_output=True,
        check=True,
    ).stdout
    assert out == exported(listed)
    subprocess.run(
        [BIN / "inkgate-rules", "--config", other_machine.config, "install", "-"],
        input=out,
        check=True,
    )
    assert other_machine.run("inkgate-rules", "match", "domain=listed.example").returncode == 0


def test_same_pack_gives_same_bytes(listed: Installation) -> None:
    assert exported(listed) == exported(listed)


def attack_truncated(listed: Installation) -> bytes:
    archive = exported(listed)
    return archive[: len(archive) // 2]


def attack_no_archive(_: Installation) -> bytes:
    return b"this is not an archive" * 100


def attack_manifest_missing(listed: Installation) -> bytes:
    content = members(exported(listed))
    del content["manifest.json"]
    return packed(content)


def attack_signature_missing(listed: Installation) -> bytes:
    content = members(exported(listed))
    del content["manifest.sig"]
    return packed(content)


def attack_signature_wrong(listed: Installation) -> bytes:
    content = members(exported(listed))
    content["manifest.json"] += b" "
    return packed(content)


def attack_signature_of_another_key(listed: Installation) -> bytes:
    content = members(exported(listed))
    content["manifest.sig"] = sign_manifest(content["manifest.json"], Ed25519PrivateKey.generate())
    return packed(content)


def attack_manifest_of_one_pack_with_files_of_another(listed: Installation) -> bytes:
    old = members(exported(listed))
    listed.add("more", attribute("domain", "more.example"))
    listed.refresh()
    return packed(members(exported(listed)) | {"rules/domain.tsv": old["rules/domain.tsv"]})


def attack_file_missing(listed: Installation) -> bytes:
    content = members(exported(listed))
    del content["rules/url.tsv"]
    return packed(content)


def attack_older_serial(listed: Installation) -> bytes:
    old = exported(listed)
    listed.add("more", attribute("domain", "more.example"))
    listed.refresh()
    return old


def attack_serial_far_ahead(listed: Installation) -> bytes:
    content = members(exported(listed))
    manifest = json.loads(content["manifest.json"])
    manifest["serial"] = 2**53 - 1
    return packed(signed(listed, content, manifest))


def attack_expired(listed: Installation) -> bytes:
    content = members(exported(listed))
    manifest = json.loads(content["manifest.json"])
    manifest["expires"] = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    return packed(signed(listed, content, manifest))


def attack_cost_above_the_cap(listed: Installation) -> bytes:
    content = members(exported(listed))
    manifest = json.loads(content["manifest.json"])
    manifest["profiles"]["name"] = {"algorithm": "pbkdf2", "hash": "sha256", "iterations": 2**40}
    return packed(signed(listed, content, manifest))


def attack_ten_gigabytes_declared(listed: Installation) -> bytes:
    """The manifest tells the truth, the archive's header declares more, and little follows."""
    content = members(exported(listed))
    url = content.pop("rules/url.tsv")
    info = tarfile.TarInfo("rules/url.tsv")
    info.size = 10 << 30
    # Written by hand: tarfile itself would not write so false a header.
    return packed(content)[: -tarfile.RECORDSIZE] + info.tobuf() + url


def attack_ten_gigabytes_signed(listed: Installation) -> bytes:
    content = members(exported(listed))
    manifest = json.loads(content["manifest.json"])
    manifest["classes"]["url"]["size"] = 10 << 30
    return packed(signed(listed, content, manifest))


def attack_hundred_gigabytes_signed(listed: Installation) -> bytes:
    content = members(exported(listed))
    manifest = json.loads(content["manifest.json"])
    manifest["classes"]["url"]["size"] = 100 << 30
    return packed(signed(listed, content, manifest))


def attack_path_that_climbs(listed: Installation) -> bytes:
    return packed(members(exported(listed)) | {"rules/../../token": b"t" * 32})


def attack_absolute_path(listed: Installation) -> bytes:
    return packed(members(exported(listed)) | {str(listed.folder / "token"): b"t" * 32})


def attack_class_that_climbs(listed: Installation) -> bytes:
    content = members(exported(listed))
    manifest = json.loads(content["manifest.json"])
    manifest["classes"]["../../token"] = manifest["classes"]["url"]
    return packed(signed(listed, content, manifest))


def attack_symbolic_link(listed: Installation) -> bytes:
    content = members(exported(listed))
    del content["rules/url.tsv"]
    info = tarfile.TarInfo("rules/url.tsv")
    info.type = tarfile.SYMTYPE
    info.linkname = "/etc/passwd"
    return packed(content, (info, b""))


def attack_same_member_twice(listed: Installation) -> bytes:
    content = members(exported(listed))
    info = tarfile.TarInfo("rules/url.tsv")
    info.size = len(content["rules/url.tsv"])
    return packed(content, (info, content["rules/url.tsv"]))


def attack_row_swapped_between_types(listed: Installation) -> bytes:
    content = members(exported(listed))
    one, other = "rules/domain.tsv", "rules/url.tsv"
    content[one], content[other] = content[other], content[one]
    return packed(content)


def attack_endless_manifest(_: Installation) -> bytes:
    info = tarfile.TarInfo("manifest.json")
    info.size = 1 << 30
    return info.tobuf() + bytes(1 << 20)


def attack_extended_header(listed: Installation) -> bytes:
    """What tarfile would read whole, before anything is verified."""
    info = tarfile.TarInfo("pax")
    info.type = tarfile.XHDTYPE
    info.size = 400 << 20
    return info.tobuf() + exported(listed)


def attack_sparse_map(listed: Installation) -> bytes:
    content = members(exported(listed))
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("manifest.json")
        info.pax_headers = {"GNU.sparse.size": "abc"}
        info.size = len(content["manifest.json"])
        archive.addfile(info, io.BytesIO(content["manifest.json"]))
    return target.getvalue()


def attack_name_that_is_not_ascii(listed: Installation) -> bytes:
    return exported(listed).replace(b"manifest.json", b"manifest.js\xff\xfe", 1)


def attack_compressed(listed: Installation) -> bytes:
    return gzip.compress(exported(listed))


ATTACKS: list[tuple[Callable[[Installation], bytes], str]] = [
    (attack_truncated, "bad-digest"),
    (attack_no_archive, "bad-digest"),
    (attack_manifest_missing, "bad-digest"),
    (attack_signature_missing, "bad-digest"),
    (attack_signature_wrong, "bad-signature"),
    (attack_signature_of_another_key, "bad-signature"),
    (attack_manifest_of_one_pack_with_files_of_another, "bad-digest"),
    (attack_file_missing, "bad-digest"),
    (attack_older_serial, "rolled-back"),
    (attack_serial_far_ahead, "too-far-ahead"),
    (attack_expired, "expired"),
    (attack_cost_above_the_cap, "too-costly"),
    (attack_ten_gigabytes_declared, "bad-digest"),
    (attack_ten_gigabytes_signed, "bad-digest"),
    (attack_hundred_gigabytes_signed, "bad-manifest"),
    (attack_path_that_climbs, "bad-digest"),
    (attack_absolute_path, "bad-digest"),
    (attack_class_that_climbs, "bad-manifest"),
    (attack_symbolic_link, "bad-digest"),
    (attack_same_member_twice, "bad-digest"),
    (attack_row_swapped_between_types, "bad-digest"),
    (attack_endless_manifest, "too-large"),
    (attack_extended_header, "bad-digest"),
    (attack_sparse_map, "bad-digest"),
    (attack_name_that_is_not_ascii, "bad-digest"),
    (attack_compressed, "bad-digest"),
]


@pytest.mark.parametrize(("attack", "expected"), ATTACKS)
def test_attack_is_refused_and_nothing_is_replaced(
    listed: Installation, attack: Callable[[Installation], bytes], expected: str
) -> None:
    archive = attack(listed)
    current = current_folder(listed.places.installed)
    token = read_token(listed.places.token_file)
    with pytest.raises(PackError) as error:
        install(listed, archive)
    assert error.value.error_class == expected
    assert current_folder(listed.places.installed) == current
    assert read_token(listed.places.token_file) == token
    assert not list(listed.places.installed.glob(".unpacked-*"))
    assert listed.run("inkgate-rules", "match", "domain=listed.example").returncode == 0


def test_row_moved_to_another_type_by_a_careless_publisher_matches_nothing(
    listed: Installation,
) -> None:
    """Even signed, a row counts only for the type that it was sealed for."""
    content = members(exported(listed))
    manifest = json.loads(content["manifest.json"])
    classes = manifest["classes"]
    one, other = "rules/domain.tsv", "rules/url.tsv"
    content[one], content[other] = content[other], content[one]
    classes["domain"], classes["url"] = classes["url"], classes["domain"]
    manifest["serial"] += 1
    install(listed, packed(signed(listed, content, manifest)))
    assert listed.run("inkgate-rules", "match", "domain=listed.example").returncode == 1
    assert listed.run("inkgate-rules", "match", "url=http://files.example/bad").returncode == 1


def test_wrong_token_is_said(listed: Installation, other_machine: Installation) -> None:
    other_machine.places.token_file.write_text("another-Token-0123-of-nobody")
    (listed.folder / "rules.inkgate").write_bytes(exported(listed))
    done = other_machine.run("inkgate-rules", "install", str(listed.folder / "rules.inkgate"))
    assert done.returncode == 2
    assert "sealed for another token" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_install_of_a_folder_names_what_is_wanted(listed: Installation) -> None:
    done = listed.run("inkgate-rules", "install", str(listed.folder))
    assert done.returncode == 2
    assert done.stderr == (
        f"inkgate-rules: {listed.folder} is a folder; name the pack in it, a file NAME.inkgate\n"
    )
