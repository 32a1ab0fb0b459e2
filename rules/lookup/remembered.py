"""What a reply was blocked for, remembered for the requests that come after it.

A proxy's cache answers without the server, and a download is resumed in parts whose digest
nobody can make. So the host whose server's address was listed, and the URL whose file was,
are remembered for a while by all processes of the machine, and asked for with each request
(docs/decisions/0024).

An entry is found and opened only by who holds the token's key of this epoch and sees the same
host or URL again. It names no indicator but the tag and key of the rule, which is looked up
again: what is not in the set any more, or does not block any more, is over.
"""

from __future__ import annotations

import hmac
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from inkgate.rules.canonical import Refused, observed_authority, observed_url, strip_www
from inkgate.rules.canonical.fields import length_prefixed
from inkgate.rules.crypto.sealing import AUTHENTICATOR_BYTES, NONCE_BYTES
from inkgate.rules.errors import PackError
from inkgate.rules.lookup.clean_parts import is_short
from inkgate.rules.lookup.matcher import Match, Matcher, Opener
from inkgate.rules.lookup.observed import Observed
from inkgate.rules.lookup.recent import Recent
from inkgate.rules.lookup.target import Target, parse_target
from inkgate.rules.lookup.verdict_store import PUT, SEALED_BYTES, TAG_BYTES, Entry, VerdictStore

SPELLINGS: Final = 20_000
_TIME_BYTES: Final = 8
_OPENER_BYTES: Final = 64
_CLASS_BYTES: Final = SEALED_BYTES - NONCE_BYTES - AUTHENTICATOR_BYTES - _TIME_BYTES - _OPENER_BYTES
# Of a site of which something is remembered: it opens nothing.
_MARK: Final = bytes(SEALED_BYTES)
_WITH_PORT: Final = "|port"

Subject = tuple[bytes, ...]
"""What is remembered: a kind, and the parts that tell it from others."""


class Times(NamedTuple):
    """How long what counts, in seconds; with 0 it is not remembered.

    Attributes:
        server: requests for a host are blocked whose server's address was listed.
        cache: of such a host the proxy's cache is not to answer.
        file: requests for a URL are blocked whose file was listed.
    """

    server: float
    cache: float
    file: float

    @property
    def longest(self) -> float:
        """The longest of them."""
        return max(self)


class Before(NamedTuple):
    """What is known of a request by the replies to earlier ones.

    Attributes:
        matches: the rule that blocks it, if it is to be blocked.
        asks_server: it may pass, but what the proxy's cache has may be from a listed address.
    """

    matches: tuple[Match, ...] = ()
    asks_server: bool = False


NOTHING: Final = Before()


