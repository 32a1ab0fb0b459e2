"""Clients at several addresses that ask for what is listed and for what is not."""

from __future__ import annotations

import itertools
import random
import re
import threading
import time
from http.client import HTTPConnection, HTTPException
from typing import Literal, NamedTuple

from support.soak.setup import (
    ADDRESS,
    CLEAN_PATH,
    DOMAINS,
    FILE_URL,
    LISTED_PATH,
    UNAVAILABLE,
    Setup,
)
from support.squid import INCIDENT

Outcome = Literal["passed", "blocked", "unable", "refused", "broken"]
FIRST_CLIENT, CLIENTS, FLOODER, PROBER = 10, 4, "127.0.0.99", "127.0.0.98"
_SECONDS = 60
_UNABLE = re.compile(f"{UNAVAILABLE}|ERR_ICAP|ICAP protocol error|inkgate is not available")
_POSTED = b"x" * 50_000


class Asked(NamedTuple):
    """One request and what became of it.

    Attributes:
        kind: what was asked for.
        url: unlike every other.
        is_listed: whether it must be blocked.
        began: in seconds since 1970.
        ended: in seconds since 1970.
        outcome: what the client saw.
        incident: the incident id on the page.
        detail: status, or what went wrong.
    """

    kind: str
    url: str
    is_listed: bool
    began: float
    ended: float
    outcome: Outcome
    incident: str
    detail: str


class Load:
    """Some clients of one set-up.

    Args:
        setup: whose Squid they ask.
        seed: of what they ask for.
        rate: requests a second, of all clients.

    Attributes:
        asked: all that has ended.
    """

    def __init__(self, setup: Setup, seed: int, rate: float) -> None:
        self.setup = setup
        self.asked: list[Asked] = []
        self._pause = CLIENTS / rate
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(n, random.Random(f"{seed} {n}")), daemon=True)
            for n in range(CLIENTS)
        ]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(2 * _SECONDS)

    def _run(self, number: int, draw: random.Random) -> None:
        client = f"127.0.0.{FIRST_CLIENT + number}"
        count = 0
        next_at = time.monotonic()
        while not self._ended.is_set():
            if self.setup.is_paused.is_set():
                self._ended.wait(0.1)
                continue
            count += 1
            token = f"{self.setup.name}-{number}-{count}"
            self.asked.append(ask(self.setup, *drawn(self.setup, draw, token), client))
            next_at = max(next_at + self._pause, time.monotonic() - 1)
            self._ended.wait(max(0.0, next_at - time.monotonic()))


def drawn(setup: Setup, draw: random.Random, token: str) -> tuple[str, str, bool]:
    """Kind, URL, and whether it is listed."""
    if draw.random() < 0.5:
        kinds = ["domain", "url", "address"]
        kinds += ["file"] if setup.front == "icap" else []
        kinds += ["new domain"] if setup.new_domains else []
        kind = draw.choice(kinds)
        return kind, _listed(setup, draw, kind, token), True
    kind = draw.choice(["page", "page", "new name", "download", "post"])
    url = {
        "page": f"http://plain.example/{token}",
        "new name": f"http://n-{token}.test/",
        "download": f"http://plain.example{CLEAN_PATH}?{token}",
        "post": f"http://plain.example/post/{token}",
    }[kind]
    return kind, url, False


def _listed(setup: Setup, draw: random.Random, kind: str, token: str) -> str:
    if kind == "domain":
        return f"http://{draw.choice(DOMAINS)}/{token}"
    if kind == "new domain":
        return f"http://{draw.choice(setup.new_domains)}/{token}"
    if kind == "address":
        return f"http://{ADDRESS}/{token}"
    if kind == "file":
        return f"http://plain.example{LISTED_PATH}?{token}"
    return f"{FILE_URL}?{token}"


def ask(setup: Setup, kind: str, url: str, is_listed: bool, client: str) -> Asked:
    """Ask once."""
    began = time.time()
    outcome, incident, detail = _outcome(setup, kind, url, client)
    return Asked(kind, url, is_listed, began, time.time(), outcome, incident, detail)


def _outcome(setup: Setup, kind: str, url: str, client: str) -> tuple[Outcome, str, str]:
    connection = HTTPConnection(
        "127.0.0.1", setup.squid.port, timeout=_SECONDS, source_address=(client, 0)
    )
    try:
        posted = _POSTED if kind == "post" else None
        connection.request("POST" if posted else "GET", url, posted)
        reply = connection.getresponse()
        body = reply.read()
    except (OSError, HTTPException) as error:
        return "broken", "", type(error).__name__
    finally:
        connection.close()
    if reply.status == 200:
        whole = {"file": setup.listed_file, "download": setup.clean_file}.get(kind)
        return ("broken", "", "not whole") if whole not in (None, body) else ("passed", "", "")
    text = body.decode("utf-8", "replace")
    if found := INCIDENT.search(text):
        return "blocked", found[0], ""
    error = reply.headers.get("X-Squid-Error", "")
    return "unable" if _UNABLE.search(text + error) else "refused", "", f"{reply.status} {error}"


_PROBES = itertools.count()


def probe(setup: Setup) -> Asked:
    """A listed request that is not of the load, and counts as one."""
    url = f"http://{DOMAINS[0]}/probe-{setup.name}-{next(_PROBES)}"
    found = ask(setup, "domain", url, True, PROBER)
    setup.probed.append(found)
    return found
