"""A MISP's database, read directly: the schema of MISP 2.5, in batches and read-only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from inkgate.config.errors import Unreadable
from inkgate.config.secret import read_secret
from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.last_good import LastGood
from inkgate.rules.sources.misp_rights import EVERYBODY, Shared, Viewer, viewer_of
from inkgate.rules.sources.mysql_session import MispMysqlSettings, read_only_session, rows
from inkgate.rules.sources.source import SECONDS, Origin, SourceContext, SourceType, unsaid

if TYPE_CHECKING:
    from inkgate.rules.sources.mysql_session import Session

_ROWS_AT_ONCE: Final = 5000
_EMPTY: Final = "if that is right, use --allow-empty once"
_MICROSECONDS: Final = 1_000_000

# By primary key, so that every batch begins where the last one ended.
_ATTRIBUTES: Final = f"""
SELECT a.id, a.event_id, a.type, a.category, a.value1, a.value2, a.uuid, a.timestamp,
       a.comment, a.last_seen, a.object_relation, o.uuid,
       a.distribution, a.sharing_group_id, o.distribution, o.sharing_group_id
FROM attributes a USE INDEX (PRIMARY) LEFT JOIN objects o ON o.id = a.object_id
WHERE a.id > %s AND a.to_ids = 1 AND a.deleted = 0 AND (o.deleted IS NULL OR o.deleted = 0)
ORDER BY a.id LIMIT {_ROWS_AT_ONCE}
"""  # noqa: S608 (a constant)
_ATTRIBUTE_TAGS: Final = """
SELECT t.attribute_id, n.name FROM attribute_tags t JOIN tags n ON n.id = t.tag_id
WHERE t.attribute_id BETWEEN %s AND %s AND n.exportable = 1 ORDER BY t.id
"""
_EVENTS: Final = """
SELECT e.id, e.uuid, e.info, e.date, e.published, g.name,
       e.org_id, e.distribution, e.sharing_group_id
FROM events e LEFT JOIN organisations g ON g.id = e.orgc_id
"""
_EVENT_TAGS: Final = """
SELECT t.event_id, n.name FROM event_tags t JOIN tags n ON n.id = t.tag_id
WHERE n.exportable = 1 ORDER BY t.id
"""
_OBJECT_SHARED: Final = -2  # of a row: the distribution of the attribute's object
_ATTRIBUTE_SHARED: Final = -4
_EVERYTHING: Final = (
    "everything in it counts, whatever its distribution says; name the user whose view counts "
    "in misp_user"
)

_Row = Sequence[Any]


class _Event(NamedTuple):
    uuid: str
    info: str
    date: str
    published: bool
    org: str
    tags: tuple[str, ...]
    owner: int
    shared: Shared


class MispMysql:
    """The attributes with to_ids of a MISP's MySQL or MariaDB.

    Everything is read in one transaction: what is added meanwhile does not count.

    Args:
        settings: where it is.
        folder: where relative paths of the settings begin.
        copies: keeps its last good reading.
        seconds: how long it may take in all.
        may_be_empty: whether it may lose all of its attributes at once.
        remark: is told what an operator should know of a reading that went well.
    """

    origin: Origin = "mysql"

    def __init__(
        self,
        settings: MispMysqlSettings,
        folder: Path,
        copies: LastGood,
        *,
        seconds: float = SECONDS,
        may_be_empty: bool = False,
        remark: Callable[[str], None] = unsaid,
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._copies = copies
        self._seconds = seconds
        self._may_be_empty = may_be_empty
        self._remark = remark
        self._place = Path(
            f"mysql:{settings.socket or f'{settings.host}:{settings.port}'}/{settings.database}"
        )

    def read(self, faults: list[Unreadable]) -> Iterator[Attribute]:
        """See `Source`."""
        yield from self._copies.snapshot(str(self._place), self._believed(), faults)

    def remembered(self, _: list[Unreadable]) -> Iterator[Attribute]:
        """See `Source`."""
        yield from self._copies.last_snapshot(str(self._place))

    def _believed(self) -> Iterator[Attribute]:
        """Its attributes, if there are not suddenly none."""
        count = 0
        for count, attribute in enumerate(self._attributes(), 1):  # noqa: B007 (the last counts)
            yield attribute
        had = self._copies.last_snapshot(str(self._place))
        if not count and not self._may_be_empty and next(had, None) is not None:
            raise Unreadable(self._place, None, "is empty and was not before", _EMPTY)

    def _attributes(self) -> Iterator[Attribute]:
        settings = self._settings
        file = self._folder / settings.password_file if settings.password_file else None
        password = read_secret(file, settings.password_variable, str(self._place))
        with read_only_session(
            settings, self._folder, password, self._place, self._seconds
        ) as session:
            viewer = self._viewer(session)
            events = {
                number: event
                for number, event in _events(session).items()
                if viewer.sees_event(event.owner, event.shared)
            }
            yield from self._of_events(session, events, viewer)

    def _of_events(
        self, session: Session, events: dict[int, _Event], viewer: Viewer
    ) -> Iterator[Attribute]:
        unpublished = not self._settings.published
        for batch in _batches(session):
            tags = _grouped(session, _ATTRIBUTE_TAGS, batch[0][0], batch[-1][0])
            for row in batch:
                event = events.get(row[1])
                if event is None or not (unpublished or event.published):
                    continue
                if viewer.owns(event.owner) or _is_shown(row, viewer):
                    yield _attribute(row, event, tags.get(row[0], ()))

    def _viewer(self, session: Session) -> Viewer:
        if not self._settings.misp_user:
            self._remark(f"{self._place}: {_EVERYTHING}")
            return EVERYBODY
        viewer = viewer_of(session, self._settings.misp_user)
        if viewer is None:
            raise Unreadable(
                self._place,
                None,
                "has no such misp_user, or it is disabled or has expired",
                "correct misp_user in [[rules.sources]]",
            )
        return viewer


def _is_shown(row: _Row, viewer: Viewer) -> bool:
    """Whether an attribute of somebody else's event, and its object if it has one, are shown."""
    own, of_object = row[_ATTRIBUTE_SHARED:_OBJECT_SHARED], row[_OBJECT_SHARED:]
    has_object = of_object[0] is not None
    return viewer.sees_part(Shared(*own)) and (
        not has_object or viewer.sees_part(Shared(*of_object))
    )


