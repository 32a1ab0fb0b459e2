"""From the settings to the sources they name.

A new type of source is one module beside this one, with its settings and a `SOURCE`, and
one line in `SOURCE_TYPES` (and its part in docs/settings.md, which a test asks for).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from inkgate.config.settings_file import SettingsError, remedy_for
from inkgate.rules.sources import files, misp_feed, misp_mysql, misp_web, taxii, typed_list
from inkgate.rules.sources.source import Source, SourceContext, SourceType

SOURCE_TYPES: Final[tuple[SourceType[Any], ...]] = (
    files.SOURCE,
    typed_list.SOURCE,
    misp_feed.SOURCE,
    misp_web.SOURCE,
    misp_mysql.SOURCE,
    taxii.SOURCE,
)

_SETTINGS: Final[Any] = functools.reduce(operator.or_, (kind.settings for kind in SOURCE_TYPES))
_OPENERS: Final = {kind.settings: kind.open for kind in SOURCE_TYPES}
_TYPES: Final = tuple(kind.settings.__struct_config__.tag for kind in SOURCE_TYPES)


def read_entries(
    config: Path, entries: Sequence[str | dict[str, object]]
) -> list[str | msgspec.Struct]:
    """Check `[rules] sources`: paths stay, each table becomes its type's structure.

    Args:
        config: the settings file, which is named in errors.
        entries: what it says.

    Raises:
        SettingsError: an entry is wrong.
    """
    return [
        entry if isinstance(entry, str) else _read_entry(config, number, entry)
        for number, entry in enumerate(entries, 1)
    ]


def open_sources(entries: Sequence[str | msgspec.Struct], context: SourceContext) -> list[Source]:
    """The sources that entries name: those of paths first, the others in their order."""
    paths = [entry for entry in entries if isinstance(entry, str)]
    plain = [files.FilesSettings(tuple(paths))] if paths else []
    tables = [entry for entry in entries if not isinstance(entry, str)]
    return [_OPENERS[type(entry)](entry, context) for entry in (*plain, *tables)]


def _read_entry(config: Path, number: int, entry: dict[str, object]) -> msgspec.Struct:
    try:
        settings: msgspec.Struct = msgspec.convert(entry, _SETTINGS)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$")
        key = path.strip("`.")
        place = f"[[rules.sources]] entry {number}" + (f", {key}" if key else "")
        meant = next((k for k in _OPENERS if k.__struct_config__.tag == entry.get("type")), None)
        remedy = remedy_for(error, meant)
        if meant is None:
            remedy = f"type is one of {', '.join(map(str, _TYPES))}"
        raise SettingsError(config, f"{place}: {problem}", remedy) from None
    return settings
