"""`[[sightings.export]]` of inkgate.toml: who is told besides MISP."""

from __future__ import annotations

from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct

EXPORTER: Final = "inkgate-sightings-export"
"""As the program that exports is called in the counters."""


class ExportSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One export of the journal: a format and one place. Times in seconds unless named otherwise.

    Attributes:
        format: one of those in sightings/export/registry.py.
        file: lines are appended to it (`ecs`, `ocsf`, `cef`).
        folder: each run puts a bundle into it (`stix`).
        url: a collection of a TAXII 2.1 server (`stix`).
        user, password_file, password_variable, token_file, token_variable, token_scheme: how to
            log in there; as of a source of type `taxii`.
        ca_file: whom to trust; empty means the system's authorities.
        proxy: an address, "none", or nothing for that of the environment.
        timeout: for an answer of the server, its work included.
        batch: records, or objects in one request.
        start: where a new export begins.
        organisation: in whose name STIX objects are told; empty means the node's.
        classes: OCSF's classes that are written.
        gather_seconds: with `--follow`, how long sightings are gathered before STIX is told.
        update_minutes: how soon a sighting that was told is told again with its new count.
        first_wait: the first pause while the place takes nothing; it doubles.
        longest_wait: the longest such pause.
        attempts: how often `export` without `--follow` tries before it gives up.
    """

    format: str
    file: str = ""
    folder: str = ""
    url: str = ""
    user: str = ""
    password_file: str = ""
    password_variable: str = "INKGATE_EXPORT_PASSWORD"  # noqa: S105 (a name)
    token_file: str = ""
    token_variable: str = "INKGATE_EXPORT_TOKEN"  # noqa: S105 (a name)
    token_scheme: str = "Bearer"  # noqa: S105 (a name)
    ca_file: str = ""
    proxy: str = ""
    timeout: Annotated[int, Meta(ge=1, le=3600)] = 60
    batch: Annotated[int, Meta(ge=1, le=10_000)] = 500
    start: Literal["beginning", "now"] = "beginning"
    organisation: Annotated[str, Meta(max_length=255)] = ""
    classes: tuple[Literal[2004, 4002], ...] = (2004, 4002)
    gather_seconds: Annotated[float, Meta(ge=0, le=86_400)] = 60.0
    update_minutes: Annotated[float, Meta(ge=0, le=525_600)] = 60.0
    first_wait: Annotated[float, Meta(gt=0)] = 1.0
    longest_wait: Annotated[float, Meta(gt=0)] = 300.0
    attempts: Annotated[int, Meta(ge=1)] = 6

    def __post_init__(self) -> None:
        if sum(map(bool, (self.file, self.folder, self.url))) != 1:
            raise ValueError("an export has one of file, folder and url")
        if self.url and not self.url.startswith(("https://", "http://")):
            raise ValueError("url begins with https://")
        if self.url and "@" in urlsplit(self.url).netloc:
            raise ValueError("url holds no user; give user and password_file")
        if self.first_wait > self.longest_wait:
            raise ValueError("longest_wait is at least as long as first_wait")
        if not self.classes:
            raise ValueError("classes names 2004, 4002 or both")

    @property
    def name(self) -> str:
        """As it is called in the journal and in the log: another place is another export."""
        return f"{self.format} {self.file or self.folder or self.url}"

    @property
    def position(self) -> str:
        """The name of the position up to which records were exported."""
        return f"export {self.name}"
