"""A MISP's database, read directly: the schema of MISP 2.5, streaming and read-only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from rules.sources.attribute import Attribute
from rules.sources.last_good import LastGood
from rules.sources.secret import read_secret
from rules.sources.settings import MispMysqlSettings
from rules.sources.source import Origin
from rules.sources.unreadable import Unreadable

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_ROWS_AT_ONCE: Final = 5000

_ATTRIBUTES: Final = """
SELECT a.id, a.event_id, a.type, a.category, a.value1, a.value2, a.uuid, a.timestamp,
       a.comment, a.last_seen, a.object_relation, o.uuid
FROM attributes a
JOIN events e ON e.id = a.event_id
LEFT JOIN objects o ON o.id = a.object_id
WHERE a.to_ids = 1 AND a.deleted = 0 AND (o.deleted IS NULL OR o.deleted = 0){published}
ORDER BY a.id
"""
_EVENTS: Final = """
SELECT e.id, e.uuid, e.info, e.date, e.published, g.name
FROM events e LEFT JOIN organisations g ON g.id = e.orgc_id
"""
_EVENT_TAGS: Final = """
SELECT t.event_id, n.name FROM event_tags t JOIN tags n ON n.id = t.tag_id
"""
_ATTRIBUTE_TAGS: Final = """
SELECT t.attribute_id, n.name FROM attribute_tags t JOIN tags n ON n.id = t.tag_id
ORDER BY t.attribute_id
"""
_USER: Final = "SELECT disabled FROM users WHERE email = :email"


class MispMysql:
    """The attributes with to_ids of a MISP's MySQL or MariaDB.

    Args:
        settings: where it is.
        folder: where relative paths of the settings begin.
        copies: keeps its last good reading.
    """

    origin: Origin = "mysql"

    def __init__(self, settings: MispMysqlSettings, folder: Path, copies: LastGood) -> None:
        self._settings = settings
        self._folder = folder
        self._copies = copies
        self._place = Path(
            f"mysql:{settings.socket or f'{settings.host}:{settings.port}'}/{settings.database}"
        )

    def read(self, faults: list[Unreadable]) -> Iterator[Attribute]:
        """See `Source`."""
        yield from self._copies.snapshot(str(self._place), self._attributes(), faults)

    def _attributes(self) -> Iterator[Attribute]:
        # Imported here: it takes a third of a second, and only who reads a database needs it.
        from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

        engine = self._engine()
        try:
            with ExitStack() as stack:
                first = stack.enter_context(engine.connect())
                second = stack.enter_context(engine.connect())
                for connection in (first, second):
                    _begin(connection)
                self._check_user(first)
                yield from self._rows(first, second)
        except SQLAlchemyError as error:
            # Its text quotes the statement and may quote values; the code is enough.
            raise self._unreadable(_reason(error)) from None
        finally:
            engine.dispose()

    def _rows(self, first: Connection, second: Connection) -> Iterator[Attribute]:
        events = _events(first)
        published = " AND e.published = 1" if self._settings.published else ""
        tags = _merged(_stream(second, _ATTRIBUTE_TAGS))
        next_id, next_tags = next(tags, (-1, ()))
        for row in _stream(first, _ATTRIBUTES.format(published=published)):
            number, event_id, kind, category, value1, value2, uuid, timestamp = row[:8]
            while -1 < next_id < number:
                next_id, next_tags = next(tags, (-1, ()))
            event_uuid, info, date, is_published, org, event_tags = events.get(event_id, _NO_EVENT)
            yield Attribute(
                type=kind,
                value=f"{value1}|{value2}" if value2 else value1,
                uuid=uuid,
                event_id=str(event_id),
                event_uuid=event_uuid,
                event_info=info,
                org=org,
                date=date,
                category=category,
                comment=row[8] or "",
                timestamp=str(timestamp),
                to_ids=True,
                published=is_published,
                last_seen=str(row[9]) if row[9] else "",
                tags=(*event_tags, *next_tags) if next_id == number else event_tags,
                object_relation=row[10] or "",
                object_uuid=row[11] or "",
            )

    def _check_user(self, connection: Connection) -> None:
        from sqlalchemy import text  # noqa: PLC0415

        if not self._settings.misp_user:
            return
        row = connection.execute(text(_USER), {"email": self._settings.misp_user}).fetchone()
        if row is None or row[0]:
            raise self._unreadable(
                "has no such user, or it is disabled", "correct misp_user in the settings"
            )

    def _engine(self) -> Engine:
        from sqlalchemy import URL, create_engine  # noqa: PLC0415

        settings = self._settings
        file = self._folder / settings.password_file if settings.password_file else None
        password = read_secret(file, settings.password_variable, str(self._place))
        options: dict[str, Any] = {
            "connect_timeout": settings.timeout,
            "read_timeout": settings.timeout,
            "charset": "utf8mb4",
        }
        if settings.socket:
            options["unix_socket"] = settings.socket
        if settings.ca_file:
            options["ssl"] = {"ca": str(self._folder / settings.ca_file)}
        url = URL.create(
            "mysql+pymysql",
            settings.user,
            password,
            settings.host,
            settings.port,
            settings.database,
        )
        return create_engine(url, connect_args=options, hide_parameters=True)

    def _unreadable(self, problem: str, remedy: str = "check [[rules.sources]]") -> Unreadable:
        return Unreadable(self._place, None, problem, remedy)


_Event = tuple[str, str, str, bool, str, tuple[str, ...]]
_NO_EVENT: Final[_Event] = ("", "", "", True, "", ())


def _begin(connection: Connection) -> None:
    """One consistent view of everything, that cannot write."""
    connection.exec_driver_sql("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    connection.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")


def _events(connection: Connection) -> dict[int, _Event]:
    tags: dict[int, list[str]] = defaultdict(list)
    for event_id, name in _stream(connection, _EVENT_TAGS):
        tags[event_id].append(name)
    return {
        number: (uuid, info, str(date or ""), bool(published), org or "", tuple(tags[number]))
        for number, uuid, info, date, published, org in _stream(connection, _EVENTS)
    }


def _stream(connection: Connection, statement: str) -> Iterator[tuple[Any, ...]]:
    # Rows go through SQLAlchemy, though the driver's own would cost less: it prefetches
    # rows, and it makes its own errors of what goes wrong on the way.
    options = {"stream_results": True, "max_row_buffer": _ROWS_AT_ONCE}
    with connection.exec_driver_sql(statement, execution_options=options) as found:
        for rows in found.partitions(_ROWS_AT_ONCE):
            yield from cast("list[tuple[Any, ...]]", rows)


def _merged(rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[int, tuple[str, ...]]]:
    for number, group in groupby(rows, lambda row: row[0]):
        yield number, tuple(name for _, name in group)


def _reason(error: Exception) -> str:
    origin = getattr(error, "orig", None)
    code = origin.args[0] if origin is not None and origin.args else type(error).__name__
    meanings = {
        1045: "refuses the password",
        1049: "does not exist",
        2003: "cannot be reached",
        1146: "has no MISP tables",
        1044: "refuses the user",
    }
    return meanings.get(code, f"fails with error {code}") if isinstance(code, int) else str(code)
