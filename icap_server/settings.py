"""Section `[icap]` of inkgate.toml."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

Fail = Literal["open", "closed"]
Unchecked = Literal["pass", "block"]
Address = tuple[str, int]

_LISTEN: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s\[\]:]+)):([0-9]{1,5})")
_MEDIA_TYPE: Final = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+")
# Requests are answered soon; a response takes as long as its client takes to load it.
_PART_OF_REQUESTS: Final = 4
# Squid does not count the connections on which it asks for OPTIONS, and lets all messages
# pass for 30 s when it gets none.
_FOR_OPTIONS: Final = 8
_REDIRECT: Final = re.compile(r"https?://[!-~]+")


class IcapSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the ICAP server listens, whom it serves, and how much it may hold.

    Attributes:
        listen: address and port for plain ICAP; empty for none.
        tls_listen: the same for ICAP over TLS (icaps).
        tls_certificate: PEM file with the certificate chain.
        tls_key: PEM file with its key.
        tls_client_ca: PEM file with the authorities of the proxies' certificates, which are
            then asked for; empty: none is.
        allow: networks of the proxies that may connect.
        allow_users: users of this machine that may, by name or number: Squid's. Others of
            this machine may not, whatever `allow` says.
        workers: processes.
        connections: connections; a quarter of them is kept for requests. Each worker can
            take all of them, since the system chooses which worker gets a connection.
        client_responses: responses of one client under way in a worker; 0 for no limit.
        idle_seconds: a connection may wait so long for its next message.
        header_seconds: from a message's first byte to the last of its headers.
        body_seconds: between two pieces of a body, or of an answer that is not taken.
        stop_seconds: what is under way at SIGTERM may take so long.
        options_seconds: how long a client may keep the answer to OPTIONS.
        derive_threads: threads in each worker that derive keys.
        client_share: part of the derivations that are under way at a time in a worker that
            one client may have, and part of the messages that wait for one above which its
            own give way to those of others.
        deadline_seconds: longest that a message may wait for derivations; then `fail` decides.
            A proxy that hears nothing gives up: Squid after about 7 s.
        fail: `open` lets pass what inkgate cannot tell, `closed` answers 503 in its place.
        redirect: where a blocked request is sent; `{incident}` stands for the incident
            id. Empty: the blocked page is the answer.
        server_header: the ICAP header in which the proxy tells the server's address, and after
            a space the port of its connection to it, if it will.
        name_header: the ICAP header in which the proxy tells the name that a TLS client
            asks for inside a tunnel.
        hold_kib: bytes of a body held back in memory (for each response under way).
        hold_seconds: when a body takes longer, its head goes on before the verdict is
            known; then a listed body breaks off instead of becoming a page.
        backlog_mib: what waits for clients that take their downloads slowly.
        body_mib: longer bodies are not checked.
        ratio: a body that grows more than this when it is decoded is not checked.
        unchecked: what becomes of bodies that cannot be checked.
        stream_types: media types of what comes without an end: nothing of it is held
            back but its last piece.
        cached_hosts: verdicts of clean hosts kept in memory, in each worker.
        cached_keys: stretched values kept in memory, in each worker.
        key_cache_mib: largest size of the shared key cache on disk.
        warm_up_hosts: hosts looked up in a new rule set before it is used.
        warm_up_seconds: longest that a rule set of a new epoch may wait for that.
    """

    listen: str = "127.0.0.1:1344"
    tls_listen: str = ""
    tls_certificate: str = ""
    tls_key: str = ""
    tls_client_ca: str = ""
    allow: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    allow_users: tuple[str, ...] = ("proxy", "squid", "root")
    workers: Annotated[int, Meta(ge=1, le=64)] = 2
    connections: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    client_responses: Annotated[int, Meta(ge=0, le=100_000)] = 250
    idle_seconds: Annotated[float, Meta(ge=1, le=86_400)] = 300
    header_seconds: Annotated[float, Meta(ge=0.1, le=3600)] = 10
    body_seconds: Annotated[float, Meta(ge=0.1, le=3600)] = 900
    stop_seconds: Annotated[float, Meta(ge=0, le=3600)] = 10
    options_seconds: Annotated[int, Meta(ge=60, le=86_400)] = 300
    derive_threads: Annotated[int, Meta(ge=1, le=64)] = 1
    client_share: Annotated[float, Meta(gt=0, le=1)] = 0.5
    deadline_seconds: Annotated[float, Meta(ge=0.01, le=300)] = 4.0
    fail: Fail = "open"
    redirect: str = ""
    server_header: str = "X-Server-IP"
    name_header: str = "X-TLS-Server-Name"
    hold_kib: Annotated[int, Meta(ge=16, le=1 << 20)] = 1024
    hold_seconds: Annotated[float, Meta(ge=0, le=3600)] = 2
    backlog_mib: Annotated[int, Meta(ge=8, le=1 << 20)] = 256
    body_mib: Annotated[int, Meta(ge=1, le=1 << 20)] = 512
    ratio: Annotated[int, Meta(ge=2, le=100_000)] = 200
    unchecked: Unchecked = "pass"
    stream_types: tuple[str, ...] = ("text/event-stream", "multipart/x-mixed-replace")
    cached_hosts: Annotated[int, Meta(ge=1000, le=50_000_000)] = 200_000
    cached_keys: Annotated[int, Meta(ge=1000, le=50_000_000)] = 100_000
    key_cache_mib: Annotated[int, Meta(ge=1, le=65_536)] = 256
    warm_up_hosts: Annotated[int, Meta(ge=1, le=1_000_000)] = 10_000
    warm_up_seconds: Annotated[float, Meta(ge=0, le=300)] = 5.0

    def __post_init__(self) -> None:
        for network in self.allow:
            ipaddress.ip_network(network)
        if not self.listen and not self.tls_listen:
            raise ValueError("listen and tls_listen are both empty")
        for text in filter(None, (self.listen, self.tls_listen)):
            address_of(text)
        if self.tls_listen and not (self.tls_certificate and self.tls_key):
            raise ValueError("tls_listen needs tls_certificate and tls_key")
        if self.redirect and not _REDIRECT.fullmatch(self.redirect):
            raise ValueError("redirect is an http or https URL")
        for name in (self.server_header, self.name_header):
            if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{0,63}", name):
                raise ValueError("server_header and name_header are names of headers")
        if not all(map(_MEDIA_TYPE.fullmatch, self.stream_types)):
            raise ValueError("stream_types are media types in lower case, as in text/event-stream")

    def connections_of(self, method: str) -> int:
        """How many connections a client may use for messages of a method.

        Squid counts Max-Connections for each of its services by itself, so the two share
        what there is.
        """
        told = max(2, self.connections - _FOR_OPTIONS)
        for_requests = -(-told // _PART_OF_REQUESTS)
        return for_requests if method == "REQMOD" else told - for_requests

    @property
    def service(self) -> str:
        """Where a proxy on this machine finds the server."""
        if self.listen:
            return f"icap://{self.listen}"
        return f"icaps://{self.tls_listen}"


def address_of(text: str) -> Address:
    """Host and port of `host:port` or `[address]:port`.

    Raises:
        ValueError: it is neither.
    """
    found = _LISTEN.fullmatch(text)
    if found is None or int(found[3]) > 65_535:
        raise ValueError(f"{text!r} is not an address with a port, as in 127.0.0.1:1344")
    return found[1] or found[2], int(found[3])
