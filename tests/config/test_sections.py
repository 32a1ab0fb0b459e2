"""A misspelt section is an error with the nearest name; the helper alone goes on."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from inkgate.config.settings_file import (
    SECTIONS,
    SettingsError,
    UnknownSectionError,
    load_section,
    load_section_meant,
)
from inkgate.helper.settings import HelperSettings
from inkgate.rules.settings import RulesSettings
from inkgate.sightings.settings import SightingsSettings
from support.installation import Installation
from support.pages import FOLDERS, ROOT


def sections_that_are_read() -> set[str]:
    """What packages ask `load_section` for."""
    found = set()
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "load_section":
                    name = node.args[1]
                    # The helper asks for some in a loop, which others ask for by name.
                    if isinstance(name, ast.Constant):
                        found.add(name.value)
    return found


def test_every_section_that_is_read_is_known_and_no_other() -> None:
    assert sections_that_are_read() == SECTIONS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[helpers]\nfail = "closed"\n', r"there is no section \[helpers\]; did you mean \[helper"),
        ("[rule.select]\n", r"there is no section \[rule\]; did you mean \[rules\]\?"),
        ("[[sighting]]\n", r"there is no section \[sighting\]; did you mean \[sightings\]\?"),
        (
            "[xyzzy]\n",
            r"there is no section \[xyzzy\]; the sections are \[aggregation\], .*_conf\]",
        ),
        ('fail = "closed"\n', r"key fail is in no section; the sections are \[aggregation\]"),
        ('["\\u001b[2J"]\n', r"there is no section \[\\x1b\[2J\]"),
    ],
)
def test_unknown_section_is_said_with_the_nearest_name(
    tmp_path: Path, text: str, said: str
) -> None:
    config = tmp_path / "inkgate.toml"
    config.write_text(text)
    with pytest.raises(UnknownSectionError, match=said):
        load_section(config, "helper", HelperSettings)
    assert load_section(config, "helper", HelperSettings, alone=True) == HelperSettings()


def test_section_that_looks_like_another_misspelt_is_told_from_others(tmp_path: Path) -> None:
    config = tmp_path / "inkgate.toml"
    config.write_text("[sighting]\n[xyzzy]\n")
    with pytest.raises(UnknownSectionError):
        load_section_meant(config, "sightings", SightingsSettings)
    assert load_section_meant(config, "helper", HelperSettings) == HelperSettings()
    config.write_text("[sighting]\n[sightings]\n")
    assert load_section_meant(config, "sightings", SightingsSettings) == SightingsSettings()


@pytest.mark.parametrize(
    ("text", "kind", "section", "remedy"),
    [
        ('[helper]\nfial = "closed"\n', HelperSettings, "helper", "did you mean fail?"),
        ("[helper]\nFail = 1\n", HelperSettings, "helper", "did you mean fail?"),
        ("[helper]\nqqqqq = 1\n", HelperSettings, "helper", "correct that key"),
        ("[helper]\nfail = 1\n", HelperSettings, "helper", "correct that key"),
        ("[rules.select]\ntyps = []\n", RulesSettings, "rules", "did you mean types?"),
        ("[rules]\nmax_tpl = 1\n", RulesSettings, "rules", "correct that key"),
        ("[rules.subscribers.a]\ntoken = 1\n", RulesSettings, "rules", "did you mean token_file?"),
        (
            "[rules.subscribers.a]\ntoken_file = 'a'\nselect = { tpyes = [] }\n",
            RulesSettings,
            "rules",
            "did you mean types?",
        ),
        ("[sightings.misp]\nulr = ''\n", SightingsSettings, "sightings", "did you mean url?"),
    ],
)
def test_unknown_key_is_said_with_the_nearest_name_of_its_table(
    tmp_path: Path, text: str, kind: type, section: str, remedy: str
) -> None:
    config = tmp_path / "inkgate.toml"
    config.write_text(text)
    with pytest.raises(SettingsError) as raised:
        load_section(config, section, kind)
    assert raised.value.remedy == remedy


def test_own_mistakes_are_errors_even_for_who_overlooks_others(tmp_path: Path) -> None:
    config = tmp_path / "inkgate.toml"
    config.write_text("[helper]\nworker = 2\n[helpers]\n")
    with pytest.raises(SettingsError, match="worker"):
        load_section(config, "helper", HelperSettings, alone=True)


COMMANDS = (
    ("inkgate-rules", "keygen"),
    ("inkgate-rules", "refresh"),
    ("inkgate-rules", "inspect"),
    ("inkgate-rules", "install", "missing.inkgate"),
    ("inkgate-rules", "match", "domain=a.example"),
    ("inkgate-squid-conf", "fragment"),
    ("inkgate-squid-conf", "pages"),
    ("inkgate-squid-conf", "launcher"),
    ("inkgate-sightings", "list"),
    ("inkgate-sightings", "report"),
    ("inkgate-icap",),
)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.slow
def test_commands_refuse(installation: Installation, words: tuple[str, ...]) -> None:
    with installation.config.open("a") as file:
        file.write("[helpers]\n")
    command, *rest = words
    done = installation.run(command, *rest)
    assert done.returncode == 2
    assert done.stderr == (
        f"{command}: {installation.config}: there is no section [helpers]; did you mean [helper]?\n"
    )
