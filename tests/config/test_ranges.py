"""Numbers in the settings have ranges; one that lies outside is named with its bound."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.inspect import FloatType, IntType, StructType, type_info

from inkgate.blocked_page.settings import SquidSettings
from inkgate.config.settings_file import SettingsError, load_section
from inkgate.helper.settings import HelperSettings
from inkgate.icap_server.settings import IcapSettings
from inkgate.rules.settings import RulesSettings
from inkgate.rules.sources.misp_api import MispWebSettings
from inkgate.rules.sources.misp_feed import FeedSettings
from inkgate.rules.sources.mysql_session import MispMysqlSettings
from inkgate.rules.sources.registry import SOURCE_TYPES, read_entries
from inkgate.rules.sources.taxii_api import TaxiiSettings
from inkgate.sightings.aggregation.settings import AggregationSettings
from inkgate.sightings.settings import SightingsSettings

SECTIONS: dict[str, type[msgspec.Struct]] = {
    "aggregation": AggregationSettings,
    "helper": HelperSettings,
    "icap": IcapSettings,
    "rules": RulesSettings,
    "sightings": SightingsSettings,
    "squid_conf": SquidSettings,
}
# Settings of sources, with what else such an entry needs.
SOURCES: dict[type[msgspec.Struct], str] = {
    FeedSettings: 'type = "feed"\nlocation = "feed"\n',
    MispWebSettings: 'type = "misp-web"\nurl = "https://misp.example"\n',
    MispMysqlSettings: 'type = "misp-mysql"\n',
    TaxiiSettings: 'type = "taxii"\nurl = "https://taxii.example"\n',
}
# Caps are what an operator trusts a publisher with: any number is right.
WITHOUT_RANGE = {"rules.caps"}


def numbers(section: str, kind: StructType) -> Iterator[tuple[str, str, Any]]:
    """All numeric settings of a section: its table, the key, and the type with its bounds."""
    for field in kind.fields:
        if isinstance(field.type, IntType | FloatType):
            yield section, field.encode_name, field.type
        elif isinstance(field.type, StructType):
            yield from numbers(f"{section}.{field.encode_name}", field.type)


NUMBERS = [
    number
    for section, kind in SECTIONS.items()
    for number in numbers(section, type_info(kind))  # type: ignore[arg-type]
    if number[0] not in WITHOUT_RANGE
]


def bounds(kind: IntType | FloatType) -> Iterator[tuple[float, str]]:
    """A value just outside of each bound, and how the bound is told."""
    number, tiny = (int, 1) if isinstance(kind, IntType) else (float, 1e-9)
    for bound, sign, step in (
        (kind.ge, ">=", -tiny),
        (kind.gt, ">", 0),
        (kind.le, "<=", tiny),
        (kind.lt, "<", 0),
    ):
        if bound is not None:
            yield bound + step, f"{sign} {number(bound)}"


def of_sources() -> Iterator[tuple[type[msgspec.Struct], str, Any]]:
    for settings in SOURCES:
        for _, key, kind in numbers("", type_info(settings)):  # type: ignore[arg-type]
            yield settings, key, kind


@pytest.mark.parametrize(("settings", "key", "kind"), list(of_sources()))
def test_number_of_a_source_is_named_with_its_entry(
    settings: type[msgspec.Struct], key: str, kind: IntType | FloatType
) -> None:
    outside = list(bounds(kind))
    assert outside, f"{settings.__name__}.{key} has no range"
    for value, bound in outside:
        entry = tomllib.loads(f"{SOURCES[settings]}{key} = {value!r}\n")
        with pytest.raises(SettingsError) as caught:
            read_entries(Path("inkgate.toml"), ["list.txt", entry])
        text = str(caught.value)
        assert text.startswith(f"inkgate.toml: [[rules.sources]] entry 2, {key}: Expected ")
        assert text.endswith(f"{bound}; correct that key")


def test_sources_of_all_types_are_looked_at() -> None:
    with_numbers = {
        kind.settings for kind in SOURCE_TYPES if list(numbers("", type_info(kind.settings)))
    }
    assert with_numbers == set(SOURCES)


@pytest.mark.parametrize(("table", "key", "kind"), NUMBERS)
def test_outside_of_its_range_a_number_is_named_with_the_bound(
    tmp_path: Path, table: str, key: str, kind: IntType | FloatType
) -> None:
    config = tmp_path / "inkgate.toml"
    section, _, below = table.partition(".")
    path = f"{below}.{key}" if below else key
    outside = list(bounds(kind))
    assert outside, f"[{table}] {key} has no range"
    for value, bound in outside:
        config.write_text(f"[{table}]\n{key} = {value!r}\n")
        with pytest.raises(SettingsError) as caught:
            load_section(config, section, SECTIONS[section])
        text = str(caught.value)
        assert text.startswith(f"{config}: [{section}] {path}: Expected ")
        assert f"{bound}; correct that key" in text
        assert "\n" not in text


@pytest.mark.parametrize(
    ("table", "key"), [(t, k) for t, k, kind in NUMBERS if isinstance(kind, FloatType)]
)
def test_what_is_no_number_is_out_of_every_range(tmp_path: Path, table: str, key: str) -> None:
    config = tmp_path / "inkgate.toml"
    section = table.partition(".")[0]
    config.write_text(f"[{table}]\n{key} = {math.nan}\n")
    with pytest.raises(SettingsError, match=key):
        load_section(config, section, SECTIONS[section])


def test_numbers_of_all_sections_are_looked_at() -> None:
    """A structure that msgspec describes otherwise must not drop out of these tests."""
    assert {table for table, _, _ in NUMBERS} == {
        "aggregation", "helper", "icap", "rules", "sightings", "sightings.misp",
        "sightings.redis", "squid_conf",
    }  # fmt: skip
    assert len(NUMBERS) >= 40


def test_number_without_end_is_an_error_of_one_line(tmp_path: Path) -> None:
    """Python refuses to read it with an error that is not one of TOML's."""
    path = tmp_path / "inkgate.toml"
    path.write_text(f"[rules]\npad = {'9' * 5000}\n")
    with pytest.raises(SettingsError, match="is not TOML"):
        load_section(path, "rules", RulesSettings)
