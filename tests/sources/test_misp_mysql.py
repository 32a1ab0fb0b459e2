"""A MISP's database, read from a real MariaDB with MISP's tables."""

from __future__ import annotations

import re
import socket
import threading
import tomllib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psutil
import pymysql
import pytest
from support.installation import Installation
from support.mariadb import DATABASE, PASSWORD, USER, MariaDb

from rules.selection import Selection, SelectSettings
from rules.sources import misp_mysql
from rules.sources.attribute import Attribute
from rules.sources.last_good import LastGood
from rules.sources.misp_mysql import MispMysql
from rules.sources.settings import MispMysqlSettings
from rules.sources.unreadable import Unreadable

DOCS = Path(__file__).parents[2] / "docs" / "settings.md"
ADMIN = "admin@misp.example"


@pytest.fixture(scope="module")
def server() -> Iterator[MariaDb]:
    made = MariaDb()
    yield made
    made.close()


@pytest.fixture
def misp(server: MariaDb) -> MariaDb:
    """The tables, with an organisation, a user and a published event 1, which has no attributes."""
    server.empty()
    server.add("organisations", name="ORG")
    server.add("users", email=ADMIN)
    server.add("events", uuid="event-1", published=1)
    return server


class Watched(LastGood):
    """Does something when so many attributes have been read."""

    def __init__(self, folder: Path, after: int, action: Callable[[], object]) -> None:
        super().__init__(folder)
        self._after = after
        self._action = action

    def snapshot(
        self, name: str, attributes: Iterator[Attribute], faults: list[Unreadable]
    ) -> Iterator[Attribute]:
        def watched() -> Iterator[Attribute]:
            for number, attribute in enumerate(attributes):
                if number == self._after:
                    self._action()
                yield attribute

        return super().snapshot(name, watched(), faults)


class Reader:
    """Reads the source as a refresh does."""

    def __init__(self, server: MariaDb, folder: Path) -> None:
        (folder / "password").write_text(f"{PASSWORD}\n")
        self.folder = folder
        self.settings = MispMysqlSettings(port=server.port, user=USER, password_file="password")
        self.faults: list[Unreadable] = []

    def read(self, copies: LastGood | None = None, **changes: object) -> list[Attribute]:
        self.faults.clear()
        settings = msgspec.structs.replace(self.settings, **changes)
        kept = copies or LastGood(self.folder / "last-good")
        return list(MispMysql(settings, self.folder, kept).read(self.faults))

    def values(self, **changes: object) -> list[str]:
        found = [attribute.value for attribute in self.read(**changes)]
        assert not self.faults
        return found

    def fault(self, **changes: object) -> str:
        """What is said about a reading that fails."""
        self.read(**changes)
        (fault,) = self.faults
        return str(fault)


@pytest.fixture
def reader(misp: MariaDb, tmp_path: Path) -> Reader:
    return Reader(misp, tmp_path)


def add(server: MariaDb, value1: str, kind: str = "domain", **columns: object) -> int:
    return server.add(
        "attributes", value1=value1, type=kind, **{"uuid": f"uuid-{value1}", **columns}
    )


def test_every_field(misp: MariaDb, reader: Reader) -> None:
    add(
        misp,
        "listed.example",
        comment="seen",
        timestamp=1_767_225_601,
        last_seen=1_767_225_602_000_000,
    )
    assert reader.read() == [
        Attribute(
            type="domain",
            value="listed.example",
            uuid="uuid-listed.example",
            event_id="1",
            event_uuid="event-1",
            event_info="made up",
            org="ORG",
            date="2026-01-01",
            category="Network activity",
            comment="seen",
            timestamp="1767225601",
            to_ids=True,
            published=True,
            last_seen="1767225602000000",
        )
    ]


