"""A MISP's database, read directly: the schema of MISP 2.5, streaming and read-only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rules.sources.attribute import Attribute
from rules.sources.last_good import LastGood
from rules.sources.secret import read_secret
from rules.sources.settings import MispMysqlSettings
from rules.sources.source import Origin
from rules.sources.unreadable import Unreadable

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_ROWS_AT_ONCE = 2000

# Page by page along the primary key, which the order of the joins must not hide: one
# connection sees everything at one moment, and tags come with their attributes.
_ATTRIBUTES: Final = """
SELECT STRAIGHT_JOIN a.id, a.event_id, a.type, a.category, a.value1, a.value2, a.uuid, a.timestamp,
       a.comment, a.last_seen, a.object_relation, o.uuid
FROM attributes a
JOIN events e ON e.id = a.event_id
LEFT JOIN objects o ON o.id = a.object_id
WHERE a.id > %(after)s AND a.to_ids = 1 AND a.deleted = 0 AND (o.deleted IS NULL OR o.deleted = 0)
{published}
ORDER BY a.id LIMIT %(limit)s
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
WHERE t.attribute_id BETWEEN %(first)s AND %(last)s ORDER BY t.id
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
            with engine.connect() as connection:
                _begin(connection)
                self._check_user(connection)
                yield from self._rows(connection)
        except SQLAlchemyError as error:
            # Its text quotes the statement and may quote values; the code is enough.
            raise self._unreadable(*_reason(error)) from None
        except OSError as error:
            # The driver reads the CA before it connects, and names its own errors afterwards.
            problem = f"cannot use ca_file ({error.strerror or 'not a certificate'})"
            raise self._unreadable(problem, "correct ca_file") from None
        finally:
            engine.dispose()

    def _rows(self, connection: Connection) -> Iterator[Attribute]:
        events = _events(connection)
        published = "AND e.published = 1" if self._settings.published else ""
        statement = _ATTRIBUTES.format(published=published)
        after = 0
        while rows := _query(connection, statement, after=after, limit=_ROWS_AT_ONCE):
            after = rows[-1][0]
            tags = _tags(_query(connection, _ATTRIBUTE_TAGS, first=rows[0][0], last=after))
            for row in rows:
                yield _attribute(row, events.get(row[1], _NO_EVENT), tags.get(row[0], ()))

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

    def _unreadable(self, problem: str, remedy: str) -> Unreadable:
        return Unreadable(self._place, None, problem, remedy)


_Event = tuple[str, str, str, bool, str, tuple[str, ...]]
_NO_EVENT: Final[_Event] = ("", "", "", True, "", ())


def _begin(connection: Connection) -> None:
    """One consistent view of everything, that cannot write."""
    connection.exec_driver_sql("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    connection.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")


def _events(connection: Connection) -> dict[int, _Event]:
    tags = _tags(_query(connection, _EVENT_TAGS))
    return {
        number: (uuid, info, str(date or ""), bool(published), org or "", tags.get(number, ()))
        for number, uuid, info, date, published, org in _query(connection, _EVENTS)
    }


def _query(connection: Connection, statement: str, **values: int) -> Sequence[Any]:
    return connection.exec_driver_sql(statement, values or None).fetchall()


def _tags(rows: Sequence[Any]) -> dict[int, tuple[str, ...]]:
    """The names by the number of what they are tags of."""
    tags: dict[int, tuple[str, ...]] = defaultdict(tuple)
    for number, name in rows:
        tags[number] += (name,)
    return tags


def _attribute(row: Sequence[Any], event: _Event, tags: tuple[str, ...]) -> Attribute:
    _, event_id, kind, category, value1, value2, uuid, timestamp = row[:8]
    comment, last_seen, relation, object_uuid = row[8:]
    event_uuid, info, date, published, org, event_tags = event
    return Attribute(
        type=kind,
        value=f"{value1}|{value2}" if value2 else value1,
        uuid=uuid,
        event_id=str(event_id),
        event_uuid=event_uuid,
        event_info=info,
        org=org,
        date=date,
        category=category,
        comment=comment or "",
        timestamp=str(timestamp),
        to_ids=True,
        published=published,
        # In microseconds, as rules.selection knows.
        last_seen=str(last_seen) if last_seen else "",
        tags=event_tags + tags,
        object_relation=relation or "",
        object_uuid=object_uuid or "",
    )


_REMEDIES: Final = {
    1044: ("refuses the user this database", "GRANT SELECT as docs/settings.md says"),
    1045: ("refuses user or password", "correct user and password_file"),
    1049: ("does not exist", "correct database"),
    1130: ("refuses connections from this machine", "CREATE USER for this machine's address"),
    1142: ("refuses the user a table", "GRANT SELECT as docs/settings.md says"),
    1146: ("has no MISP tables", "correct database"),
    1698: ("refuses user or password", "correct user and password_file"),
    2003: ("cannot be reached", "correct host and port, or start the server"),
    2006: ("broke the connection", "see the database server's log"),
    2013: ("broke the connection", "see the database server's log"),
    2026: ("does not speak TLS that ca_file trusts", "correct ca_file"),
}


def _reason(error: Exception) -> tuple[str, str]:
    """What is wrong and what to do about it, without anything that the server said."""
    origin = getattr(error, "orig", None)
    code = origin.args[0] if origin is not None and origin.args else type(error).__name__
    unknown = (f"fails with error {code}", "see the database server's log")
    return _REMEDIES.get(code, unknown) if isinstance(code, int) else unknown
