"""The examples in docs/settings.md are settings that inkgate takes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from inkgate.rules.settings import RulesSettings
from inkgate.rules.sources.misp_api import MispWebSettings
from inkgate.rules.sources.misp_feed import FeedSettings
from inkgate.rules.sources.mysql_session import MispMysqlSettings
from inkgate.rules.sources.registry import SOURCE_TYPES, read_entries
from inkgate.rules.sources.source import SourceType
from inkgate.rules.sources.taxii_api import TaxiiSettings

PAGE = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
EXAMPLES = [
    found
    for found in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    if "[[rules.sources]]" in found
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_of_a_source(example: str) -> None:
    section = tomllib.loads(example)["rules"]
    settings = msgspec.convert(section, RulesSettings)
    entries = read_entries(Path("inkgate.toml"), settings.sources)
    assert any(isinstance(entry, msgspec.Struct) for entry in entries)


@pytest.mark.parametrize("kind", SOURCE_TYPES)
def test_every_type_of_source_is_on_the_page(kind: SourceType[msgspec.Struct]) -> None:
    assert f'type = "{kind.settings.__struct_config__.tag}"' in PAGE


@pytest.mark.parametrize("kind", [MispWebSettings, FeedSettings, MispMysqlSettings, TaxiiSettings])
def test_every_key_has_a_row_with_its_default(kind: type[msgspec.Struct]) -> None:
    tag = kind.__struct_config__.tag
    part = PAGE.split(f'#### `type = "{tag}"`')[1].split("\n#", 1)[0]
    rows = dict(re.findall(r"^\| (`.+?`) \| (.+?) \|", part, re.MULTILINE))
    told = {key: default for keys, default in rows.items() for key in re.findall(r"`(\w+)`", keys)}
    assert set(told) == set(kind.__struct_fields__)
    for field in msgspec.structs.fields(kind):
        if field.default is msgspec.NODEFAULT:
            assert told[field.name] == "required"
        elif field.default not in ("", ()):
            said = told[field.name].strip("`")
            assert said.strip('"') == str(field.default).replace("True", "true").replace(
                "False", "false"
            )