def test_no_row_is_lost_at_the_border_of_a_page(
    misp: MariaDb, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(misp_mysql, "_ROWS_AT_ONCE", 7)
    values = [f"n{number}.example" for number in range(50)]
    rows = [{"value1": value, "type": "domain", "uuid": value} for value in values]
    misp.add_many("attributes", rows)
    for count in (50, 49, 14, 8, 7, 6, 1):
        misp.execute(f"DELETE FROM {DATABASE}.attributes WHERE id > {count}")
        assert reader.values() == values[:count]


def test_composites(misp: MariaDb, reader: Reader) -> None:
    add(misp, "192.0.2.1", "ip-dst|port", value2="8443")
    add(misp, "a|b.exe", "filename|sha256", value2="ab" * 32)
    assert reader.values() == ["192.0.2.1|8443", f"a|b.exe|{'ab' * 32}"]


def test_text_beyond_ascii(misp: MariaDb, reader: Reader) -> None:
    add(misp, "b\u00fccher.example", uuid="u", comment="100% \u4f8b '\\")
    (attribute,) = reader.read()
    assert (attribute.value, attribute.comment) == ("b\u00fccher.example", "100% \u4f8b '\\")


def test_attribute_in_an_object(misp: MariaDb, reader: Reader) -> None:
    number = misp.add(
        "objects", uuid="object-1", name="url", event_id=1, template_version=1, comment=""
    )
    add(misp, "http://files.example/a", "url", object_id=number, object_relation="url")
    (attribute,) = reader.read()
    assert (attribute.object_uuid, attribute.object_relation) == ("object-1", "url")


def test_attributes_of_a_deleted_object_are_left_out(misp: MariaDb, reader: Reader) -> None:
    number = misp.add(
        "objects", uuid="object-1", event_id=1, deleted=1, template_version=1, comment=""
    )
    add(misp, "gone.example", object_id=number)
    add(misp, "here.example")
    assert reader.values() == ["here.example"]


def test_what_is_deleted_or_not_to_ids_is_left_out(misp: MariaDb, reader: Reader) -> None:
    add(misp, "deleted.example", deleted=1)
    add(misp, "context.example", to_ids=0)
    add(misp, "here.example")
    assert reader.values() == ["here.example"]


def test_unpublished_events_are_left_out_unless_wanted(misp: MariaDb, reader: Reader) -> None:
    draft = misp.add("events", uuid="event-2", published=0)
    add(misp, "draft.example", event_id=draft)
    add(misp, "here.example")
    assert reader.values() == ["here.example"]
    both = reader.read(published=False)
    assert [(a.value, a.published) for a in both] == [
        ("draft.example", False),
        ("here.example", True),
    ]


def test_tags_of_events_and_attributes(misp: MariaDb, reader: Reader) -> None:
    names = ("tlp:green", "type:osint", "campaign:made-up")
    green, osint, campaign = (misp.add("tags", name=name) for name in names)
    misp.add("event_tags", event_id=1, tag_id=green)
    both, none = add(misp, "both.example"), add(misp, "none.example", event_id=2)
    misp.add("events", uuid="event-2", published=1)
    for tag in (campaign, osint):
        misp.add("attribute_tags", attribute_id=both, event_id=1, tag_id=tag)
    misp.add("attribute_tags", attribute_id=none + 1000, event_id=1, tag_id=osint)
    tags = {a.value: a.tags for a in reader.read()}
    assert tags == {
        "both.example": ("tlp:green", "campaign:made-up", "type:osint"),
        "none.example": (),
    }


def test_last_seen_in_microseconds_decides_when_a_rule_leaves(
    misp: MariaDb, reader: Reader
) -> None:
    add(misp, "listed.example", last_seen=1_767_225_600_999_999, timestamp=1)
    (attribute,) = reader.read()
    now = datetime(2026, 1, 2, tzinfo=UTC)
    selection = Selection(SelectSettings(), {"*": 30}, {}, "block", now)
    assert selection.expires(attribute) == 1_767_225_600 + 30 * 86_400


def test_misp_user_exists(misp: MariaDb, reader: Reader) -> None:
    add(misp, "listed.example")
    assert reader.values(misp_user=ADMIN) == ["listed.example"]


def test_misp_user_is_missing(reader: Reader) -> None:
    assert "no such user" in reader.fault(misp_user="nobody@misp.example")


def test_misp_user_is_disabled(misp: MariaDb, reader: Reader) -> None:
    misp.add("users", email="left@misp.example", disabled=1)
    assert "disabled" in reader.fault(misp_user="left@misp.example")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"user": "nobody"}, "refuses user or password"),
        ({"database": "mysql"}, "refuses the user"),
        ({"port": 1}, "cannot be reached"),
        ({"host": "", "socket": "/nonexistent/socket"}, "cannot be reached"),
        ({"password_file": "missing"}, "No such file"),
        ({"ca_file": "password"}, "cannot use ca_file"),
        ({"ca_file": "missing.pem"}, "cannot use ca_file (No such file"),
    ],
)
def test_each_fault_says_what_to_correct(
    reader: Reader, changes: dict[str, object], said: str
) -> None:
    text = reader.fault(**changes)
    assert said in text
    assert PASSWORD not in text


