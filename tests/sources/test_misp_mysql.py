"""A MISP's database through a real MariaDB: what is read, and every way in which it can fail."""

from __future__ import annotations

import shutil
import sys
import tempfile
import traceback
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from support.certificates import self_signed
from support.installation import SETTINGS, Installation
from support.mariadb import DATABASE, PASSWORD, USER, MariaDb
from support.relay import Relay

from rules.selection import Selection, SelectSettings
from rules.sources.attribute import Attribute
from rules.sources.last_good import LastGood
from rules.sources.misp_mysql import MispMysql
from rules.sources.mysql_session import read_only_session
from rules.sources.settings import MispMysqlSettings
from rules.sources.unreadable import Unreadable


@pytest.fixture(scope="module")
def certificate() -> Iterator[tuple[str, str]]:
    """A certificate, which is its own authority, and its key; the server can read both."""
    folder = Path(tempfile.mkdtemp(prefix="inkgate-certificate-"))
    folder.chmod(0o755)
    paths = self_signed(folder)
    for path in paths:
        Path(path).chmod(0o644)
    yield paths
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def server(certificate: tuple[str, str]) -> Iterator[MariaDb]:
    made = MariaDb(f"--ssl-cert={certificate[0]}", f"--ssl-key={certificate[1]}")
    yield made
    made.close()


@pytest.fixture
def misp(server: MariaDb) -> MariaDb:
    """A MISP with one published event (id 1) and nothing in it."""
    server.empty()
    server.add("organisations", name="Example Org", uuid=str(uuid.uuid4()))
    server.add("users", email="reader@misp.example")
    server.add("events", uuid="e1", info="made up event")
    return server


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INKGATE_MYSQL_PASSWORD", PASSWORD)


def add(misp: MariaDb, kind: str, value: str, **more: object) -> str:
    """Add an attribute; its UUID."""
    value1, _, value2 = value.partition("|")
    name = str(uuid.uuid4())
    row = {"uuid": name, "type": kind, "value1": value1, "value2": value2, **more}
    misp.add("attributes", **row)
    return name


def read(
    misp: MariaDb, folder: Path, **settings: object
) -> tuple[list[Attribute], list[Unreadable]]:
    source = MispMysql(settings_for(misp, **settings), folder, LastGood(folder / "last-good"))
    faults: list[Unreadable] = []
    return list(source.read(faults)), faults


def settings_for(misp: MariaDb, **settings: object) -> MispMysqlSettings:
    return MispMysqlSettings(**{"port": misp.port, "user": USER, "timeout": 20, **settings})  # type: ignore[arg-type]


def only(found: tuple[list[Attribute], list[Unreadable]]) -> Attribute:
    attributes, faults = found
    assert not faults
    (attribute,) = attributes
    return attribute


def fault(found: tuple[list[Attribute], list[Unreadable]]) -> str:
    """The one fault's whole text, traceback included; it never holds the password."""
    (one,) = found[1]
    text = "".join(traceback.format_exception(one))
    assert PASSWORD not in text
    return text


def test_all_that_misp_knows_about_an_attribute(misp: MariaDb, tmp_path: Path) -> None:
    name = add(misp, "domain", "bücher.example", comment="seen", last_seen=1_767_225_600_123_456)
    assert only(read(misp, tmp_path)) == Attribute(
        type="domain",
        value="bücher.example",
        uuid=name,
        event_id="1",
        event_uuid="e1",
        event_info="made up event",
        org="Example Org",
        date="2026-01-01",
        category="Network activity",
        comment="seen",
        timestamp="1767225600",
        to_ids=True,
        last_seen="1767225600",
    )


@pytest.mark.parametrize("kind", ["ip-dst|port", "domain|ip", "filename|sha256"])
def test_composite_types_have_their_two_values_joined(
    misp: MariaDb, tmp_path: Path, kind: str
) -> None:
    add(misp, kind, "one|two")
    assert only(read(misp, tmp_path)).value == "one|two"


def test_object_and_relation_are_told(misp: MariaDb, tmp_path: Path) -> None:
    number = misp.add("objects", event_id=1, uuid="o1", name="url")
    add(misp, "url", "http://a.example/", object_id=number, object_relation="url")
    found = only(read(misp, tmp_path))
    assert (found.object_uuid, found.object_relation) == ("o1", "url")


