"""The three that ask a MISP, each behind one function."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

from inkgate.config.errors import Unreadable
from inkgate.config.secret import read_secret
from inkgate.misp.connector import Connector
from inkgate.rules.sources.misp_api import MispApi, MispWebSettings
from inkgate.sightings.aggregation.errors import AggregationError
from inkgate.sightings.aggregation.publish.misp import MispPublisher
from inkgate.sightings.report.misp import MispSightings, NeedsOperator, RetryLater
from inkgate.sightings.report.outbox import Item, ReportState
from inkgate.sightings.settings import MispSettings
from support.aggregation import Party
from support.misp import Misp, MispServer
from support.reporting import MORNING

KEY_FILE: Final = "misp.key"
# What each turns the connector's errors into.
ERRORS: Final = (Unreadable, RetryLater, NeedsOperator, AggregationError)


def misp_with_one_attribute() -> Misp:
    misp = Misp()
    misp.add_event("made up", [("domain", "listed.example")])
    return misp


class Callers:
    """Ask about the one attribute of a MISP, and see that it was done.

    Args:
        misp: what is asked about.
        folder: holds the key, and `ca_file` if one is named.
        timeout: seconds for an answer.
    """

    def __init__(self, misp: Misp, folder: Path, timeout: float = 5.0) -> None:
        self._misp = misp
        (self._attribute,) = misp.attributes.values()
        self._folder = folder
        self._timeout = timeout

    def source(self, url: str, ca_file: str = "") -> None:
        """The reader of `[[rules.sources]]`, which tries twice more at once."""
        settings = MispWebSettings(
            url=url,
            key_file=KEY_FILE,
            ca_file=ca_file,
            timeout=self._timeout,
            retries=2,
            first_wait=0.001,
        )
        assert list(MispApi(settings, self._folder).index()) == [self._attribute.event.uuid]

    def reporter(self, url: str, ca_file: str = "") -> None:
        """What `inkgate-sightings report` sends with."""
        settings = MispSettings(url=url, key_file=KEY_FILE, ca_file=ca_file, timeout=self._timeout)
        name = str(uuid.uuid4())
        about = (name, 0, self._attribute.uuid, str(self._attribute.event.id), "proxy1")
        item = Item(*about, MORNING, MORNING, 1, ReportState.WAITING, 0, "", 0)
        fates = MispSightings(settings, self._folder, 24, lambda _: None).send([item])
        assert [state for items, state, _ in fates if items] == [ReportState.REPORTED]
        assert name in self._misp.sightings

    def aggregation(self, url: str, ca_file: str = "") -> None:
        """What `inkgate-sightings publish` sends with."""
        key = read_secret(self._folder / KEY_FILE, "", "MISP")
        authorities = self._folder / ca_file if ca_file else None
        misp = Connector(url, key, ca_file=authorities, timeout=self._timeout)
        session = Party("masked", 3, 1).session
        assert MispPublisher(misp).publish(session, {self._attribute.uuid: 2}, 100) == 1
        assert len(self._misp.sightings) == 2

    def named(self, name: str) -> Callable[..., None]:
        """One of the three."""
        ask: Callable[..., None] = getattr(self, name)
        return ask


NAMES: Final = ("source", "reporter", "aggregation")


def key_in(folder: Path, server: MispServer) -> Path:
    """Write the server's key where the callers read it."""
    path = folder / KEY_FILE
    path.write_text(server.key)
    return path
