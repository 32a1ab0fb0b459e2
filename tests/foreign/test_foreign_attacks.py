"""Hostile and damaged foreign rules: one clear error each, bounded work, no surprise."""

from __future__ import annotations

import os
import pickle
import re
import struct
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inkgate.rules.crypto.profiles import Caps
from inkgate.rules.errors import PackError
from inkgate.rules.foreign.batch import run_plan
from inkgate.rules.foreign.errors import ForeignError
from inkgate.rules.foreign.opening import open_foreign
from inkgate.rules.foreign.plan import make_plan
from inkgate.rules.foreign.thesis_writer import Pbkdf2Cost, ThesisWriter
from inkgate.rules.install.install import open_current
from inkgate.rules.sources.attribute import Attribute
from support.foreign_rules import TOKEN, observed, paper_rule, thesis_folder
from support.installation import BIN, Installation, attribute


def refused(where: Path, caps: Caps | None = None) -> str:
    """Why a folder is refused, or else the one part of it that is left out."""
    try:
        rules = open_foreign(where, TOKEN.encode, caps or Caps())
    except ForeignError as error:
        return str(error)
    (error,) = rules.unread.first
    assert rules.unread.count == 1
    return str(error)


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_iterations_above_the_cap(tmp_path: Path) -> None:
    folder = thesis_folder(tmp_path / "set", "pbkdf2")
    change(folder / "metadata", "ipiterations = 5", "ipiterations = 4000000000")
    text = refused(folder)
    assert text.startswith(f"{folder / 'metadata'}:6: ipiterations is 4,000,000,000, above")
    assert text.endswith("raise [rules.caps] pbkdf2_iterations in inkgate.toml if you trust it")
    rule = paper_rule(tmp_path / "a.rule", "pbkdf2", "domain", "listed.example", "block")
    assert "above this machine's cap of 6" in refused(rule, Caps(pbkdf2_iterations=6))


def test_bcrypt_rounds_31_are_linear_here_and_read_and_two_to_the_31_are_refused(
    tmp_path: Path,
) -> None:
    folder = thesis_folder(tmp_path / "set", "bcrypt")
    change(folder / "metadata", "round = 1\n", "round = 31\n")
    rules = open_foreign(folder, TOKEN.encode, Caps())
    started = time.monotonic()
    assert list(run_plan(_plan(rules, "domain=listed.example"), 1, lambda _: None)) == []
    assert time.monotonic() - started < 20
    change(folder / "metadata", "round = 31\n", f"round = {2**31}\n")
    assert "round is 2,147,483,648, above this machine's cap of 2,000" in refused(folder)


def _plan(rules: object, query: str) -> object:
    return make_plan(rules, observed([query]))  # type: ignore[arg-type]


@pytest.mark.parametrize("length", ["0", "1", "64", "999999999999", "-32", "32.0", "0x20", ""])
def test_a_key_length_that_is_no_aes_key(tmp_path: Path, length: str) -> None:
    folder = thesis_folder(tmp_path / "set", "pbkdf2")
    change(folder / "metadata", "dklen = 32", f"dklen = {length}")
    assert "metadata:4: dklen is none of 16, 24, 32" in refused(folder)


def test_a_bloom_filter_claiming_2_to_the_60_bits(tmp_path: Path) -> None:
    folder = thesis_folder(tmp_path / "set", "bloom_filter")
    for slices, width in ((1, 1 << 60), (128, (1 << 64) - 1), (1 << 60, 1), (0, 8), (8, 0)):
        header = struct.pack("<dQQQQ", 0.01, slices, width, 10, 10)
        (folder / "joker").write_bytes(header + bytes(64))
        assert re.search(r"joker: (claims .* bits|is not a Bloom filter)", refused(folder))


