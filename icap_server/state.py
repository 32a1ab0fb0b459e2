"""What belongs to one generation of the rules: verdicts already given, and its ISTag."""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

from inkgate.icap_server.protocol.answers import not_modified
from inkgate.rules.lookup.matcher import Matcher
from inkgate.rules.lookup.recent import Recent
from inkgate.rules.lookup.replies import ReplyClasses, reply_classes

# RFC 3507, section 4.7: at most 32 bytes, quoted.
_ISTAG_DIGITS: Final = 24


class State(NamedTuple):
    """Exchanged as a whole when the rules change, so no verdict outlives its rules.

    Attributes:
        matcher: None while no rules could be opened.
        istag: identifies the rules and settings, with its quotes.
        hosts: clean hosts, by `Common.host`.
        agents: clean User-Agent headers.
        replies: which classes a response can match.
        unmodified: the whole answer "204 No Modifications".
    """

    matcher: Matcher | None
    istag: bytes
    hosts: Recent[bytes, bool]
    agents: Recent[bytes, bool]
    replies: ReplyClasses
    unmodified: bytes

    def is_clean(self, host: bytes, agent: bytes) -> bool:
        """Whether a request is known to match nothing."""
        return bool(self.hosts.get(host)) and (not agent or bool(self.agents.get(agent)))


def new_state(matcher: Matcher | None, settings: bytes, cached_hosts: int) -> State:
    """The state of a generation about which nothing is known yet.

    Args:
        matcher: the generation's rules.
        settings: whatever else changes answers; goes into the ISTag.
        cached_hosts: how many clean hosts to remember.
    """
    istag = _istag(matcher, settings)
    return State(
        matcher,
        istag,
        Recent(cached_hosts),
        Recent(cached_hosts // 16),
        reply_classes(matcher),
        not_modified(istag),
    )


def _istag(matcher: Matcher | None, settings: bytes) -> bytes:
    digest = hashlib.sha256(settings)
    if matcher is not None:
        manifest = matcher.generation.manifest
        digest.update(f"{manifest.set_id} {manifest.serial}".encode())
    return b'"IG-%b"' % digest.hexdigest()[:_ISTAG_DIGITS].encode()
