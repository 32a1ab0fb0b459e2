"""inkgate.toml: one file, one section a package, read strictly.

A misspelt key is an error, not a default: a proxy that silently ignores its
settings is worse than one that says no.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal, TypeVar

import msgspec

from inkgate.rules.false_positives import Disposition
from inkgate.rules.kdf import DEFAULT_PROFILES, PROFILES, Caps, Profile
from inkgate.rules.message import Action
from inkgate.rules.padding import MAX_MULTIPLE
from inkgate.rules.selection import SelectSettings, check_actions, check_ages
from inkgate.rules.sources.settings import SourceSettings

DEFAULT_SETTINGS: Final = "/etc/inkgate/inkgate.toml"
MAX_SETTINGS_BYTES: Final = 1 << 20

T = TypeVar("T")

MessageField = Literal[
    "uuid",
    "event_id",
    "event_uuid",
    "event_info",
    "date",
    "type",
    "category",
    "comment",
    "timestamp",
    "org",
    "source",
    "warninglist",
]
_SUBSCRIBER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class SettingsError(Exception):
    """The settings cannot be used. Says which file, which key, what to do."""

    def __init__(self, path: Path, problem: str, remedy: str) -> None:
        super().__init__(f"{path}: {problem}; {remedy}")


class SubscriberSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[rules.subscribers.NAME]`: somebody else for whom rules are sealed."""

    token_file: str
    pad: int | None = None
    select: SelectSettings | None = None

    def __post_init__(self) -> None:
        if self.pad is not None:
            _check_pad(self.pad)


class RulesSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section `[rules]`. Paths are relative to the settings file's folder."""

    sources: tuple[str | SourceSettings, ...] = ()
    publisher: str = "/var/lib/inkgate/publisher"
    installed: str = "/var/lib/inkgate/rules"
    token_file: str = "/etc/inkgate/token"  # noqa: S105 (a path, not a secret)
    public_key_file: str = "/etc/inkgate/publisher.pub"
    key_cache: str = "/var/lib/inkgate/run/keys"
    subscriber: str = "local"
    subscribers: dict[str, SubscriberSettings] = {}
    message: tuple[MessageField, ...] = ("uuid", "event_id", "date", "source", "warninglist")
    action: Action = "block"
    actions: dict[str, Action] = {}
    select: SelectSettings = SelectSettings()
    max_age_days: dict[str, int] = {}
    allow: tuple[str, ...] = ()
    warninglists: dict[str, Disposition] = {}
    warninglists_folder: str = ""
    epsilon: float = 1 / 16
    pad: int = 1
    domain_ip_by_domain: bool = True
    expires_days: int = 30
    profiles: dict[str, str | Profile] = {}
    caps: Caps = Caps()

    def __post_init__(self) -> None:
        if not 0 < self.epsilon <= 1:
            raise ValueError("epsilon lies above 0 and is at most 1")
        if not 1 <= self.expires_days <= 3650:
            raise ValueError("expires_days lies between 1 and 3650")
        _check_pad(self.pad)
        check_actions(self.actions)
        check_ages(self.max_age_days)
        for name in (self.subscriber, *self.subscribers):
            if not _SUBSCRIBER.fullmatch(name):
                raise ValueError(f"subscriber {name!r}: letters, digits, '.', '_' and '-' only")
        for kind, profile in self.profiles.items():
            if kind not in DEFAULT_PROFILES:
                raise ValueError(
                    f"profiles: no kind {kind!r}; there are {_names(DEFAULT_PROFILES)}"
                )
            if isinstance(profile, str) and profile not in PROFILES:
                raise ValueError(f"profiles: no profile {profile!r}; there are {_names(PROFILES)}")

    def kdf_profiles(self) -> dict[str, Profile]:
        """The KDF profile of every kind."""
        chosen = {**DEFAULT_PROFILES, **self.profiles}
        return {k: PROFILES[p] if isinstance(p, str) else p for k, p in chosen.items()}


def _check_pad(pad: int) -> None:
    if not 1 <= pad <= MAX_MULTIPLE:
        raise ValueError(f"pad lies between 1 (no dummies) and {MAX_MULTIPLE}")


def settings_path(given: str | None) -> Path:
    """The settings file: the one given, else $INKGATE_CONFIG, else /etc/inkgate/inkgate.toml."""
    return Path(given or os.environ.get("INKGATE_CONFIG") or DEFAULT_SETTINGS)


def load_section(path: Path, section: str, kind: type[T]) -> T:
    """Read one section of the settings file; a missing section gives the defaults.

    Raises:
        SettingsError: the file cannot be read or parsed, or a key or value is wrong.
    """
    table = _read(path).get(section, {})
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise SettingsError(path, f"[{section}] {error}", "correct that key") from None


def resolve(path: Path, value: str) -> Path:
    """A path from the settings file, relative to that file's folder unless absolute."""
    return path.absolute().parent / value


def _read(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SETTINGS_BYTES + 1)
    except OSError as error:
        raise SettingsError(
            path, error.strerror or "cannot be read", "give the settings file with --config"
        ) from None
    if len(data) > MAX_SETTINGS_BYTES:
        raise SettingsError(path, "is larger than 1 MiB", "this is not a settings file")
    try:
        return tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SettingsError(path, f"is not TOML: {error}", "correct that line") from None


def _names(table: Iterable[str]) -> str:
    return ", ".join(table)
