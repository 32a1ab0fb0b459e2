"""The settings of the rules: section `[rules]` of inkgate.toml, for publisher and proxy.

A proxy reads this section, too. So nothing is imported here but the settings' own types;
what only a publisher understands (`sources`) is checked by the publisher alone
(`rules.sources.registry`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from inkgate.rules.crypto.message import Action
from inkgate.rules.crypto.profiles import DEFAULT_PROFILES, PROFILES, Caps, Profile

MAX_PADDING: Final = 1 << 24
MAX_DAYS: Final = 36_500

Padding = Annotated[int, Meta(ge=1, le=MAX_PADDING)]
"""Dummies up to a multiple of this; 1 means none."""
Disposition = Literal["drop", "mark", "off"]
"""What a warninglist does with an indicator that is on it."""
AfterExpiry = Literal["use", "fail"]
"""What a proxy answers from a set past its expiry: its rules, or as `fail` says."""
Tlp = Literal["clear", "green", "amber", "amber+strict", "red"]

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


class SelectSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section `[rules.select]`: empty lists select everything; `*` stands for any text."""

    types: tuple[str, ...] = ()
    not_types: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    not_tags: tuple[str, ...] = ()
    orgs: tuple[str, ...] = ()
    not_orgs: tuple[str, ...] = ()
    max_tlp: Tlp = "red"
    published_only: bool = False


class SubscriberSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[rules.subscribers.NAME]`: somebody else for whom rules are sealed."""

    token_file: str
    pad: Padding | None = None
    select: SelectSettings | None = None


class RulesSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Section `[rules]`. Paths are relative to the settings file's folder."""

    sources: tuple[str | dict[str, object], ...] = ()
    source_seconds: Annotated[float, Meta(gt=0, le=604_800)] = 3600
    refresh_seconds: Annotated[float, Meta(gt=0, le=604_800)] = 43_200
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
    more_types: tuple[str, ...] = ()
    refused_share: Annotated[float, Meta(ge=0, le=1)] = 0.2
    max_age_days: dict[str, int] = {}
    allow: tuple[str, ...] = ()
    warninglists: dict[str, Disposition] = {}
    warninglists_folder: str = ""
    epsilon: Annotated[float, Meta(gt=0, le=1)] = 1 / 16
    pad: Padding = 1
    domain_ip_by_domain: bool = True
    expires_days: Annotated[int, Meta(ge=1, le=3650)] = 30
    warn_age_days: Annotated[int, Meta(ge=0, le=3650)] = 7
    after_expiry: AfterExpiry = "use"
    remember_server_minutes: Annotated[float, Meta(ge=0, le=10_080)] = 10
    remember_cache_days: Annotated[float, Meta(ge=0, le=365)] = 7
    remember_file_hours: Annotated[float, Meta(ge=0, le=8760)] = 24
    profiles: dict[str, str | Profile] = {}
    caps: Caps = Caps()

    def __post_init__(self) -> None:
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


def check_actions(actions: dict[str, Action]) -> None:
    """Check the keys of `[rules.actions]`.

    Raises:
        ValueError: one of them is neither `type:NAME` nor `tag:PATTERN`.
    """
    for key in actions:
        if not key.startswith(("type:", "tag:")):
            raise ValueError(f"actions: {key!r} is neither type:NAME nor tag:PATTERN")


def check_ages(max_age_days: dict[str, int]) -> None:
    """Check the values of `[rules.max_age_days]`.

    Raises:
        ValueError: one of them is not between 1 and 36500.
    """
    for key, days in max_age_days.items():
        if not 1 <= days <= MAX_DAYS:
            raise ValueError(f"max_age_days: {key} lies between 1 and {MAX_DAYS}")


def _names(table: Iterable[str]) -> str:
    return ", ".join(table)