@pytest.mark.parametrize("rate", [0.0, 1.0, -1.0, float("nan"), float("inf")])
def test_a_bloom_filter_with_an_impossible_rate(tmp_path: Path, rate: float) -> None:
    folder = thesis_folder(tmp_path / "set", "bloom_filter")
    (folder / "joker").write_bytes(struct.pack("<dQQQQ", rate, 1, 8, 1, 1) + b"\xff")
    assert "is not a Bloom filter of pybloom" in refused(folder)


def test_a_cut_off_bloom_filter(tmp_path: Path) -> None:
    folder = thesis_folder(tmp_path / "set", "bloomy_pbkdf2")
    whole = (folder / "joker").read_bytes()
    for size in (0, 39, 40, len(whole) - 1):
        (folder / "joker").write_bytes(whole[:size])
        assert f"{folder / 'joker'}: " in refused(folder)


class _Trap:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("sprung",)


def test_a_pickled_bloom_filter_is_never_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = thesis_folder(tmp_path / "set", "bloom_filter")
    monkeypatch.chdir(tmp_path)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        (folder / "joker").write_bytes(pickle.dumps(_Trap(), protocol).ljust(80, b"."))
        refused(folder)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("column", ["salt", "nonce", "ciphertext-check", "ciphertext"])
def test_truncated_base64(tmp_path: Path, column: str) -> None:
    folder = thesis_folder(tmp_path / "set", "sha256")
    path = folder / "domain.tsv"
    header, row = path.read_text().splitlines()
    cells = row.split("\t")
    index = header.split("\t").index(column)
    cells[index] = cells[index][:-1]
    path.write_text(f"{header}\n" + "\t".join(cells) + "\n")
    assert refused(folder) == f"{path}:2: {column} is not base64; ask for the rules again"


def test_a_check_or_nonce_of_the_wrong_size(tmp_path: Path) -> None:
    folder = thesis_folder(tmp_path / "set", "sha256")
    path = folder / "domain.tsv"
    header, row = path.read_text().splitlines()
    for index in (0, 2, 3):
        cells = row.split("\t")
        cells[index] = "" if index == 0 else "AAAA"
        path.write_text(f"{header}\n" + "\t".join(cells) + "\n")
        assert re.search(r"domain.tsv:2: \S+ has \d bytes", refused(folder))


def test_a_row_cut_off_or_without_header_or_endless(tmp_path: Path) -> None:
    folder = thesis_folder(tmp_path / "set", "sha256")
    path = folder / "domain.tsv"
    header, row = path.read_text().splitlines()
    path.write_text(f"{header}\n{row[: len(row) // 2]}")
    assert "domain.tsv:2: has not 5 columns" in refused(folder)
    path.write_text(row)
    assert "domain.tsv:1: is not the header" in refused(folder)
    path.write_text(f"{header}\n{'A' * 200_000}")
    assert "domain.tsv:2: is longer than" in refused(folder)
    path.write_bytes(header.encode() + b"\n\xff\xfe\n")
    assert "domain.tsv:2: is not UTF-8" in refused(folder)


def test_a_metadata_file_of_1_gb(tmp_path: Path) -> None:
    folder = thesis_folder(tmp_path / "set", "pbkdf2")
    os.truncate(folder / "metadata", 1 << 30)
    started = time.process_time()
    assert "metadata: is larger than 65,536 bytes" in refused(folder)
    assert time.process_time() - started < 0.3


def test_a_bloom_filter_of_1_gb(tmp_path: Path) -> None:
    folder = thesis_folder(tmp_path / "set", "bloom_filter")
    os.truncate(folder / "joker", 1 << 30)
    assert "joker: is larger than 268,435,456 bytes" in refused(folder)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name = pbkdf2\n",
        "[crypto\nname = pbkdf2\n",
        "[crypto]\nname\n",
        "[crypto]\nname = a\nname = b\n",
        "[crypto]\nname = %(name)s\n",
        "[crypto]\nname = bloomy_bloomy_pbkdf2\n",
        "[crypto]\nname = bloomy_\n",
        "[crypto]\nname = ../pbkdf2\n",
        "[crypto]\nname = pbkdf2\nhash_name = md99\n",
        "[crypto]\nname = pbkdf2\nhash_name = sha256\ndklen = 32\niterations = 0\n",
        "[crypto]\nname = pbkdf2\nhash_name = sha256\ndklen = 32\niterations = ٣\n",
    ],
)
def test_metadata_that_are_not_metadata(tmp_path: Path, text: str) -> None:
    folder = thesis_folder(tmp_path / "set", "pbkdf2")
    (folder / "metadata").write_text(text)
    assert refused(folder).startswith(f"{folder / 'metadata'}")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.binary(max_size=200), st.sampled_from(["metadata", "joker", "domain.tsv"]))