@pytest.mark.parametrize("left_out", [{"to_ids": 0}, {"deleted": 1}, {"event_id": 99}])
def test_not_for_detection_deleted_and_without_event_are_left_out(
    misp: MariaDb, tmp_path: Path, left_out: dict[str, object]
) -> None:
    add(misp, "domain", "out.example", **left_out)
    add(misp, "domain", "in.example")
    assert only(read(misp, tmp_path)).value == "in.example"


def test_attributes_of_a_deleted_object_are_left_out(misp: MariaDb, tmp_path: Path) -> None:
    number = misp.add("objects", event_id=1, uuid="o1", deleted=1)
    add(misp, "domain", "out.example", object_id=number)
    add(misp, "domain", "in.example")
    assert only(read(misp, tmp_path)).value == "in.example"


def test_unpublished_events_only_if_asked_for(misp: MariaDb, tmp_path: Path) -> None:
    number = misp.add("events", uuid="e2", published=0)
    add(misp, "domain", "draft.example", event_id=number)
    assert read(misp, tmp_path) == ([], [])
    found = only(read(misp, tmp_path, published=False))
    assert (found.value, found.published) == ("draft.example", False)


def test_tags_of_event_and_attribute_local_ones_too(misp: MariaDb, tmp_path: Path) -> None:
    for number, name in enumerate(("tlp:green", "local-event", "phish", "local-own"), 1):
        misp.add("tags", id=number, name=name)
    add(misp, "domain", "a.example", id=10)
    add(misp, "domain", "b.example", id=11)
    misp.add("event_tags", event_id=1, tag_id=1)
    misp.add("event_tags", event_id=1, tag_id=2, local=1)
    misp.add("attribute_tags", attribute_id=10, event_id=1, tag_id=3)
    misp.add("attribute_tags", attribute_id=10, event_id=1, tag_id=4, local=1)
    one, other = read(misp, tmp_path)[0]
    assert one.tags == ("tlp:green", "local-event", "phish", "local-own")
    assert other.tags == ("tlp:green", "local-event")


def test_last_seen_in_microseconds_is_the_moment_that_age_counts_from(
    misp: MariaDb, tmp_path: Path
) -> None:
    from datetime import UTC, datetime

    seen = datetime(2026, 3, 1, tzinfo=UTC)
    add(misp, "domain", "a.example", last_seen=int(seen.timestamp()) * 1_000_000 + 999_999)
    add(misp, "domain", "b.example")
    selection = Selection(SelectSettings(), {"*": 10}, {}, "block", seen)
    one, other = (selection.expires(a) for a in read(misp, tmp_path)[0])
    assert one == int(seen.timestamp()) + 10 * 86_400
    assert other == 1_767_225_600 + 10 * 86_400


def test_more_rows_than_a_batch_come_once_each_in_order(misp: MariaDb, tmp_path: Path) -> None:
    fill(misp, 12_345)
    found, faults = read(misp, tmp_path)
    assert not faults
    assert [a.value for a in found] == [f"n{i}.example" for i in range(12_345)]


def fill(misp: MariaDb, count: int) -> None:
    misp.add_many(
        "attributes",
        (
            {"uuid": f"u{i}", "type": "domain", "value1": f"n{i}.example", "comment": "x" * 50}
            for i in range(count)
        ),
    )


def test_what_is_changed_while_it_reads_does_not_count(misp: MariaDb, tmp_path: Path) -> None:
    fill(misp, 12_000)
    misp.add("tags", id=1, name="late")

    def change() -> None:
        number = misp.add("events", uuid="late", info="late")
        add(misp, "domain", "late.example", event_id=number)
        add(misp, "domain", "late-too.example")
        misp.add("attribute_tags", attribute_id=11_999, event_id=1, tag_id=1)
        misp.execute(f"UPDATE {DATABASE}.attributes SET to_ids = 0 WHERE id = 11998")
        misp.execute(f"DELETE FROM {DATABASE}.attributes WHERE id = 11997")

    with Relay(misp.port, 800_000, change, cut=False) as relay:
        found, faults = read(misp, tmp_path, port=relay.port)
        assert relay.acted
    assert not faults
    assert [a.value for a in found] == [f"n{i}.example" for i in range(12_000)]
    assert not any(a.tags for a in found)
    assert len(read(misp, tmp_path)[0]) == 12_000


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
        read_only_session(settings, tmp_path, "writer-password", place) as connection,
    ):
        connection.exec_driver_sql(statement)
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


