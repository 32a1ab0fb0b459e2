"""A private MariaDB with the tables of MISP 2.5 that hold indicators."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pymysql

from support.squid import free_port
from support.waiting import wait_until

USER = "inkgate"
PASSWORD = "correct-horse-battery-staple-7"
DATABASE = "misp"

# As docs/settings.md has it: no more than reading, and only the tables that are read.
GRANTS = [
    f"GRANT SELECT ON {DATABASE}.{table} TO '{USER}'@'%'"
    for table in (
        "attributes",
        "attribute_tags",
        "events",
        "event_tags",
        "objects",
        "organisations",
        "tags",
        "users",
        "roles",
        "sharing_group_orgs",
        "sharing_group_servers",
    )
]

# The columns that MISP 2.5 has, with its types and its rules for NULL.
TABLES = {
    "organisations": """
        id INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
        name VARCHAR(255) NOT NULL DEFAULT '' UNIQUE, uuid VARCHAR(40) UNIQUE,
        date_created DATETIME NOT NULL DEFAULT NOW(), date_modified DATETIME NOT NULL DEFAULT NOW(),
        description TEXT, type VARCHAR(255) NOT NULL DEFAULT '',
        nationality VARCHAR(255) NOT NULL DEFAULT '', sector VARCHAR(255) NOT NULL DEFAULT '',
        created_by INT NOT NULL DEFAULT 0, local TINYINT(1) NOT NULL DEFAULT 0""",
    "users": """
        id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, email VARCHAR(255) NOT NULL UNIQUE,
        password VARCHAR(255) NOT NULL, org_id INT NOT NULL, authkey VARCHAR(40),
        role_id INT NOT NULL DEFAULT 3, disabled TINYINT(1) NOT NULL DEFAULT 0,
        expiration DATETIME""",
    "roles": """
        id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, name VARCHAR(100) NOT NULL,
        perm_site_admin TINYINT(1) NOT NULL DEFAULT 0""",
    "sharing_group_orgs": """
        id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, sharing_group_id INT NOT NULL,
        org_id INT NOT NULL, extend TINYINT(1) NOT NULL DEFAULT 0, KEY (org_id)""",
    "sharing_group_servers": """
        id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, sharing_group_id INT NOT NULL,
        server_id INT NOT NULL, all_orgs TINYINT(1) NOT NULL""",
    "events": """
        id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, uuid VARCHAR(40) NOT NULL UNIQUE,
        org_id INT NOT NULL, orgc_id INT NOT NULL, `date` DATE NOT NULL, info TEXT NOT NULL,
        user_id INT NOT NULL, published TINYINT(1) NOT NULL DEFAULT 0, analysis TINYINT NOT NULL,
        attribute_count INT UNSIGNED DEFAULT 0, `timestamp` INT NOT NULL DEFAULT 0,
        distribution TINYINT NOT NULL DEFAULT 0, sharing_group_id INT NOT NULL,
        locked TINYINT(1) NOT NULL DEFAULT 0, threat_level_id INT NOT NULL,
        publish_timestamp INT NOT NULL DEFAULT 0, disable_correlation TINYINT(1) NOT NULL DEFAULT 0,
        extends_uuid VARCHAR(40) DEFAULT '', KEY (org_id), KEY (orgc_id)""",
    "objects": """
        id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, uuid VARCHAR(40) UNIQUE, name VARCHAR(255),
        `meta-category` VARCHAR(255), description TEXT, template_uuid VARCHAR(40),
        template_version INT NOT NULL, event_id INT NOT NULL, `timestamp` INT NOT NULL DEFAULT 0,
        distribution TINYINT NOT NULL DEFAULT 0, sharing_group_id INT, comment TEXT NOT NULL,
        deleted TINYINT(1) NOT NULL DEFAULT 0, first_seen BIGINT, last_seen BIGINT,
        KEY (event_id)""",
    "attributes": """
        id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, uuid VARCHAR(40) NOT NULL UNIQUE,
        event_id INT NOT NULL, object_id INT NOT NULL DEFAULT 0, object_relation VARCHAR(255),
        category VARCHAR(255) NOT NULL, type VARCHAR(100) NOT NULL,
        value1 TEXT NOT NULL, value2 TEXT NOT NULL, to_ids TINYINT(1) NOT NULL DEFAULT 1,
        `timestamp` INT NOT NULL DEFAULT 0, distribution TINYINT NOT NULL DEFAULT 0,
        sharing_group_id INT NOT NULL, comment TEXT, deleted TINYINT(1) NOT NULL DEFAULT 0,
        disable_correlation TINYINT(1) NOT NULL DEFAULT 0, first_seen BIGINT, last_seen BIGINT,
        KEY (event_id), KEY (object_id), KEY (value1(255)), KEY (value2(255)), KEY (type),
        KEY (category), KEY (last_seen), KEY (`timestamp`)""",
    "tags": """
        id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, name VARCHAR(255) NOT NULL UNIQUE,
        colour VARCHAR(7) NOT NULL, exportable TINYINT(1) NOT NULL,
        hide_tag TINYINT(1) NOT NULL DEFAULT 0, local_only TINYINT(1) NOT NULL DEFAULT 0""",
    "event_tags": """
        id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, event_id INT NOT NULL, tag_id INT NOT NULL,
        local TINYINT(1) NOT NULL DEFAULT 0, relationship_type VARCHAR(191) DEFAULT '',
        KEY (event_id), KEY (tag_id)""",
    "attribute_tags": """
        id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, attribute_id INT NOT NULL,
        event_id INT NOT NULL, tag_id INT NOT NULL, local TINYINT(1) NOT NULL DEFAULT 0,
        relationship_type VARCHAR(191) DEFAULT '', KEY (attribute_id), KEY (event_id),
        KEY (tag_id)""",
}
# What a row holds unless it is told otherwise.
DEFAULTS: dict[str, dict[str, object]] = {
    "users": {"password": "", "org_id": 1},
    "events": {
        "org_id": 1, "orgc_id": 1, "date": "2026-01-01", "info": "made up", "user_id": 1,
        "published": 1, "analysis": 2, "sharing_group_id": 0, "threat_level_id": 4,
    },
    "objects": {"template_version": 1, "comment": ""},
    "attributes": {
        "event_id": 1, "category": "Network activity", "value2": "", "sharing_group_id": 0,
        "timestamp": 1_767_225_600,
    },
    "tags": {"colour": "#000000", "exportable": 1},
}  # fmt: skip


class MariaDb:
    """A server in a temporary folder, on a socket and a port of 127.0.0.1; end it with `close`.

    Args:
        options: more options for mariadbd, as for TLS.
    """

    def __init__(self, *options: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="inkgate-mariadb-"))
        self.socket = self.folder / "socket"
        self.port = free_port()
        self.log = self.folder / "error.log"
        data = self.folder / "data"
        who = []
        if os.getuid() == 0:
            shutil.chown(self.folder, "mysql", "mysql")
            who = ["--user=mysql"]
        self._install(data, who)
        self.process = subprocess.Popen(
            [
                _program("mariadbd"),
                "--no-defaults",
                *who,
                f"--datadir={data}",
                f"--socket={self.socket}",
                f"--port={self.port}",
                f"--log-error={self.log}",
                f"--pid-file={self.folder / 'pid'}",
                # Its user may not write where ours may.
                f"--tmpdir={self.folder}",
                "--bind-address=127.0.0.1",
                "--skip-name-resolve",
                "--skip-log-bin",
                "--performance-schema=OFF",
                "--innodb-flush-log-at-trx-commit=0",
                "--innodb-buffer-pool-size=96M",
                "--innodb-fast-shutdown=2",
                *options,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._takes_connections, f"MariaDB; {self.log}")
        self.execute(f"CREATE DATABASE {DATABASE} CHARACTER SET utf8mb3 COLLATE utf8mb3_bin")
        for name, columns in TABLES.items():
            self.execute(f"CREATE TABLE {DATABASE}.{name} ({columns}) ENGINE=InnoDB")
        self.execute(f"CREATE USER '{USER}'@'%' IDENTIFIED BY '{PASSWORD}'")
        for grant in GRANTS:
            self.execute(grant)

    def _install(self, data: Path, who: Sequence[str]) -> None:
        done = subprocess.run(
            [
                _program("mariadb-install-db"),
                "--no-defaults",
                *who,
                f"--datadir={data}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--skip-name-resolve",
                "--innodb-log-file-size=8M",
                f"--tmpdir={self.folder}",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _takes_connections(self) -> bool:
        assert self.process.poll() is None, f"MariaDB did not start: {self.log.read_text()}"
        try:
            self.connect().close()
        except pymysql.OperationalError:
            return False
        return True

    def connect(self, database: str | None = None) -> pymysql.Connection[Any]:
        """A connection of the server's administrator, over the socket."""
        return pymysql.connect(
            unix_socket=str(self.socket), user="root", database=database, autocommit=True
        )

    def execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run one statement as the administrator, in MISP's database if there is one."""
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall())

    def add(self, table: str, **columns: object) -> int:
        """Insert a row, the rest of it as in DEFAULTS; its id."""
        return self.add_many(table, [columns])

    def add_many(self, table: str, rows: Iterable[dict[str, object]]) -> int:
        """Insert rows that all have the same columns; the first one's id."""
        full = [{**DEFAULTS.get(table, {}), **row} for row in rows]
        names = ", ".join(f"`{name}`" for name in full[0])
        places = ", ".join(["%s"] * len(full[0]))
        with self.connect(DATABASE) as connection, connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO {table} ({names}) VALUES ({places})",
                [tuple(row.values()) for row in full],
            )
            return int(cursor.lastrowid or 0)

    def empty(self) -> None:
        """Remove all rows."""
        with self.connect(DATABASE) as connection, connection.cursor() as cursor:
            for table in TABLES:
                cursor.execute(f"TRUNCATE {table}")

    def kill(self) -> None:
        """End the server as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        """Stop the server and remove everything."""
        self.process.terminate()
        self.process.wait(60)
        shutil.rmtree(self.folder, ignore_errors=True)


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin")
    assert found, f"{name} is missing: tools/bootstrap.sh dev installs it"
    return found
