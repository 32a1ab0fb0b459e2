"""Logs that a real Squid wrote, in eight logformats: what was asked for is found in each."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from inkgate.rules.canonical import Refused, canonical_attribute
from support.configured_squid import SQUID, ConfiguredSquid
from support.installation import Installation, attribute

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(SQUID is None, reason="needs a Squid"),
]

COUNT = 200
# By name: as squid.conf has it, and what `--format` is given. The first two are Squid's own.
FORMATS = {
    "squid": "squid",
    "combined": "combined",
    "quotes": '%ts.%03tu %>a %rm %ru %<a "%{User-Agent}>h" %mt',
    "url": '%ts %>a %http::rm %#ru %<a "%#{User-Agent}>h"',
    "mime": "%ts [%tl] %>a [%{User-Agent}>h] [%>ru]",
    "shell": "%/{User-Agent}>h %/ru %>a",
    "raw": '%>a %ru "%\'{User-Agent}>h"',
    "passed": "%>a|%>ru|%{User-Agent}>h|%>Hs",
}
_PIECES = (
    *('"', "\\", "\t", "%", "[", "]", "{", "}", "|", "'", "`", "~", "^", "<", ">", "#", " ", "  "),
    *(
        "%20",
        "%22",
        "%5C",
        "%zz",
        "\\t",
        '\\"',
        "\\\\",
        "\\x22",
        "é",
        "日本",
        "a",
        "B7",
        "-",
        "_",
        "/",
    ),
    *('" "', '" - "', '" TCP_DENIED:HIER_NONE', ":", ";", "=", "&", "?", "(x)", ","),
)


def _odd(choose: random.Random, without: str = "") -> str:
    pieces = [piece for piece in _PIECES if not set(piece) & set(without)]
    return "".join(choose.choices(pieces, k=choose.randint(1, 6)))


def _agents(choose: random.Random) -> list[str]:
    return [f"Agent{number}{_odd(choose)}/{number}" for number in range(COUNT)]


def _urls(choose: random.Random) -> list[str]:
    urls: list[str] = []
    while len(urls) < COUNT:
        # Squid takes white space out of a URL, and nobody asks for a fragment.
        text = _odd(choose, " #\t")
        url = f"http://host{len(urls)}.example/p{text}x{len(urls)}"
        with suppress(Refused):
            canonical_attribute("url", url)
            urls.append(url)
    return urls


def _ask(port: int, url: str, agent: str) -> None:
    with socket.create_connection(("127.0.0.1", port), 30) as client:
        head = f"GET {url} HTTP/1.1\r\nHost: x\r\nUser-Agent: {agent}\r\nConnection: close\r\n\r\n"
        client.sendall(head.encode())
        while client.recv(65_536):
            pass


@pytest.fixture(scope="module")
def logged() -> Iterator[Installation]:
    """An installation whose rules list all values, and the logs of a Squid that saw them."""
    choose = random.Random(22)
    agents, urls = _agents(choose), _urls(choose)
    made = Installation()
    listed = [
        attribute(kind, value, uuid=f"00000000-0000-4000-8000-{offset + number:012}")
        for kind, values, offset in (("user-agent", agents, 0), ("url", urls, 1000))
        for number, value in enumerate(values)
    ]
    made.add("listed", *listed)
    made.refresh()
    own = [name for name in FORMATS if FORMATS[name] != name]
    lines = [f"logformat {name} {FORMATS[name]}" for name in own]
    folder = made.folder / "squid"
    lines += [f"access_log stdio:{folder}/{name}.log logformat={name}" for name in FORMATS]
    lines += ["strip_query_terms off", "http_access deny all", ""]
    with ConfiguredSquid(made, "\n".join(lines)) as squid:
        # Others may have been logged while Squid started.
        for url, agent in zip(urls, agents, strict=True):
            _ask(squid.port, url, agent)
    yield made
    made.close()


@pytest.mark.parametrize("name", FORMATS)
def test_every_value_is_found_in_its_own_line(logged: Installation, name: str) -> None:
    log = logged.folder / "squid" / f"{name}.log"
    before = log.read_bytes().count(b"\n") - COUNT
    done = logged.run(
        "inkgate-rules", "match", "--json", "--jobs", "1", "--format", FORMATS[name], str(log)
    )
    hits = [json.loads(line) for line in done.stdout.splitlines()]
    found = {
        (hit["line"] - before - 1, int(entry["uuid"][-12:]))
        for hit in hits
        for entry in hit["message"]["attributes"]
    }
    wanted = {(number, 1000 + number) for number in range(COUNT)}
    if name != "squid":
        wanted |= {(number, number) for number in range(COUNT)}
    lines = log.read_bytes().splitlines()
    missing = [(pair, lines[before + pair[0]]) for pair in sorted(wanted - found)]
    assert missing == []
    assert found == wanted
    assert "could not be read" not in done.stderr
