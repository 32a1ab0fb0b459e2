"""Section `[sightings]` of inkgate.toml."""

from __future__ import annotations

import os
from typing import Annotated, Final, Literal
from urllib.parse import parse_qsl, urlsplit

from msgspec import Meta, Struct

from inkgate.sightings.export_settings import ExportSettings

Clients = Literal["keep", "truncate", "hash"]

REPORTER: Final = "inkgate-sightings"
DRAINER: Final = "inkgate-sightings-drain"
"""As the programs that hand matches on are called in the counters."""

MAX_SOURCE: Final = 255
"""Characters that MISP's column for the source of a sighting has."""


class MispSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[sightings.misp]`: where sightings are reported. Times in seconds.

    Attributes:
        url: the MISP; empty means that nothing is reported.
        key_file: the key of a MISP user with the permission to add sightings.
        key_variable: the environment variable that holds the key if there is no file.
        batch: sightings in one request.
        first_wait: the first pause while MISP does not answer; it doubles.
        longest_wait: the longest such pause.
        attempts: how often `report` without `--follow` tries before it gives up.
    """

    url: str = ""
    key_file: str = ""
    key_variable: str = "INKGATE_MISP_KEY"
    ca_file: str = ""
    verify_tls: bool = True
    timeout: Annotated[float, Meta(gt=0)] = 60.0
    batch: Annotated[int, Meta(ge=1, le=10_000)] = 200
    first_wait: Annotated[float, Meta(gt=0)] = 1.0
    longest_wait: Annotated[float, Meta(gt=0)] = 300.0
    attempts: Annotated[int, Meta(ge=1)] = 6

    def __post_init__(self) -> None:
        if self.url and not self.url.startswith(("https://", "http://")):
            raise ValueError("url begins with https://")
        if self.first_wait > self.longest_wait:
            raise ValueError("longest_wait is at least as long as first_wait")


class RedisSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[sightings.redis]`: how to talk to the Redis that `journal` names.

    Attributes:
        user: name of the ACL user.
        password_file: that user's password; never in the URL.
        ca_file: whom to trust for `rediss://`; empty means the system's authorities.
        stream: key of the stream.
        group: consumer group of the reporters.
        claim_seconds: a reporter's entries may be taken over when they wait for so long.
        timeout: seconds for an answer.
    """

    user: str = ""
    password_file: str = ""
    ca_file: str = ""
    stream: str = "inkgate:sightings"
    group: str = "misp"
    claim_seconds: Annotated[float, Meta(gt=0)] = 60.0
    timeout: Annotated[float, Meta(gt=0)] = 10.0


class SightingsSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where matches are recorded, which parts of them, for how long, and where they are reported.

    Attributes:
        journal: path of the SQLite journal, or URL of what several proxies share
            (journal/backends/registry.py); empty means that nothing is recorded.
        spool: this proxy's own journal while `journal` is a URL.
        collected: the reporter's journal of what all proxies sent, if it is one.
        node: this proxy's name in the records; empty means the host's name.
        clients: what is kept of a client's address.
        clients_key_file: key of the hashed addresses.
        window_hours: one sighting per attribute, node and this time (from midnight UTC).
        keep_days: how long records are kept once they are reported.
        keep_mib: how large a journal may grow before older records go, once reported.
        hard_mib: how large it may grow whatever is not yet reported.
        export: who is told besides MISP.
    """

    journal: str = "/var/lib/inkgate/run/sightings.db"
    spool: str = "/var/lib/inkgate/run/sightings.db"
    collected: str = "/var/lib/inkgate/run/collected.db"
    node: Annotated[str, Meta(max_length=MAX_SOURCE)] = ""
    clients: Clients = "keep"
    clients_key_file: str = "/etc/inkgate/clients.key"
    window_hours: Annotated[int, Meta(ge=1, le=24 * 366)] = 24
    keep_days: Annotated[int, Meta(ge=1)] = 90
    keep_mib: Annotated[int, Meta(ge=1)] = 1024
    hard_mib: Annotated[int, Meta(ge=1)] = 4096
    misp: MispSettings = MispSettings()
    redis: RedisSettings = RedisSettings()
    export: tuple[ExportSettings, ...] = ()

    def __post_init__(self) -> None:
        if self.keep_mib > self.hard_mib:
            raise ValueError("hard_mib is at least as large as keep_mib")
        if self.keep_days * 24 < self.window_hours:
            raise ValueError("keep_days is at least as long as window_hours")
        if "://" in self.journal and _has_password(self.journal):
            raise ValueError("journal: no password in the URL; use [sightings.redis] password_file")
        if len({export.name for export in self.export}) < len(self.export):
            raise ValueError("export: two exports are of the same format to the same place")

    def node_name(self) -> str:
        """This proxy's name in the records."""
        # What the module socket calls gethostname, without importing that module. The name
        # of a host may contain bytes that are not UTF-8.
        return self.node or os.uname().nodename.encode("utf-8", "replace").decode()


def _has_password(url: str) -> bool:
    parts = urlsplit(url)
    # redis-py also reads connection parameters from the query of the URL.
    named = any("password" in key.lower() for key, _ in parse_qsl(parts.query, True))
    return named or parts.password is not None
