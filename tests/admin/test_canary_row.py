"""Row `canary` of inkgate status: what the last check through the proxy found, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from inkgate.admin.status.canary import STALE_SECONDS, rows
from inkgate.admin.status.row import Level, Machine, Row
from inkgate.config.errors import Unreadable
from inkgate.squid_conf.check_result import (
    MAX_BYTES,
    CheckLevel,
    CheckResult,
    check_result_file,
    read_check_result,
    write_check_result,
)
from support.installation import Installation, attribute

NOW = 1_800_000_000.0
FOUND = "squid.conf, line 12: http_access allow localhost comes before inkgate's lines"


@pytest.fixture(scope="module")
def listed() -> Iterator[Installation]:
    made = Installation()
    made.add("listed", attribute("domain", "listed.example"))
    made.refresh()
    made.config.write_text(
        made.config.read_text().replace(
            "[squid_conf]\n", '[squid_conf]\ncheck_result = "check.json"\n'
        )
    )
    yield made
    made.close()


@pytest.fixture
def config(listed: Installation) -> Path:
    """Settings of a machine with rules that list canaries, and without a check."""
    (listed.folder / "check.json").unlink(missing_ok=True)
    return listed.config


def row(config: Path) -> Row:
    (row,) = rows(Machine(config, [], NOW))
    return row


def checked(config: Path, result: CheckResult) -> Row:
    write_check_result(check_result_file(config), result)
    return row(config)


def test_result_is_read_as_it_was_written_and_everybody_may_read_it(config: Path) -> None:
    file = check_result_file(config)
    result = CheckResult(NOW, "critical", (FOUND,))
    write_check_result(file, result)
    assert read_check_result(file) == result
    assert file.stat().st_mode & 0o7777 == 0o644
    assert file == config.parent / "check.json"


def test_check_that_never_ran_is_unknown_and_not_good(config: Path) -> None:
    assert row(config).level == Level.UNKNOWN
    assert "inkgate squid check" in row(config).remedy


@pytest.mark.parametrize(
    ("level", "expected"),
    [("ok", Level.OK), ("warning", Level.WARNING), ("critical", Level.CRITICAL)],
)
def test_level_is_that_of_the_check(config: Path, level: CheckLevel, expected: Level) -> None:
    findings = () if level == "ok" else (FOUND,)
    found = checked(config, CheckResult(NOW - 60, level, findings))
    assert found.level == expected
    assert (FOUND in found.text) == bool(findings)
    assert "1 minute ago" in found.text


@pytest.mark.parametrize("distance", [STALE_SECONDS + 1, -STALE_SECONDS - 1])
def test_old_result_is_not_believed_nor_one_of_another_clock(config: Path, distance: int) -> None:
    assert checked(config, CheckResult(NOW - distance, "ok")).level == Level.WARNING
    critical = checked(config, CheckResult(NOW - distance, "critical", (FOUND,)))
    assert critical.level == Level.CRITICAL


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"checked": 1}',
        b'{"checked": 1, "level": "good"}',
        b"[" * 100_000,
        b"\xff" * 10,
        b" " * (MAX_BYTES + 1),
    ],
)
def test_damaged_result_is_unknown_and_names_the_file(config: Path, data: bytes) -> None:
    file = check_result_file(config)
    file.write_bytes(data)
    with pytest.raises(Unreadable, match=r"check\.json"):
        read_check_result(file)
    assert row(config).level == Level.UNKNOWN


def test_broken_section_is_said_in_the_row(tmp_path: Path) -> None:
    config = tmp_path / "inkgate.toml"
    config.write_text("[squid_conf]\ncheck_results = 1\n")
    assert row(config).level == Level.UNKNOWN
    assert "check_results" in row(config).text


def test_set_without_canaries_is_said_and_no_fault(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = checked(config, CheckResult(NOW, "ok"))
    assert (good.level, good.data["listed"]) == (Level.OK, True)
    assert "canaries" not in good.text
    monkeypatch.setattr("inkgate.rules.refresh.refresh.canary_records", lambda *_: [])
    without = Installation(config.read_text())
    try:
        without.add("listed", attribute("domain", "listed.example"))
        without.refresh()
        old = checked(without.config, CheckResult(NOW, "ok"))
    finally:
        without.close()
    assert (old.level, old.data["listed"]) == (Level.OK, False)
    assert "lists no canaries" in old.text


@pytest.mark.parametrize(
    ("level", "expected"), [("ok", Level.UNKNOWN), ("critical", Level.CRITICAL)]
)
def test_what_cannot_be_found_out_hides_nothing_that_is_bad(
    tmp_path: Path, level: CheckLevel, expected: Level
) -> None:
    config = tmp_path / "inkgate.toml"
    config.write_text('[rules]\ntoken_file = "none"\n[squid_conf]\ncheck_result = "check.json"\n')
    found = checked(config, CheckResult(NOW, level, (FOUND,) * (level != "ok")))
    assert found.level == expected
    assert str(tmp_path / "none") in found.text