def test_any_bytes_are_refused_in_one_way(tmp_path: Path, data: bytes, name: str) -> None:
    folder = tmp_path / "set"
    if not folder.exists():
        thesis_folder(folder, "bloomy_sha256")
    before = (folder / name).read_bytes()
    (folder / name).write_bytes(data)
    try:
        open_foreign(folder, TOKEN.encode, Caps())
    except ForeignError:
        pass
    finally:
        (folder / name).write_bytes(before)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.binary(max_size=200))
def test_any_bytes_in_a_rule_of_the_paper_are_refused_in_one_way(
    tmp_path: Path, data: bytes
) -> None:
    path = tmp_path / "a.rule"
    path.write_bytes(data)
    with pytest.raises(ForeignError):
        open_foreign(path, TOKEN.encode, Caps())


@pytest.mark.parametrize("name", ["metadata", "joker", "domain.tsv"])
def test_symlinks_devices_and_pipes_are_not_followed(tmp_path: Path, name: str) -> None:
    folder = thesis_folder(tmp_path / "set", "bloomy_pbkdf2")
    (folder / name).rename(tmp_path / "elsewhere")
    for target in (tmp_path / "elsewhere", Path("/dev/zero"), Path("/nowhere")):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)
        assert refused(folder).startswith(f"{folder / name}: is a symbolic link")
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert refused(folder).startswith(f"{folder / name}: is not a regular file")


def test_path_tricks_in_file_names_and_types(tmp_path: Path) -> None:
    folder = thesis_folder(tmp_path / "set", "sha256")
    (folder / "..\\..\\x\x1b[2J\n.tsv").write_text("no header\n")
    text = refused(folder)
    assert "\x1b" not in text
    assert "\n" not in text
    (folder / "..\\..\\x\x1b[2J\n.tsv").unlink()
    # What a row says it is about is compared with what was seen, and never a path.
    change(folder / "domain.tsv", "\tdomain\t", "\t../../../etc/passwd\t")
    rules = open_foreign(folder, TOKEN.encode, Caps())
    assert list(run_plan(_plan(rules, "domain=listed.example"), 1, lambda _: None)) == []  # type: ignore[arg-type]


def test_a_type_with_a_path_in_it_is_not_written(tmp_path: Path) -> None:
    writer = ThesisWriter(tmp_path / "out", TOKEN.encode(), Pbkdf2Cost("sha256", 1, 1), ("uuid",))
    for kind in ("../x", "a/b", "..", "joker", "a.b", "a_b", "a\tb", "x\n"):
        writer.add(Attribute(type=kind, value="value", uuid="u"))
    writer.finish()
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["metadata"]
    assert writer.left_out.total() == 8
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_folder_with_links_in_it_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "domain.tsv").symlink_to(tmp_path / "victim")
    with pytest.raises(ForeignError, match="is not empty"):
        ThesisWriter(tmp_path / "out", TOKEN.encode(), Pbkdf2Cost(), ("uuid",))
    assert not (tmp_path / "victim").exists()


