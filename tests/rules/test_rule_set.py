"""What opens rule sets: the settings that count, and how often they are read."""

from __future__ import annotations

import pytest

from inkgate.health.monitor import unwatched
from inkgate.rules.lookup import rule_set
from inkgate.rules.lookup.rule_set import RuleSet
from support.installation import Installation, attribute


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def opened(installation: Installation, said: list[str]) -> RuleSet:
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    rules = RuleSet(installation.config, 1000, 1, unwatched(said.append))
    new = rules.open_if_new()
    assert new is not None
    rules.use(new)
    return rules


@pytest.mark.slow
def test_settings_are_read_again_when_they_change(
    installation: Installation, opened: RuleSet, said: list[str]
) -> None:
    sound = installation.config.read_text()
    for damaged, problem in (
        (sound.replace('installed = "rules"', 'installed = "other"'), "no rule set is installed"),
        (sound.replace("[rules]", "[rules]\nepsilon = 7"), "epsilon"),
        ("[", "is not TOML"),
    ):
        installation.config.write_text(damaged)
        assert opened.open_if_new() is None
        assert problem in said[-1]
    installation.config.unlink()
    assert opened.open_if_new() is None
    assert "No such file" in said[-1]
    # The rules in use were never let go of, and are not opened twice.
    installation.config.write_text(sound)
    assert opened.open_if_new() is None
    assert len(said) == 6
    assert said[-1].startswith("recovered: rules-not-opened: ")
    installation.refresh(new_epoch=True)
    assert opened.open_if_new() is not None


def test_settings_that_stay_are_not_read_again(
    opened: RuleSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(rule_set, "load_section", refuse)
    for _ in range(3):
        assert opened.open_if_new() is None


def test_first_rules_are_opened_when_they_come(installation: Installation, said: list[str]) -> None:
    rules = RuleSet(installation.config, 1000, 1, unwatched(said.append))
    assert rules.open_if_new() is None
    assert rules.open_if_new() is None
    assert len(said) == 1
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    assert rules.open_if_new() is not None
