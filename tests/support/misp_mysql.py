"""Attributes in a MISP's database, and what the source that reads it makes of them."""

from __future__ import annotations

import traceback
import uuid
from pathlib import Path

from inkgate.config.errors import Unreadable
from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.last_good import LastGood
from inkgate.rules.sources.misp_mysql import MispMysql
from inkgate.rules.sources.mysql_session import MispMysqlSettings
from support.mariadb import PASSWORD, USER, MariaDb


def add(misp: MariaDb, kind: str, value: str, **more: object) -> str:
    """Add an attribute; its UUID."""
    value1, _, value2 = value.partition("|")
    name = str(uuid.uuid4())
    row = {"uuid": name, "type": kind, "value1": value1, "value2": value2, **more}
    misp.add("attributes", **row)
    return name


def fill(misp: MariaDb, count: int) -> None:
    misp.add_many(
        "attributes",
        (
            {"uuid": f"u{i}", "type": "domain", "value1": f"n{i}.example", "comment": "x" * 50}
            for i in range(count)
        ),
    )


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