def test_a_message_with_escapes_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    entry = ("domain", "listed.example", "\x1b[2Jcleared\nforged\tline")
    folder = thesis_folder(tmp_path / "set", "sha256", [entry])
    (tmp_path / "token").write_text(TOKEN)
    config = tmp_path / "inkgate.toml"
    config.write_text('[rules]\ntoken_file = "token"\n')
    done = subprocess.run(
        [
            *(BIN / "inkgate-rules", "--config", config),
            *("match", "--foreign", folder, "domain=listed.example"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1
    assert "\x1b" not in done.stdout


def test_no_token_in_what_goes_to_logs(tmp_path: Path) -> None:
    for name in ("pbkdf2", "bcrypt", "sha256", "hkdf", "bloomy_pbkdf2"):
        rules = open_foreign(thesis_folder(tmp_path / name, name), TOKEN.encode, Caps())
        plan = make_plan(rules, observed(["domain=listed.example"]))
        assert TOKEN not in repr(plan)


def test_rules_of_endless_many_costs_are_not_measured_one_by_one(tmp_path: Path) -> None:
    paper_rule(tmp_path / "a.rule", "pbkdf2", "domain", "listed.example", "block")
    text = (tmp_path / "a.rule").read_text()
    for number in range(1001):
        other = text.replace("iterations = 7", f"iterations = {number + 8}")
        (tmp_path / f"{number}.rule").write_text(other)
    rules = open_foreign(tmp_path, TOKEN.encode, Caps())
    with pytest.raises(ForeignError, match="over 1,000 combinations of types and costs"):
        _plan(rules, "domain=listed.example")


def test_neither_of_both_formats(tmp_path: Path) -> None:
    assert "holds neither metadata (thesis) nor *.rule (paper)" in refused(tmp_path)
    assert "No such file" in refused(tmp_path / "absent")
    (tmp_path / "a.rule").write_text("[ioc]\nid = a\n")
    assert "has neither [hkdf] nor [pbkdf2]" in refused(tmp_path)


@pytest.mark.parametrize("kind", ["thesis", "folder", "file"])
@pytest.mark.slow
def test_inline_use_is_refused_with_the_reason_in_one_line(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "set"
    if kind == "thesis":
        thesis_folder(root, "pbkdf2")
    elif kind == "folder":
        root.mkdir()
        paper_rule(root / "a.rule", "hkdf", "domain", "listed.example", "block")
    else:
        root = paper_rule(tmp_path / "a.rule", "hkdf", "domain", "listed.example", "block")
    with pytest.raises(PackError) as caught:
        open_current(root, Caps())
    text = str(caught.value)
    assert "one derivation per rule for every value" in text
    assert f"match them in batch with inkgate-rules match --foreign {root}" in text
    assert "\n" not in text
    (tmp_path / "token").write_text(TOKEN)
    config = tmp_path / "inkgate.toml"
    config.write_text(
        f'[rules]\ntoken_file = "token"\ninstalled = "{root}"\nkey_cache = "keys"\n'
        '[sightings]\njournal = "sightings.db"\n'
    )
    helper = subprocess.run(
        [BIN / "inkgate-helper", "--config", config],
        input=b"1 GET http://listed.example/ 192.0.2.1 - - -\n",
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert helper.stderr.decode().count("too slow for requests that wait") == 1
    assert b"Traceback" not in helper.stderr
    command = subprocess.run(
        [BIN / "inkgate-rules", "--config", config, "match", "domain=listed.example"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert command.returncode == 2
    assert command.stderr.count("\n") == 1
    assert "too slow for requests that wait" in command.stderr


def test_a_refresh_does_not_install_into_a_partners_folder(installation: Installation) -> None:
    folder = thesis_folder(installation.folder / "partner", "pbkdf2")
    before = sorted(p.name for p in folder.iterdir())
    text = installation.config.read_text()
    installation.config.write_text(text.replace('"rules"', '"partner"', 1))
    installation.add("listed", attribute("domain", "listed.example"))
    done = installation.run("inkgate-rules", "refresh")
    assert done.returncode == 2
    assert "holds rules of Jacquet's thesis" in done.stderr
    assert sorted(p.name for p in folder.iterdir()) == before
