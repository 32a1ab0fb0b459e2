"""Whether the settings speak of types that MISP has.

A type that nobody has selects nothing: one wrong letter, and the next refresh takes all rules of
a type away, as it was told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from inkgate.config.printable import printable
from inkgate.config.settings_file import SettingsError
from inkgate.rules.canonical.misp_types import MISP_TYPES
from inkgate.rules.settings import RulesSettings, SelectSettings

_TYPE: Final = "type:"


def check_type_names(config: Path, settings: RulesSettings) -> None:
    """Check every type that the settings name; patterns have to fit at least one.

    Args:
        config: inkgate.toml, for the error.
        settings: its section `[rules]`.

    Raises:
        SettingsError: MISP has no such type, and `more_types` does not name it.
    """
    known = MISP_TYPES | frozenset(settings.more_types)
    for place, name in _named(settings):
        if not any(fnmatchcase(kind, name) for kind in known):
            near = get_close_matches(name, known, 1)
            meant = f"did you mean {near[0]!r}? Else add it" if near else "add it"
            raise SettingsError(
                config,
                f"{place}: MISP has no type {printable(name)!r}",
                f"{meant} to [rules] more_types if it is one of a newer MISP",
            )


def _named(settings: RulesSettings) -> Iterator[tuple[str, str]]:
    """All types and patterns of types, each with the key in which it stands."""
    yield from _selected("[rules.select]", settings.select)
    for name, subscriber in settings.subscribers.items():
        if subscriber.select is not None:
            yield from _selected(f"[rules.subscribers.{name}.select]", subscriber.select)
    yield from _each("[rules] max_age_days", settings.max_age_days)
    actions = (key.removeprefix(_TYPE) for key in settings.actions if key.startswith(_TYPE))
    yield from _each("[rules] actions", actions)
    for source in settings.sources:
        if isinstance(source, dict) and isinstance(names := source.get("types"), list):
            yield from _each("[[rules.sources]] types", (str(name) for name in names))


def _selected(place: str, select: SelectSettings) -> Iterator[tuple[str, str]]:
    yield from _each(f"{place} types", select.types)
    yield from _each(f"{place} not_types", select.not_types)


def _each(place: str, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    return ((place, name) for name in names)
