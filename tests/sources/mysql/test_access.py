"""Who may read a MISP's database, how it is reached, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from inkgate.config.errors import Unreadable
from inkgate.rules.sources.last_good import LastGood
from inkgate.rules.sources.misp_mysql import MispMysql
from inkgate.rules.sources.mysql_session import MispMysqlSettings, read_only_session, rows
from support.certificates import self_signed
from support.mariadb import DATABASE, PASSWORD, USER, MariaDb
from support.misp_mysql import add, fault, only, read, settings_for

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO tags (name, colour, exportable) VALUES ('x', '#000000', 1)",
        "UPDATE events SET published = 0",
        "DELETE FROM attributes",
        "CREATE TABLE extra (id INT)",
    ],
)
def test_session_cannot_write_even_for_a_user_who_may(
    misp: MariaDb, tmp_path: Path, statement: str
) -> None:
    misp.execute("CREATE OR REPLACE USER writer@'%' IDENTIFIED BY 'writer-password'")
    misp.execute(f"GRANT ALL ON {DATABASE}.* TO writer@'%'")
    settings = settings_for(misp, user="writer")
    place = Path("mysql:test")
    with (
        pytest.raises(Unreadable, match="1792"),
        read_only_session(settings, tmp_path, "writer-password", place) as session,
    ):
        rows(session, statement)
    assert misp.execute(f"SELECT COUNT(*) FROM {DATABASE}.events WHERE published = 1") == [(1,)]


def test_user_of_the_documented_grants_can_do_no_more_than_read(misp: MariaDb) -> None:
    import pymysql

    with pymysql.connect(
        port=misp.port, user=USER, password=PASSWORD, database=DATABASE
    ) as connection:
        with pytest.raises(pymysql.OperationalError, match="1142"):
            connection.query("UPDATE events SET published = 0")
        with pytest.raises(pymysql.OperationalError, match="1142"):
            connection.query("SELECT * FROM auth_keys")


@pytest.mark.parametrize(
    "state", [{"disabled": 1}, {"expiration": "2020-01-01 00:00:00"}, {"email": "other@x.example"}]
)
def test_misp_user_missing_disabled_or_expired(
    misp: MariaDb, tmp_path: Path, state: dict[str, object]
) -> None:
    add(misp, "domain", "a.example")
    assert only(read(misp, tmp_path, misp_user="reader@misp.example"))
    for column, value in state.items():
        misp.execute(f"UPDATE {DATABASE}.users SET {column} = %s", value)
    found = read(misp, tmp_path, misp_user="reader@misp.example")
    assert "has no such misp_user" in fault(found)
    assert [a.value for a in found[0]] == ["a.example"]


def test_wrong_password(misp: MariaDb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INKGATE_MYSQL_PASSWORD", f"wrong-{PASSWORD}")
    assert "refuses user or password" in fault(read(misp, tmp_path))


def test_password_beyond_latin_1(
    misp: MariaDb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "Zoë's € 5,-"
    misp.execute("CREATE OR REPLACE USER zoe@'%%' IDENTIFIED BY %s", secret)
    misp.execute(f"GRANT SELECT ON {DATABASE}.* TO zoe@'%'")
    add(misp, "domain", "a.example")
    monkeypatch.setenv("INKGATE_MYSQL_PASSWORD", secret)
    assert only(read(misp, tmp_path, user="zoe"))


def test_no_password_given(misp: MariaDb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INKGATE_MYSQL_PASSWORD")
    assert "set INKGATE_MYSQL_PASSWORD" in fault(read(misp, tmp_path))


def test_database_missing(misp: MariaDb, tmp_path: Path) -> None:
    misp.execute(f"GRANT SELECT ON nowhere.* TO '{USER}'@'%'")
    assert "does not exist" in fault(read(misp, tmp_path, database="nowhere"))
    assert "lets this user see nothing" in fault(read(misp, tmp_path, database="mysql"))


def test_database_of_something_else(misp: MariaDb, tmp_path: Path) -> None:
    misp.execute("CREATE DATABASE IF NOT EXISTS other")
    misp.execute(f"GRANT SELECT ON other.* TO '{USER}'@'%'")
    assert "does not hold MISP's tables" in fault(read(misp, tmp_path, database="other"))


def test_grant_missing(misp: MariaDb, tmp_path: Path) -> None:
    misp.execute("CREATE OR REPLACE USER half@'%%' IDENTIFIED BY %s", PASSWORD)
    misp.execute(f"GRANT SELECT ON {DATABASE}.events TO half@'%'")
    assert "GRANT SELECT" in fault(read(misp, tmp_path, user="half"))


def test_nobody_listens(misp: MariaDb, tmp_path: Path) -> None:
    from support.squid import free_port

    assert "cannot be reached" in fault(read(misp, tmp_path, port=free_port()))
    assert "cannot be reached" in fault(read(misp, tmp_path, socket=str(tmp_path / "none")))


def test_socket(misp: MariaDb, tmp_path: Path) -> None:
    add(misp, "domain", "a.example")
    assert only(read(misp, tmp_path, socket=str(misp.socket))).value == "a.example"


def test_tls_with_the_right_authority(
    misp: MariaDb, tmp_path: Path, certificate: tuple[str, str]
) -> None:
    add(misp, "domain", "a.example")
    misp.execute("CREATE OR REPLACE USER tls@'%%' IDENTIFIED BY %s REQUIRE SSL", PASSWORD)
    misp.execute(f"GRANT SELECT ON {DATABASE}.* TO tls@'%'")
    assert only(read(misp, tmp_path, user="tls", ca_file=certificate[0]))


def test_tls_with_another_authority(misp: MariaDb, tmp_path: Path) -> None:
    other, _ = self_signed(tmp_path)
    assert "ca_file does not vouch for" in fault(read(misp, tmp_path, ca_file=other))
    assert "ca_file does not exist" in fault(read(misp, tmp_path, ca_file="missing.pem"))


def test_tls_to_another_host(misp: MariaDb, tmp_path: Path, certificate: tuple[str, str]) -> None:
    found = read(misp, tmp_path, host="localhost", ca_file=certificate[0])
    assert "does not vouch for" in fault(found)


def documented(language: str) -> str:
    """The example in docs/settings.md, under the heading of this source."""
    page = (Path(__file__).parents[3] / "docs" / "settings.md").read_text()
    section = page.split('#### `type = "misp-mysql"`')[1]
    return section.split(f"```{language}\n")[1].split("```")[0]


def test_documented_grants_and_settings(misp: MariaDb, tmp_path: Path) -> None:
    import tomllib

    import msgspec

    misp.execute("DROP USER IF EXISTS 'inkgate'@'localhost'")
    for statement in documented("sql").strip().split(";")[:-1]:
        misp.execute(statement)
    try:
        add(misp, "domain", "a.example", object_id=misp.add("objects", event_id=1, uuid="o1"))
        (entry,) = tomllib.loads(documented("toml"))["rules"]["sources"]
        settings = msgspec.convert(entry, MispMysqlSettings)
        settings = msgspec.structs.replace(settings, socket=str(misp.socket))
        (tmp_path / "mysql.password").write_text("a long password\n")
        faults: list[Unreadable] = []
        (found,) = MispMysql(settings, tmp_path, LastGood(tmp_path / "copies")).read(faults)
        assert (found.value, found.object_uuid, faults) == ("a.example", "o1", [])
        with (
            pytest.raises(Unreadable, match="all columns"),
            read_only_session(settings, tmp_path, "a long password", Path("test")) as session,
        ):
            rows(session, "SELECT authkey FROM users")
    finally:
        misp.execute("DROP USER 'inkgate'@'localhost'")
