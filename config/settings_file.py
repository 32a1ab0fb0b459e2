"""inkgate.toml: one file, one section a package, read strictly.

A misspelt key is an error, not a default: a proxy that silently ignores its
settings is worse than one that says no.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, TypeVar, get_args

import msgspec

from inkgate.config.errors import InkgateError
from inkgate.config.kept_files import place_of
from inkgate.config.printable import printable

DEFAULT_SETTINGS: Final = "/etc/inkgate/inkgate.toml"
MAX_SETTINGS_BYTES: Final = 1 << 20
SECTIONS: Final = frozenset(
    {"aggregation", "health", "helper", "icap", "rules", "sightings", "squid_conf"}
)
"""All sections, so that a misspelt one is known without importing each one's package."""

_LONGEST_NAME: Final = 60
_UNKNOWN_KEY: Final = re.compile(r"Object contains unknown field `(.*?)`")
# How msgspec ends its messages: "… - at `$.misp.batch`".
_PLACE: Final = re.compile(r"(.*) - at `\$\.?(.*)`", re.DOTALL)

T = TypeVar("T")


class SettingsError(InkgateError):
    """The settings cannot be used. Says which file, which key, what to do.

    Attributes:
        problem: the key, and what is wrong with it.
        remedy: what to do.
    """

    def __init__(self, path: Path, problem: str, remedy: str) -> None:
        super().__init__(f"{path}: {problem}; {remedy}")
        self.problem = problem
        self.remedy = remedy


class UnknownSectionError(SettingsError):
    """There is a section or key at the top that no package knows.

    Attributes:
        nearest: the known names that are nearest to it, and to others such.
        missing: the known names that are not in the file: one of them may be meant.
    """

    def __init__(
        self,
        path: Path,
        problem: str,
        remedy: str,
        nearest: frozenset[str],
        missing: frozenset[str],
    ) -> None:
        super().__init__(path, problem, remedy)
        self.nearest = nearest
        self.missing = missing


def settings_path(given: str | None) -> Path:
    """The settings file: the one given, else $INKGATE_CONFIG, else /etc/inkgate/inkgate.toml."""
    return Path(given or os.environ.get("INKGATE_CONFIG") or DEFAULT_SETTINGS)


def load_section(path: Path, section: str, kind: type[T], *, alone: bool = False) -> T:
    """Read one section of the settings file; a missing section gives the defaults.

    Args:
        path: the file.
        section: one of `SECTIONS`.
        kind: its structure.
        alone: overlook sections that nobody knows, for who must go on with this one.

    Raises:
        UnknownSectionError: there is a section that nobody knows; it may be this one,
            misspelt.
        SettingsError: the file cannot be read or parsed, or a key or value is wrong.
    """
    tables = _read(path)
    if not alone:
        _check_names(path, tables)
    table = tables.get(section, {})
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise SettingsError(
            path, f"[{section}] {_problem(error)}", remedy_for(error, kind)
        ) from None


def check_sections(path: Path) -> None:
    """See that somebody knows each section.

    Raises:
        UnknownSectionError: nobody knows one.
        SettingsError: the file cannot be read or parsed.
    """
    _check_names(path, _read(path))


def load_section_meant(path: Path, section: str, kind: type[T]) -> T:
    """As `load_section` alone, unless one that nobody knows looks like this one, misspelt.

    Raises:
        UnknownSectionError: this one is not there, and it is the nearest to another.
        SettingsError: the file cannot be read or parsed, or a key or value is wrong.
    """
    try:
        return load_section(path, section, kind)
    except UnknownSectionError as error:
        if section in error.missing & error.nearest:
            raise
        return load_section(path, section, kind, alone=True)


def remedy_for(error: msgspec.ValidationError, kind: object) -> str:
    """What to do about a wrong key or value: the nearest key to one that nobody knows.

    Args:
        error: what msgspec says of it.
        kind: the type that the value ought to have.
    """
    unknown = _UNKNOWN_KEY.match(str(error))
    if unknown is None:
        return "correct that key"
    found = _PLACE.fullmatch(str(error))
    # Of a dictionary and a list it says […]: their parts are found as well.
    names = re.sub(r"\[[^]]*\]", "", found[2]).split(".") if found else []
    kinds = list(_structures(kind))
    for name in filter(None, names):
        fields = [field for kind in kinds for field in msgspec.structs.fields(kind)]
        kinds = [k for field in fields if field.name == name for k in _structures(field.type)]
    keys = [field.encode_name for kind in kinds for field in msgspec.structs.fields(kind)]
    nearest = _nearest(unknown[1], keys)
    return f"did you mean {nearest}?" if nearest else "correct that key"


def resolve(path: Path, value: str) -> Path:
    """A path from the settings file, relative to that file's folder unless absolute."""
    return path.absolute().parent / value


def _check_names(path: Path, tables: dict[str, object]) -> None:
    unknown = sorted(tables.keys() - SECTIONS)
    if not unknown:
        return
    nearest = {name: _nearest(name, SECTIONS) for name in unknown}
    name = unknown[0]
    sections = ", ".join(f"[{known}]" for known in sorted(SECTIONS))
    shown = printable(name)[:_LONGEST_NAME]
    is_section = isinstance(tables[name], (dict, list))
    raise UnknownSectionError(
        path,
        f"there is no section [{shown}]" if is_section else f"key {shown} is in no section",
        f"did you mean [{nearest[name]}]?"
        if nearest[name] and is_section
        else f"the sections are {sections}",
        frozenset(filter(None, nearest.values())),
        SECTIONS - tables.keys(),
    )


def _nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is nearest to another, or nothing if none is near."""
    # Imported here: few files have a mistake.
    from difflib import get_close_matches  # noqa: PLC0415

    return next(iter(get_close_matches(name.lower(), known, 1)), "")


def _problem(error: msgspec.ValidationError) -> str:
    """The key, as the settings file has it, and what is wrong with its value."""
    found = _PLACE.fullmatch(str(error))
    if found is None:
        return str(error)
    problem, key = found.groups()
    return f"{key}: {problem}" if key else problem


def _structures(kind: object) -> Iterator[type[msgspec.Struct]]:
    """The structures that a type is made of, as `tuple[Source, ...] | None` is of one."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
    for part in get_args(kind):
        yield from _structures(part)


def _read(path: Path) -> dict[str, object]:
    try:
        with place_of(path).open("rb") as file:
            data = file.read(MAX_SETTINGS_BYTES + 1)
    except FileNotFoundError as error:
        raise SettingsError(
            path, error.strerror or "", "give the settings file with --config"
        ) from None
    except OSError as error:
        # Imported here: a helper that can read its settings needs it not.
        from inkgate.config.system_errors import remedy_of  # noqa: PLC0415

        raise SettingsError(path, error.strerror or "cannot be read", remedy_of(error)) from None
    if len(data) > MAX_SETTINGS_BYTES:
        raise SettingsError(path, "is larger than 1 MiB", "this is not a settings file")
    try:
        return tomllib.loads(data.decode())
    except (ValueError, RecursionError) as error:
        # Python's own ValueError is raised for a number of more than 4300 digits.
        raise SettingsError(path, f"is not TOML: {error}", "correct that line") from None