def _attribute(row: _Row, event: _Event, tags: Sequence[str]) -> Attribute:
    _, event_id, kind, category, value1, value2, uuid, timestamp, comment, seen, relation, of = row[
        :_ATTRIBUTE_SHARED
    ]
    texts = (kind, category, value1, value2, uuid, comment or "", relation or "", of or "")
    if not all(isinstance(text, str) for text in (*texts, *event.tags, *tags)):
        # Kept, it could not be read again.
        raise TypeError("a column of another type")
    return Attribute(
        type=kind,
        value=f"{value1}|{value2}" if value2 else value1,
        uuid=uuid,
        event_id=str(event_id),
        event_uuid=event.uuid,
        event_info=event.info,
        org=event.org,
        date=event.date,
        category=category,
        comment=comment or "",
        timestamp=str(timestamp),
        to_ids=True,
        published=event.published,
        last_seen=str(seen // _MICROSECONDS) if seen else "",
        tags=(*event.tags, *tags) if tags else event.tags,
        object_relation=relation or "",
        object_uuid=of or "",
    )


def _batches(session: Session) -> Iterator[Sequence[_Row]]:
    last = 0
    while batch := rows(session, _ATTRIBUTES, last):
        yield batch
        last = batch[-1][0]


def _events(session: Session) -> dict[int, _Event]:
    tags = _grouped(session, _EVENT_TAGS)
    return {
        number: _Event(
            str(uuid),
            str(info),
            str(date or ""),
            bool(published),
            str(org or ""),
            tuple(tags.get(number, ())),
            owner,
            Shared(distribution, group),
        )
        for number, uuid, info, date, published, org, owner, distribution, group in rows(
            session, _EVENTS
        )
    }


def _grouped(session: Session, statement: str, *values: object) -> dict[int, list[str]]:
    found: dict[int, list[str]] = defaultdict(list)
    for number, name in rows(session, statement, *values):
        found[number].append(name)
    return found


def _open(settings: MispMysqlSettings, context: SourceContext) -> MispMysql:
    return MispMysql(
        settings,
        context.folder,
        context.copies,
        seconds=context.seconds,
        may_be_empty=context.may_be_empty,
        remark=context.remark,
    )


SOURCE: Final = SourceType(MispMysqlSettings, _open)
