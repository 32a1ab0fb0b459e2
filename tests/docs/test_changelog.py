"""CHANGELOG.md is by version (docs/releasing.md), and has the one that pyproject.toml names."""

from __future__ import annotations

import re

from support.pages import PROJECT, ROOT

TEXT = (ROOT / "CHANGELOG.md").read_text()
HEADINGS = re.findall(r"^## (.+)$", TEXT, re.MULTILINE)
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def test_unreleased_comes_first_and_versions_are_newest_first() -> None:
    assert HEADINGS[0] == "Unreleased"
    dated = [re.fullmatch(r"(\d+\.\d+\.\d+) - (\d{4}-\d\d-\d\d)", h) for h in HEADINGS[1:]]
    assert dated
    assert all(dated)
    versions = [(release(m[1]), m[2]) for m in dated if m]
    assert versions == sorted(versions, reverse=True)


def test_version_of_the_project_is_released_or_comes_after_it() -> None:
    version = PROJECT["project"]["version"]
    newest = HEADINGS[1].split(" - ")[0]
    if ".dev" in version:
        assert release(version.partition(".dev")[0]) > release(newest)
    else:
        assert version == newest


def test_what_is_under_a_version_has_a_kind() -> None:
    assert set(re.findall(r"^### (.+)$", TEXT, re.MULTILINE)) <= KINDS
