"""For whom rules are sealed: this machine, or one of `[rules.subscribers]`."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from inkgate.config.settings_file import resolve
from inkgate.rules.crypto.keys import KEYGEN, read_token
from inkgate.rules.errors import RefreshError
from inkgate.rules.paths import RulesPaths
from inkgate.rules.settings import RulesSettings, SelectSettings, SubscriberSettings


class Subscriber(NamedTuple):
    """For whom rules are sealed, and where its packs are made."""

    name: str
    token: bytes
    workspace: Path
    pad: int
    select: SelectSettings


def find_subscriber(
    config: Path, settings: RulesSettings, where: RulesPaths, name: str | None
) -> Subscriber:
    """This machine without a name, else the subscriber whose section has it.

    Raises:
        RefreshError, KeyFileError: there is no such section, or no token.
    """
    if name is None:
        token = read_token(where.token_file)
        return Subscriber(
            settings.subscriber, token, where.publisher, settings.pad, settings.select
        )
    entry: SubscriberSettings | None = settings.subscribers.get(name)
    if entry is None:
        raise RefreshError(
            f"{config}: there is no [rules.subscribers.{name}]; add it, with its token_file"
        )
    return Subscriber(
        name,
        read_token(resolve(config, entry.token_file), f"{KEYGEN} --token on that proxy"),
        where.publisher / "subscribers" / name,
        settings.pad if entry.pad is None else entry.pad,
        entry.select or settings.select,
    )
