"""Which canaries a rule set holds, asked as a proxy would ask.

A set of an older publisher, or of another implementation, holds none: then the check through
the proxy has nothing that is sure to be listed, and says so.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from inkgate.config.settings_file import load_section, resolve
from inkgate.rules.canonical import canonical_attribute
from inkgate.rules.crypto.canaries import REPLY_ADDRESSES, Canaries, canaries
from inkgate.rules.crypto.keys import read_token
from inkgate.rules.install.install import open_current
from inkgate.rules.lookup.matcher import Matcher
from inkgate.rules.lookup.replies import reply_classes
from inkgate.rules.settings import RulesSettings


class HeldCanaries(NamedTuple):
    """Whether a set lists each of the subscriber's canaries.

    Attributes:
        name: the host.
        url: the URL.
        reply: the addresses of the check's origin, with its port.
        digest: the body; only sets that list digests do.
    """

    name: bool
    url: bool
    reply: bool
    digest: bool

    @property
    def any(self) -> bool:
        """Whether it holds canaries at all."""
        return any(self)


def installed_canaries(config: Path) -> HeldCanaries:
    """The canaries that the installed rule set lists for this machine's token.

    Args:
        config: the settings file.

    Raises:
        SettingsError, KeyFileError, PackError: there is no set, or it cannot be opened.
    """
    settings = load_section(config, "rules", RulesSettings, alone=True)
    token = read_token(resolve(config, settings.token_file))
    with closing(open_current(resolve(config, settings.installed), settings.caps)) as generation:
        return held_canaries(Matcher(generation, token), canaries(token))


def held_canaries(matcher: Matcher, own: Canaries) -> HeldCanaries:
    """The canaries that a rule set lists.

    Args:
        matcher: looks values up in the set.
        own: the subscriber's.

    Raises:
        PackError: the set is damaged.
    """
    return HeldCanaries(
        name=_holds(matcher, "domain", own.name),
        url=_holds(matcher, "url", own.url),
        reply=all(
            _holds(matcher, "ip-dst|port", f"{address}|{own.reply_port}")
            for address in REPLY_ADDRESSES
        ),
        digest=any(
            _holds(matcher, name, own.digest(algorithm))
            for name, algorithm in reply_classes(matcher).digests
        ),
    )


def _holds(matcher: Matcher, name: str, text: str) -> bool:
    value = canonical_attribute(name, text)
    match = matcher.look_up(name, value.kind, value.data)
    return match is not None and match.message.is_canary
