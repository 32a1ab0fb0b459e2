"""What the ICAP server answers from, and what it looks up before it answers from new rules."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from typing import Final, NamedTuple

from inkgate.icap_server.protocol.answers import not_modified
from inkgate.icap_server.protocol.common_case import host_of, recognise
from inkgate.icap_server.protocol.http import parse_request
from inkgate.icap_server.protocol.parser import IcapMessage
from inkgate.icap_server.settings import IcapSettings
from inkgate.rules.lookup.clean_parts import AS_BYTES, CleanParts, keep
from inkgate.rules.lookup.hottest import HotParts, RequestPart
from inkgate.rules.lookup.matcher import Matcher
from inkgate.rules.lookup.observed import Observed
from inkgate.rules.lookup.remembered import Remembered
from inkgate.rules.lookup.replies import ReplyClasses, reply_classes
from inkgate.rules.lookup.rule_set import OpenRuleSet
from inkgate.rules.lookup.stretching import CachedStretch
from inkgate.rules.lookup.verdict_store import LATEST, PUT
from inkgate.rules.lookup.verdicts import Findings
from inkgate.rules.lookup.warming import HotRequest

# RFC 3507, section 4.7: at most 32 bytes, quoted.
_ISTAG_DIGITS: Final = 24
# One message of so many is counted, to learn what is asked for most: of those that the
# loop answers itself (counting costs a hundredth of such an answer), and of all others.
# Odd numbers, so that both are counted where requests and responses alternate.
COMMON_SAMPLED: Final = 61
OTHERS_SAMPLED: Final = 17


class IcapRules(NamedTuple):
    """Exchanged as a whole when the rules change, so no verdict outlives its rules.

    Attributes:
        matcher: None while no rules could be opened.
        keys: its stretched values; None if there is no matcher.
        istag: identifies the rules and settings, with its quotes.
        clean: what is known to be clean; hosts by `Common.host`, no servers.
        has_agents: whether a User-Agent can match.
        replies: which classes a response can match.
        unmodified: the whole answer "204 No Modifications" to a request.
        remembered: what replies were blocked for; None without a matcher.
    """

    matcher: Matcher | None
    keys: CachedStretch | None
    istag: bytes
    clean: CleanParts[bytes]
    has_agents: bool
    replies: ReplyClasses
    unmodified: bytes
    remembered: Remembered | None

    def is_clean(self, host: bytes, agent: bytes) -> bool:
        """Whether a request is known to match nothing."""
        remembered = self.remembered
        if remembered is not None:
            verdicts = remembered.store
            # As `may_hold` has it, where a call costs as much as all of this.
            if (
                verdicts.numbers[LATEST] != verdicts.over
                and not (
                    verdicts.numbers[PUT] == remembered.looked_at
                    and host in remembered.absent.young
                )
                and remembered.may_hold(host, _authority)
            ):
                return False
        hosts, agents = self.clean.hosts, self.clean.agents
        # Nearly all are among the young ones, and a call costs as much as all of this.
        return bool(
            (host in hosts.young or hosts.get(host))
            and (not agent or agent in agents.young or agents.get(agent))
        )

    def remember(self, host: bytes | None, agent: bytes, found: Findings) -> None:
        """Remember what a look-up found to be clean by itself.

        Args:
            host: as `host_of` spells it, None if that is not plain to see.
            agent: the User-Agent header, or empty.
            found: what was found.
        """
        if found.clean_host and host is not None:
            keep(self.clean.hosts, host)
        if found.clean_agent and agent:
            keep(self.clean.agents, agent)


def new_rules(opened: OpenRuleSet | None, settings: bytes, cached_hosts: int) -> IcapRules:
    """Rules about which nothing is known yet.

    Args:
        opened: the rule set.
        settings: whatever else changes answers; goes into the ISTag.
        cached_hosts: how many clean hosts to remember.
    """
    matcher = None if opened is None else opened.matcher
    istag = _istag(matcher, settings)
    return IcapRules(
        matcher,
        opened.keys if opened else None,
        istag,
        CleanParts(cached_hosts, 0, cached_hosts // 16),
        matcher is not None and matcher.has_user_agents,
        reply_classes(matcher),
        not_modified(istag),
        None if opened is None else opened.remembered,
    )


def _authority(host: bytes) -> str:
    """The URI in a host as `host_of` spells it."""
    return host.rpartition(b" ")[2].decode("utf-8", "surrogateescape")


def _istag(matcher: Matcher | None, settings: bytes) -> bytes:
    digest = hashlib.sha256(settings)
    if matcher is not None:
        manifest = matcher.generation.manifest
        digest.update(f"{manifest.set_id} {manifest.serial}".encode())
    return b'"IG-%b"' % digest.hexdigest()[:_ISTAG_DIGITS].encode()


class HotMessages:
    """What clients ask for most, from a sample. Only the loop counts.

    Hosts are spelled with their method before them, as `host_of` has it; so are those of
    tunnels and the names inside these, which `host_of` leaves out.

    Args:
        settings: section `[icap]`.
    """

    def __init__(self, settings: IcapSettings) -> None:
        self._parts = HotParts(settings.warm_up_hosts)
        self._server_header = settings.server_header.lower().encode()
        self._name_header = settings.name_header.lower().encode()
        self._common = self._others = 0

    @property
    def messages(self) -> int:
        """How many there were."""
        return self._common + self._others

    def count_common(self, data: bytes) -> None:
        """Count a message that the loop has recognised, if it is its turn."""
        self._common += 1
        if self._common % COMMON_SAMPLED:
            return
        # Once more, because the loop reads no User-Agent while none is listed.
        common = recognise(data)
        if common is not None:
            self._parts.count("host", common.host)
            self._parts.count("agent", common.agent)

    def count(self, message: IcapMessage) -> None:
        """Count another message, if it is its turn."""
        self._others += 1
        if self._others % OTHERS_SAMPLED:
            return
        # After the address the port may follow.
        server = message.head.fields.get(self._server_header, b"").partition(b" ")[0]
        self._parts.count("server", server)
        if not message.response and message.request:
            self._count_request(message)

    def requests(self, rules: IcapRules) -> Iterator[HotRequest]:
        """Requests that ask for each of the hottest by itself, hottest first."""
        for part, spelled in self._parts.most():
            yield _observed(part, spelled), partial(_remember, rules, part, spelled)

    def _count_request(self, message: IcapMessage) -> None:
        request = parse_request(message.request)
        uri = _bytes(request.uri)
        self._parts.count("host", b"%b %b" % (_bytes(request.method), AS_BYTES.host_key(uri)))
        self._parts.count("agent", _bytes(request.user_agent))
        name = message.head.fields.get(self._name_header, b"-")
        if request.method == "CONNECT" and name not in (b"", b"-"):
            self._parts.count("host", b"CONNECT %b:%b" % (name, uri.rpartition(b":")[2]))


def _observed(part: RequestPart, spelled: bytes) -> Observed:
    text = spelled.decode("utf-8", "surrogateescape")
    if part == "host":
        method, _, uri = text.partition(" ")
        return Observed(method, uri)
    if part == "server":
        return Observed("GET", "", text)
    return Observed("GET", "", user_agent=text)


def _remember(rules: IcapRules, part: RequestPart, spelled: bytes, found: Findings) -> None:
    if part == "host":
        # Only a spelling that the loop finds in messages for this very host.
        line = spelled + b"/ HTTP/1.1\r\n"
        if host_of(line, 0, len(line)) == spelled:
            rules.remember(spelled, b"", found)
    elif part == "agent":
        rules.remember(None, spelled, found)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