class Remembered:
    """Verdicts on replies, for one rule set.

    Args:
        store: where they lie, for all processes and rule sets.
        matcher: the rule set.
        times: how long what counts.

    Attributes:
        store: see above. The warm path asks it whether anything is remembered at all.
        times: how long what counts.
        absent: spellings of sites of which nothing is remembered, as of `looked_at`.
        looked_at: the store's second number then.
    """

    def __init__(self, store: VerdictStore, matcher: Matcher, times: Times) -> None:
        self.store = store
        self._matcher = matcher
        self._key = matcher.remembering_key
        self.times = times
        store.look(times.longest)
        self._sites: Recent[bytes, bytes] = Recent(SPELLINGS)
        self.absent: Recent[bytes, bool] = Recent(SPELLINGS)
        self.looked_at = -1

    def may_hold(self, spelled: bytes, text_of: Callable[[bytes], str]) -> bool:
        """Whether something is remembered of a site. For one thread, that of the warm path.

        Args:
            spelled: a URI's part before its path, as the front end spells it.
            text_of: reads that spelling.
        """
        put = self.store.numbers[PUT]
        if put != self.looked_at:
            self.absent, self.looked_at = Recent(SPELLINGS), put
        elif self.absent.get(spelled):
            return False
        tag = self._sites.get(spelled)
        if tag is None:
            tag = self._site_tag(text_of(spelled))
            if is_short(spelled):
                self._sites.put(spelled, tag)
        if self.store.holds(tag):
            return True
        if is_short(spelled):
            self.absent.put(spelled, True)
        return False

    def of_request(self, request: Observed, client: bytes = b"") -> Before:
        """What is known of a request's host and URL.

        Args:
            request: what is asked for.
            client: who asks, as the front end knows clients.
        """
        if self.store.is_empty:
            return NOTHING
        target = parse_target(request.method, request.uri)
        if target is None or not self.store.holds(self._tag(_site(target))):
            return NOTHING
        return self._first(_subjects(target, client))

    def of_part(self, request: Observed, validators: Iterable[bytes]) -> tuple[Match, ...]:
        """The rule for which the file was blocked that a part belongs to.

        Args:
            request: what the part is the answer to.
            validators: what tells the file from others of its site.
        """
        target = None if self.store.is_empty else parse_target(request.method, request.uri)
        if target is None:
            return ()
        return self._first((b"validator", *_site(target), value) for value in validators).matches

    def keep_server(self, request: Observed, matches: Iterable[Match], client: bytes = b"") -> None:
        """Remember the host that led to a listed address.

        It is blocked for this client only: where Squid takes connections whose clients do not
        know of it, a client chooses the address, and could have any host blocked for all. For
        the others the server is asked instead of the cache, and judged by its address.
        """
        target = parse_target(request.method, request.uri)
        if target is None or not target.whole:
            return
        for match in _that_block(matches):
            subject = _server(target)
            if match.indicator_class.endswith(_WITH_PORT):
                # Where Squid takes connections whose clients do not know of it, the port may be
                # another one than that of the URI, and no later request tells it in time.
                if request.port not in (None, target.port):
                    continue
                subject = _server_with_port(target)
            self._keep(target, (_of_client(subject, client),), match, self.times.server)
            if self.times.server:
                self._keep(target, (subject,), match, 0, self.times.cache)

    def keep_file(
        self, request: Observed, validators: Iterable[bytes], matches: Iterable[Match]
    ) -> None:
        """Remember the URL that led to a listed file, and what tells that file from others."""
        target = parse_target(request.method, request.uri)
        if target is None:
            return
        subjects = [*_file(target), *((b"validator", *_site(target), v) for v in validators)]
        for match in _that_block(matches):
            self._keep(target, subjects, match, self.times.file)

    def _keep(
        self,
        target: Target,
        subjects: Iterable[Subject],
        match: Match,
        seconds: float,
        more_seconds: float = 0,
    ) -> None:
        """Remember subjects, to be blocked for some time, and known for some more."""
        if not max(seconds, more_seconds):
            return
        now = time.time()
        blocks_until, expires = int(now + seconds), int(now + max(seconds, more_seconds))
        for subject in subjects:
            self.store.put(
                self._tag(subject), Entry(expires, self._seal(subject, match, blocks_until))
            )
        # Last: who finds the site looks for the rest.
        site = self._tag(_site(target))
        marked = self.store.get(site)
        self.store.put(site, Entry(max(expires, marked.expires if marked else 0), _MARK))

    def _first(self, subjects: Iterable[Subject]) -> Before:
        asks_server = False
        for subject in subjects:
            try:
                opened = self._open(subject)
            except PackError as error:
                # It must hide no sound rule: the server is asked, and the request judged anew.
                self.store.damaged(error)
                asks_server = True
                continue
            if opened is None or opened[0].message.action != "block":
                continue
            match, blocks_until = opened
            if time.time() < blocks_until:
                return Before((match,))
            asks_server = True
        return Before(asks_server=asks_server)

    def _open(self, subject: Subject) -> tuple[Match, int] | None:
        entry = self.store.get(self._tag(subject))
        if entry is None:
            return None
        nonce, sealed = entry.sealed[:NONCE_BYTES], entry.sealed[NONCE_BYTES:]
        try:
            opened = self._cipher(subject).decrypt(nonce, sealed, None)
        except InvalidTag:
            # Half a write of another process, or a damaged file.
            return None
        name = opened[_OPENER_BYTES + _TIME_BYTES :].rstrip(b"\0").decode()
        match = self._matcher.reopen(name, Opener(opened[:32], opened[32:_OPENER_BYTES]))
        blocks_until = int.from_bytes(opened[_OPENER_BYTES : _OPENER_BYTES + _TIME_BYTES])
        return None if match is None else (match, blocks_until)

    def _seal(self, subject: Subject, match: Match, blocks_until: int) -> bytes:
        opener = b"".join(match.opener or ())
        name = match.indicator_class.encode().ljust(_CLASS_BYTES, b"\0")
        nonce = os.urandom(NONCE_BYTES)
        opened = opener + blocks_until.to_bytes(_TIME_BYTES) + name
        return nonce + self._cipher(subject).encrypt(nonce, opened, None)

    def _cipher(self, subject: Subject) -> ChaCha20Poly1305:
        return ChaCha20Poly1305(self._digest(b"seal", subject))

    def _tag(self, subject: Subject) -> bytes:
        return self._digest(b"tag", subject)[:TAG_BYTES]

    def _digest(self, use: bytes, subject: Subject) -> bytes:
        return hmac.digest(self._key, length_prefixed(use, *subject), "sha256")

    def _site_tag(self, authority: str) -> bytes:
        try:
            host = observed_authority(authority)[0].host.value
        except Refused:
            host = ""
        return self._tag(_site_of(host))


def _that_block(matches: Iterable[Match]) -> Iterator[Match]:
    """Those that are worth it: a canary's host is the check's own, which asks again."""
    return (
        match
        for match in matches
        if match.message.action == "block"
        and not match.message.is_canary
        and len(match.indicator_class) <= _CLASS_BYTES
        and match.opener is not None
    )


def _of_client(subject: Subject, client: bytes) -> Subject:
    return (*subject, b"client", client)


def _subjects(target: Target, client: bytes) -> Iterator[Subject]:
    if target.whole:
        yield _of_client(_server(target), client)
        yield _server(target)
        yield _of_client(_server_with_port(target), client)
        yield _server_with_port(target)
    yield from _file(target)


def _server(target: Target) -> Subject:
    return b"server", target.host.value.encode()


def _server_with_port(target: Target) -> Subject:
    return b"server", target.host.value.encode(), b"%d" % (target.port or 0)


def _file(target: Target) -> Iterator[Subject]:
    try:
        # The whole URL: another query may lead to another file.
        yield b"file", observed_url(target.url or "")[0].encode()
    except Refused:
        return


def _site(target: Target) -> Subject:
    return _site_of(target.host.value)


def _site_of(host: str) -> Subject:
    return b"site", strip_www(host).encode()
