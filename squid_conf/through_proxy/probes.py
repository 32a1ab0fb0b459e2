"""What is asked for, and what of it must be refused."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from inkgate.rules.crypto.canaries import Canaries
from inkgate.rules.lookup.canary_rules import HeldCanaries
from inkgate.squid_conf.through_proxy.client import Ask
from inkgate.squid_conf.through_proxy.own_origin import DIGEST_PATH, OwnOrigin

Kind = Literal["request", "reply", "digest", "neighbour"]
"""`request`: must be refused before a server is asked. `reply`: when the server has
answered, by its address. `digest`: by its body. `neighbour`: must not be refused."""

_HTTPS: Final = 443


class Probe(NamedTuple):
    """One request of the check.

    Attributes:
        kind: what must become of it.
        what: what is asked for, for a message.
        ask: the request.
        path: where our own origin sees it; empty if it goes elsewhere.
    """

    kind: Kind
    what: str
    ask: Ask
    path: str = ""


class Wanted(NamedTuple):
    """What is to be tried.

    Attributes:
        own: the canaries.
        held: those that the installed rules list.
        replies: whether servers are judged by their addresses.
        digests: whether bodies are.
        listed: our origin at the port that is listed; None if it could not be had.
        free: our origin at the port that is not listed.
        workers: Squid's worker processes, each of which may take a connection.
    """

    own: Canaries
    held: HeldCanaries
    replies: bool
    digests: bool
    listed: OwnOrigin | None
    free: OwnOrigin | None
    workers: int


def probes(wanted: Wanted) -> list[Probe]:
    """All requests of one check of one port."""
    made = [*_names(wanted), *_urls(wanted), *_addresses(wanted), *_bodies(wanted)]
    return made + list(_neighbours(wanted))


def _names(wanted: Wanted) -> Iterator[Probe]:
    if not wanted.held.name:
        return
    # Which worker takes a connection is the system's choice.
    for _ in range(1 if wanted.workers < 2 else min(4 * wanted.workers, 32)):
        for method in ("GET", "POST"):
            yield Probe(
                "request", f"{method} of a listed name", Ask(method, _page(wanted.own.name))
            )
        tunnel = Ask("CONNECT", f"{wanted.own.name}:{_HTTPS}")
        yield Probe("request", "CONNECT to a listed name", tunnel)


def _urls(wanted: Wanted) -> Iterator[Probe]:
    if wanted.held.url:
        for method in ("GET", "POST"):
            yield Probe("request", f"{method} of a listed URL", Ask(method, wanted.own.url))


def _addresses(wanted: Wanted) -> Iterator[Probe]:
    if not wanted.held.reply or wanted.listed is None:
        return
    for method in ("GET", "POST"):
        what = f"{method} of a listed address"
        yield _at_origin("request", what, method, "127.0.0.1", wanted.listed)
    if wanted.replies:
        what = "GET from a server whose address is listed"
        yield _at_origin("reply", what, "GET", "localhost", wanted.listed)


def _bodies(wanted: Wanted) -> Iterator[Probe]:
    if wanted.digests and wanted.held.digest and wanted.free is not None:
        what = "GET of a file whose digest is listed"
        yield _at_origin("digest", what, "GET", "localhost", wanted.free, DIGEST_PATH)


def _neighbours(wanted: Wanted) -> Iterator[Probe]:
    own = wanted.own
    yield Probe("neighbour", "GET of a name", Ask("GET", _page(own.neighbour)))
    yield Probe("neighbour", "GET of a URL", Ask("GET", own.neighbour_url))
    yield Probe("neighbour", "CONNECT to a name", Ask("CONNECT", f"{own.neighbour}:{_HTTPS}"))
    if wanted.free is not None:
        yield _at_origin("neighbour", "GET from a server", "GET", "localhost", wanted.free)


def _at_origin(
    kind: Kind, what: str, method: str, host: str, origin: OwnOrigin, suffix: str = ""
) -> Probe:
    path = f"{origin.prefix}{secrets.token_hex(8)}{suffix}"
    return Probe(kind, what, Ask(method, f"http://{host}:{origin.port}{path}"), path)


def _page(name: str) -> str:
    return f"http://{name}/{secrets.token_hex(4)}"
