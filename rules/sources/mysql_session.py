"""One session with a MySQL or MariaDB: encrypted if asked for, read-only, one moment's view."""

from __future__ import annotations

import math
import ssl
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from inkgate.config.errors import Unreadable
from inkgate.config.regular_files import NOT_REGULAR
from inkgate.remote.deadline import Deadline
from inkgate.remote.errors import RemoteError
from inkgate.rules.sources.source import SECONDS

if TYPE_CHECKING:
    from inkgate.rules.sources.mysql_connection import BoundedConnection

    Session = BoundedConnection

_SETTINGS: Final = "correct [[rules.sources]]"
_LATER: Final = "refresh again when it answers"
_GRANT: Final = "GRANT SELECT to this user as docs/settings.md has it"
_KEPT: Final = "its last good reading counts; raise [rules] source_seconds if it needs longer"
_ACCOUNT: Final = "check user and password in [[rules.sources]]"

# What PyMySQL raises where a server that is none sends what it does not expect.
_NONSENSE: Final = (ValueError, IndexError, KeyError, TypeError, struct.error, AssertionError)
_NO_TLS: Final = ("offers no TLS", "turn it on there, or remove ca_file from the settings")

# Server and client error numbers, as MySQL's and MariaDB's manuals list them.
_MEANINGS: Final = {
    1044: ("lets this user see nothing of it", _GRANT),
    1045: ("refuses user or password", _ACCOUNT),
    1049: ("does not exist", _SETTINGS),
    1054: ("does not have the columns of MISP 2.5", _SETTINGS),
    1142: ("lets this user not read all tables that are needed", _GRANT),
    1143: ("lets this user not read all columns that are needed", _GRANT),
    1146: ("does not hold MISP's tables", _SETTINGS),
    1698: ("refuses user or password", _ACCOUNT),
    2002: ("cannot be reached", _LATER),
    2003: ("cannot be reached", _LATER),
    2006: ("broke off the connection", _LATER),
    2013: ("broke off the connection", _LATER),
    2026: _NO_TLS,
}


class MispMysqlSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="misp-mysql"
):
    """A MISP's own MySQL or MariaDB, read only. `timeout` in seconds."""

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 3306
    socket: str = ""
    database: str = "misp"
    user: str = "misp"
    password_file: str = ""
    password_variable: str = "INKGATE_MYSQL_PASSWORD"  # noqa: S105 (a variable's name)
    ca_file: str = ""
    misp_user: str = ""
    published: bool = True
    # PyMySQL takes no longer one than a year.
    timeout: Annotated[int, msgspec.Meta(ge=1, le=31_536_000)] = 60


@contextmanager
def read_only_session(
    settings: MispMysqlSettings,
    folder: Path,
    password: str,
    place: Path,
    seconds: float = SECONDS,
) -> Iterator[Session]:
    """A session that sees one moment's state of all tables and can write nothing.

    Args:
        settings: where the database is.
        folder: where relative paths of the settings begin.
        password: the user's.
        place: names the database in errors.
        seconds: how long it may take in all.

    Raises:
        Unreadable: whatever fails, here or in what is done with the session. Its text
            holds neither a value nor the password.
    """
    # Imported here: only who reads a database needs it, and a proxy does not have it.
    import pymysql  # noqa: PLC0415

    from inkgate.rules.sources.mysql_connection import BoundedConnection  # noqa: PLC0415

    with Deadline(seconds) as deadline:
        try:
            with BoundedConnection(
                deadline,
                user=settings.user,
                # As bytes: PyMySQL would take them for Latin-1, the server takes UTF-8.
                password=password.encode(),
                host=settings.host,
                port=settings.port,
                database=settings.database,
                **_options(settings, folder, seconds),
            ) as session:
                if settings.ca_file:
                    _check_encrypted(session, place)
                _begin(session)
                yield session
        except RemoteError as error:
            raise Unreadable(place, None, error.problem, _KEPT) from None
        except (pymysql.MySQLError, OSError, *_NONSENSE) as error:
            if deadline.is_over:
                problem = f"did not answer in full within {seconds:g} s"
                raise Unreadable(place, None, problem, _KEPT) from None
            # "from None": the library's text quotes statements, and may quote values.
            raise Unreadable(place, None, *_meaning(error)) from None


def rows(session: Session, statement: str, *values: object) -> Sequence[tuple[Any, ...]]:
    """All rows that a statement finds.

    They are held in memory: a batch at a time is asked for (docs/decisions/0013), since a
    cursor of PyMySQL that streams raises errors of all kinds when the server goes away.
    """
    session.allow()
    with session.cursor() as cursor:
        cursor.execute(statement, values or None)
        return cursor.fetchall()


def _options(settings: MispMysqlSettings, folder: Path, seconds: float) -> dict[str, Any]:
    timeout = min(settings.timeout, max(1, math.ceil(seconds)))
    options: dict[str, Any] = {
        "connect_timeout": timeout,
        "read_timeout": timeout,
        "write_timeout": timeout,
        "charset": "utf8mb4",
    }
    if settings.socket:
        options["unix_socket"] = str(folder / settings.socket)
    if settings.ca_file:
        options["ssl"] = {"ca": str(_certificates(settings, folder)), "check_hostname": True}
    return options


def _certificates(settings: MispMysqlSettings, folder: Path) -> Path:
    path = folder / settings.ca_file
    # OpenSSL would wait for what is written into a pipe.
    if path.exists() and not path.is_file():
        raise Unreadable(path, None, NOT_REGULAR, "correct ca_file")
    return path


def _check_encrypted(session: Session, place: Path) -> None:
    # Older versions of PyMySQL go on without encryption if the server offers no TLS.
    found = rows(session, "SHOW SESSION STATUS LIKE 'Ssl_cipher'")
    if not found or not found[0][1]:
        raise Unreadable(place, None, *_NO_TLS)


def _begin(session: Session) -> None:
    # The session is set as well: a statement that defines tables (DDL) would end a read-only
    # transaction before it runs.
    for statement in (
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    ):
        rows(session, statement)


def _meaning(error: Exception) -> tuple[str, str]:
    """Problem and remedy."""
    cause = getattr(error, "original_exception", None) or error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return "has a certificate that ca_file does not vouch for", "check ca_file and host"
    if isinstance(cause, FileNotFoundError) and cause is error:
        return "cannot be asked: ca_file does not exist", _SETTINGS
    code = error.args[0] if error.args else None
    if isinstance(code, int):
        return _MEANINGS.get(code, (f"fails with error {code}", "look that number up"))
    return f"fails with {type(error).__name__}", _SETTINGS
