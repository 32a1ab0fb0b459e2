"""The `[[rules.sources]]` entries of inkgate.toml, one structure a kind of source."""

from __future__ import annotations

import msgspec


class FilesSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="files"):
    """Files and folders: MISP event JSON, MISP CSV, STIX 2.1, plain lists."""

    paths: tuple[str, ...]


class ListSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="list"):
    """A plain list whose indicators all have one type."""

    path: str
    indicator_type: str


class FeedSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="feed"):
    """A MISP feed: a folder or https URL with a manifest.json."""

    location: str
    ca_file: str = ""
    timeout: int = 60


class MispWebSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="misp-web"
):
    """A MISP through its REST API. Times in seconds unless their name says otherwise."""

    url: str
    key_file: str = ""
    key_variable: str = "INKGATE_MISP_KEY"
    ca_file: str = ""
    verify_tls: bool = True
    timeout: float = 120
    retries: int = 5
    first_wait: float = 1.0
    page_size: int = 2000
    full_refresh_hours: int = 24
    overlap_minutes: int = 60
    published: bool = True
    enforce_warninglist: bool = True
    exclude_decayed: bool = False
    types: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    orgs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.url.startswith(("https://", "http://")):
            raise ValueError("url begins with https://")
        if not 1 <= self.page_size <= 100_000:
            raise ValueError("page_size lies between 1 and 100000")


class MispMysqlSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="misp-mysql"
):
    """A MISP's own MySQL or MariaDB, read only."""

    host: str = "127.0.0.1"
    port: int = 3306
    socket: str = ""
    database: str = "misp"
    user: str = "misp"
    password_file: str = ""
    password_variable: str = "INKGATE_MYSQL_PASSWORD"  # noqa: S105 (a variable's name)
    ca_file: str = ""
    misp_user: str = ""
    published: bool = True
    timeout: int = 60


SourceSettings = FilesSettings | ListSettings | FeedSettings | MispWebSettings | MispMysqlSettings