def test_server_that_stops_answering_is_given_up(misp: MariaDb, tmp_path: Path) -> None:
    import threading

    fill(misp, 6000)
    for_ever = threading.Event()
    with Relay(misp.port, 100_000, for_ever.wait, cut=False) as relay:
        found = read(misp, tmp_path, port=relay.port, timeout=1)
        for_ever.set()
    assert "broke off" in fault(found)
    assert found[0] == []


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
    page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
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
            session.exec_driver_sql("SELECT authkey FROM users")
    finally:
        misp.execute("DROP USER 'inkgate'@'localhost'")


@contextmanager
def installed(misp: MariaDb, **settings: object) -> Iterator[Installation]:
    """An installation that reads this MISP, and a plain list."""
    source = {"type": "misp-mysql", "user": USER, "password_file": "mysql.password", "timeout": 20}
    source |= {"port": misp.port, **settings}
    entry = ", ".join(f"{k} = {repr(v).replace(chr(39), chr(34))}" for k, v in source.items())
    made = Installation(SETTINGS.replace('"events"', f'"events", {{ {entry} }}'))
    secret = made.folder / "mysql.password"
    secret.touch(mode=0o600)
    secret.write_text(PASSWORD + "\n")
    try:
        yield made
    finally:
        made.close()


def matches(installation: Installation, name: str) -> bool:
    return installation.run("inkgate-rules", "match", f"domain={name}").returncode == 0


def test_refresh_from_mysql_on_the_command_line(misp: MariaDb) -> None:
    add(misp, "domain", "listed.example")
    with installed(misp) as installation:
        (installation.events / "list.txt").write_text("file.example\n")
        done = installation.run("inkgate-rules", "refresh", "--misp", "mysql")
        assert (done.returncode, done.stderr) == (0, "")
        assert matches(installation, "listed.example")
        assert not matches(installation, "file.example")
        assert installation.run("inkgate-rules", "refresh").returncode == 0
        assert matches(installation, "file.example")


@pytest.mark.parametrize("way", ["connection cut", "connection killed"])
def test_lost_in_the_middle_the_last_good_reading_counts(misp: MariaDb, way: str) -> None:
    fill(misp, 12_000)
    arguments: list[str] = []

    def act() -> None:
        for process in psutil.Process().children(recursive=True):
            arguments.extend(process.cmdline())
        if way == "connection killed":
            for number, *_ in misp.execute(
                "SELECT id FROM information_schema.processlist WHERE user = %s", USER
            ):
                misp.execute(f"KILL {number}")

    with installed(misp) as installation:
        assert installation.run("inkgate-rules", "refresh").returncode == 0
        add(misp, "domain", "later.example")
        text = installation.config.read_text()
        with Relay(misp.port, 800_000, act, cut=way == "connection cut") as relay:
            installation.config.write_text(text.replace(str(misp.port), str(relay.port)))
            # The same database by another way: its copy is filed under the place's name.
            copies = installation.places.publisher / "last-good"
            (copy,) = copies.glob("*.snapshot")
            place = f"mysql:127.0.0.1:{relay.port}/{DATABASE}"
            copy.rename(LastGood(copies)._named(place.encode(), ".snapshot"))
            done = installation.run("inkgate-rules", "refresh")
            assert relay.acted
        assert done.returncode == 1
        assert f"{place}: broke off the connection" in done.stderr
        assert "12000" in done.stdout
        assert matches(installation, "n0.example")
        assert matches(installation, "n11999.example")
        assert not matches(installation, "later.example")
        assert str(Path(sys.prefix)) in " ".join(arguments)
        assert not [text for text in (*arguments, done.stdout, done.stderr) if PASSWORD in text]
        assert all(
            PASSWORD.encode() not in path.read_bytes()
            for path in installation.folder.rglob("*")
            if path.is_file() and path.name != "mysql.password"
        )


def test_server_without_tls_and_then_killed(tmp_path: Path, certificate: tuple[str, str]) -> None:
    server = MariaDb()
    try:
        server.add("events", uuid="e1")
        fill(server, 12_000)
        found = read(server, tmp_path, ca_file=certificate[0])
        assert "offers no TLS" in fault(found)
        with Relay(server.port, 800_000, server.kill, cut=False) as relay:
            found = read(server, tmp_path, port=relay.port)
        assert "broke off the connection" in fault(found)
        assert found[0] == []
        assert "cannot be reached" in fault(read(server, tmp_path))
    finally:
        server.close()