def test_wrong_password(reader: Reader) -> None:
    (reader.folder / "wrong").write_text("a-wrong-password")
    text = reader.fault(password_file="wrong")
    assert "refuses user or password" in text
    assert "a-wrong-password" not in text


def test_database_is_missing(misp: MariaDb, reader: Reader) -> None:
    # Whoever may read everything is told that it is not there, others that they may not.
    misp.execute(f"CREATE OR REPLACE USER 'all'@'%' IDENTIFIED BY '{PASSWORD}'")
    misp.execute("GRANT SELECT ON *.* TO 'all'@'%'")
    assert "does not exist" in reader.fault(user="all", database="missing")
    assert "has no MISP tables" in reader.fault(user="all", database="mysql")
    assert "refuses the user" in reader.fault(database="missing")


@pytest.fixture
def many(misp: MariaDb, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fifty attributes, read in pages of ten."""
    monkeypatch.setattr(misp_mysql, "_ROWS_AT_ONCE", 10)
    values = [f"n{number}.example" for number in range(50)]
    misp.add_many("attributes", [{"value1": v, "type": "domain", "uuid": v} for v in values])
    return values


def test_rows_that_change_while_it_reads_do_not_appear_half(
    misp: MariaDb, reader: Reader, many: list[str]
) -> None:
    tag = misp.add("tags", name="before")
    misp.add("attribute_tags", attribute_id=40, event_id=1, tag_id=tag)

    def change() -> None:
        add(misp, "added.example")
        misp.execute(f"UPDATE {DATABASE}.attributes SET value1 = 'other.example' WHERE id = 30")
        misp.execute(f"DELETE FROM {DATABASE}.attributes WHERE id = 35")
        misp.execute(f"DELETE FROM {DATABASE}.attribute_tags")
        misp.execute(f"UPDATE {DATABASE}.events SET published = 0")

    during = reader.read(Watched(reader.folder / "last-good", 5, change))
    assert [a.value for a in during] == many
    assert during[39].tags == ("before",)
    assert reader.values() == []


def test_the_session_cannot_write(misp: MariaDb, reader: Reader, many: list[str]) -> None:
    seen: list[tuple[object, ...]] = []
    query = "SELECT trx_is_read_only, trx_isolation_level FROM information_schema.innodb_trx"
    reader.read(Watched(reader.folder / "last-good", 15, lambda: seen.extend(misp.execute(query))))
    assert seen == [(1, "REPEATABLE READ")]
    with (
        pymysql.connect(port=misp.port, user=USER, password=PASSWORD, database=DATABASE) as c,
        pytest.raises(pymysql.OperationalError, match="denied"),
    ):
        c.cursor().execute("INSERT INTO tags (name, colour, exportable) VALUES ('a', 'b', 1)")


def test_connection_ended_by_the_administrator(
    misp: MariaDb, reader: Reader, many: list[str]
) -> None:
    assert reader.values() == many
    misp.execute(f"UPDATE {DATABASE}.attributes SET value1 = CONCAT('new-', value1)")

    def end() -> None:
        found = misp.execute("SELECT id FROM information_schema.processlist WHERE user = %s", USER)
        for (number,) in found:
            misp.execute(f"KILL {number}")

    copies = Watched(reader.folder / "last-good", 15, end)
    assert [a.value for a in reader.read(copies)] == many
    assert "broke the connection" in str(reader.faults[0])


def test_server_killed_in_the_middle(misp: MariaDb, reader: Reader, many: list[str]) -> None:
    misp.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
    assert reader.values() == many
    misp.execute(f"UPDATE {DATABASE}.attributes SET value1 = CONCAT('new-', value1)")
    copies = Watched(reader.folder / "last-good", 25, misp.kill)
    try:
        assert [a.value for a in reader.read(copies)] == many
        assert "broke the connection" in str(reader.faults[0])
        assert [a.value for a in reader.read()] == many
        assert "cannot be reached" in str(reader.faults[0])
    finally:
        misp.start()
    assert reader.values() == [f"new-{value}" for value in many]


class Line:
    """A line to the server that can be cut: after so many bytes of answers, once `limit` is set."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.limit: int | None = None
        self.command_lines: list[str] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            for process in psutil.process_iter(["cmdline"]):
                self.command_lines.append(" ".join(process.info["cmdline"] or ()))
            threading.Thread(target=_pass_on, args=(client, server), daemon=True).start()
            _pass_on(server, client, self.limit)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _pass_on(source: socket.socket, target: socket.socket, limit: int | None = None) -> None:
    passed = 0
    try:
        while (data := source.recv(4096)) and (limit is None or passed < limit):
            target.sendall(data)
            passed += len(data)
    except OSError:
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue


@pytest.fixture
def line(misp: MariaDb) -> Iterator[Line]:
    made = Line(misp.port)
    yield made
    made.close()


def configured(installation: Installation, line: Line) -> None:
    installation.add("from-a-file", {**file_attribute()})
    installation.configure(
        'sources = ["events", { type = "misp-mysql", '
        f'port = {line.port}, user = "{USER}", password_file = "mysql.password" }}]'
    )
    (installation.folder / "mysql.password").write_text(PASSWORD)


def file_attribute() -> dict[str, object]:
    return {"uuid": "uuid-file", "type": "domain", "value": "file.example", "to_ids": True}


def matches(installation: Installation, name: str) -> bool:
    return installation.run("inkgate-rules", "match", f"domain={name}").returncode == 0


def test_command_line_from_good_to_broken(
    misp: MariaDb, installation: Installation, line: Line
) -> None:
    misp.add_many(
        "attributes",
        [{"value1": f"n{n}.example", "type": "domain", "uuid": f"u{n}"} for n in range(3000)],
    )
    configured(installation, line)
    only = installation.run("inkgate-rules", "refresh", "--misp", "mysql")
    assert only.returncode == 0, only.stderr
    assert matches(installation, "n2999.example")
    assert not matches(installation, "file.example")

    misp.execute(f"UPDATE {DATABASE}.attributes SET value1 = CONCAT('new-', value1)")
    line.limit = 100_000
    broken = installation.run("inkgate-rules", "refresh")
    assert broken.returncode == 1, broken.stderr
    assert "broke the connection" in broken.stderr
    assert matches(installation, "n2999.example")
    assert matches(installation, "file.example")
    assert not matches(installation, "new-n0.example")

    said = only.stdout + only.stderr + broken.stdout + broken.stderr
    assert PASSWORD not in said
    assert any("inkgate-rules" in text for text in line.command_lines)
    assert not any(PASSWORD in text for text in line.command_lines)
    for path in installation.folder.rglob("*"):
        if path.is_file() and path.name != "mysql.password":
            assert PASSWORD.encode() not in path.read_bytes(), path


def test_as_the_documentation_has_it(misp: MariaDb, tmp_path: Path) -> None:
    add(misp, "listed.example")
    section = DOCS.read_text().partition("`misp-mysql`")[2]
    (statements,) = re.findall(r"^```sql\n(.*?)^```", section, re.DOTALL | re.MULTILINE)[:1]
    (example,) = re.findall(r"^```toml\n(.*?)^```", section, re.DOTALL | re.MULTILINE)[:1]
    misp.execute(f"DROP USER '{USER}'@'%'")
    try:
        for statement in statements.strip().split(";\n"):
            misp.execute(statement.rstrip(";").replace("192.0.2.10", "127.0.0.1"))
        (given,) = tomllib.loads(example)["rules"]["sources"]
        misp.add("users", email=given["misp_user"])
        # The server of the tests speaks no TLS.
        del given["ca_file"]
        settings = msgspec.convert(
            {**given, "host": "127.0.0.1", "port": misp.port}, MispMysqlSettings
        )
        (tmp_path / settings.password_file).write_text("a long random password")
        faults: list[Unreadable] = []
        source = MispMysql(settings, tmp_path, LastGood(tmp_path / "last-good"))
        assert [a.value for a in source.read(faults)] == ["listed.example"]
        assert not faults
    finally:
        misp.restore_user()


def test_every_key_is_documented() -> None:
    section = DOCS.read_text().partition("`misp-mysql`")[2].partition("\n### ")[0]
    for field in msgspec.structs.fields(MispMysqlSettings):
        assert f"`{field.name}`" in section
