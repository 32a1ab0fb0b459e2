"""The main job: a real Squid blocks what is listed and nothing else."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from inkgate.blocked_page.page import TIME_FORMAT
from support.installation import SETTINGS, Installation, attribute
from support.listed import BLOCKED, LISTED, PASSED
from support.squid import Squid
from support.waiting import wait_until

pytestmark = pytest.mark.e2e

# Each character is three in what Squid tells the helper.
LONGEST_AGENT = "%" * 8192


@pytest.fixture(scope="module")
def squid() -> Iterator[tuple[Squid, Installation]]:
    installation = Installation()
    installation.add("listed", *LISTED.values(), attribute("user-agent", LONGEST_AGENT))
    started = Squid(installation)
    yield started, installation
    started.close()
    installation.close()


@pytest.mark.parametrize(("name", "url"), BLOCKED)
def test_listed_url_gets_the_blocked_page(
    squid: tuple[Squid, Installation], name: str, url: str
) -> None:
    server, installation = squid
    reply = server.get(url)
    assert reply.status == 403
    assert reply.incident
    assert "Nothing was sent to it" in reply.body
    assert reply.squid_error is None
    assert f"inkgate={reply.incident}" in server.access_log(reply.incident)
    (record,) = installation.sightings(reply.incident)
    assert record["attributes"] == [LISTED[name]["uuid"]]
    assert record["client"] == "127.0.0.1"
    assert record["method"] == "GET"
    assert record["action"] == "block"
    assert record["node"] == "proxy.test"


@pytest.mark.parametrize(
    "target",
    [
        b"http://listed.example/?" + b"\xff" * 2800,
        b"http://listed.example/" + b"a" * 8100,
        b"http://x!.listed.example/",
        b"http://*.listed.example/",
        b"http://a,b.listed.example/",
        b"http://\xff.listed.example/",
        b"http://%20.listed.example/",
        b"http://" + b"a" * 64 + b".listed.example/",
        b"http://-.listed.example/",
        b"http://files.example/malware/payload.exe?" + b"\xff" * 2800,
        b"http://files.example/" + b"./" * 3000 + b"malware/payload.exe",
    ],
)
def test_no_spelling_hides_what_is_listed(squid: tuple[Squid, Installation], target: bytes) -> None:
    reply = squid[0].raw(target)
    assert (reply.status, bool(reply.incident)) == (403, True)


@pytest.mark.parametrize("url", PASSED)
def test_neighbours_pass(squid: tuple[Squid, Installation], url: str) -> None:
    assert squid[0].get(url).status == 200


@pytest.mark.parametrize("authority", ["www.listed.example:443", "login.bank.test:443"])
def test_listed_host_is_refused_as_a_tunnel(
    squid: tuple[Squid, Installation], authority: str
) -> None:
    server, installation = squid
    reply = server.connect(authority)
    assert reply.status == 403
    assert reply.incident
    assert f"inkgate={reply.incident}" in server.access_log(reply.incident)
    (record,) = installation.sightings(reply.incident)
    assert record["method"] == "CONNECT"


def test_tunnel_to_a_neighbour_is_open(squid: tuple[Squid, Installation]) -> None:
    assert squid[0].connect(f"neighbour.example:{squid[0].origin}").status == 200


def test_listed_user_agent_is_blocked_anywhere(squid: tuple[Squid, Installation]) -> None:
    server, _ = squid
    assert server.get("http://fine.example/", User_Agent="EvilBot/1.0 (made up; 100%)").incident
    assert server.get("http://fine.example/", User_Agent="EvilBot/1.0").status == 200


def test_user_agent_is_shown_as_far_as_any_rule_is_long(squid: tuple[Squid, Installation]) -> None:
    server, _ = squid
    assert server.get("http://fine.example/", User_Agent=LONGEST_AGENT).incident
    for more in ("%", "x", "x" * 50_000):
        assert server.get("http://fine.example/", User_Agent=LONGEST_AGENT + more).status == 200


def test_page_shows_address_without_query_and_contact(squid: tuple[Squid, Installation]) -> None:
    body = squid[0].get("http://listed.example/<script>?secret=1").body
    assert "<script>" not in body
    assert "secret" not in body
    link = '<a href="mailto:desk@organisation.example?subject=IG-'
    assert f"help &lt;{link}" in body
    assert "</a>&gt; 100%<" in body
    assert "http://listed.example/" in body


def test_squids_own_errors_keep_their_name(squid: tuple[Squid, Installation]) -> None:
    reply = squid[0].get("http://neighbour.example:1/")
    assert reply.squid_error is not None
    assert reply.squid_error.startswith("ERR_")


def test_page_tells_the_time_with_its_zone(squid: tuple[Squid, Installation]) -> None:
    body = squid[0].get("http://listed.example/").body
    (told, *more) = set(re.findall(r"<dd>(\d{4}-\d\d-\d\d [\d:]{8} UTC[+-]\d{4})</dd>", body))
    assert more == []
    moment = datetime.strptime(told, TIME_FORMAT).astimezone()
    assert abs(datetime.now(UTC) - moment) < timedelta(minutes=5)


def test_address_that_a_name_resolves_to_is_blocked_when_the_reply_comes() -> None:
    installation = Installation()
    installation.add("listed", attribute("ip-dst", "127.0.0.1"))
    server = Squid(installation)
    try:
        # A request for a name, played by a server on 127.0.0.1.
        reply = server.get("http://innocent.example/")
        assert reply.status == 403
        assert reply.incident
        assert "Your request has reached the server" in reply.body
        assert "Nothing was" not in reply.body
        assert reply.squid_error is None
    finally:
        server.close()
        installation.close()


def test_address_with_port_is_blocked_when_a_name_leads_there() -> None:
    installation = Installation()
    installation.add("other", attribute("ip-dst|port", "127.0.0.1|80"))
    server = Squid(installation)
    installation.add("listed", attribute("ip-dst|port", f"127.0.0.1|{server.origin}"))
    try:
        # The connection goes to the origin's port, whatever the URL says.
        assert server.get("http://neighbour.example/").status == 200
        assert installation.run("inkgate-rules", "refresh").returncode == 0
        url = f"http://neighbour.example:{server.origin}/"
        wait_until(lambda: server.get(url).status == 403, f"{url} blocked")
        assert server.get("http://fresh.example/").status == 403
    finally:
        server.close()
        installation.close()


def test_refresh_under_load_blocks_soon_and_fails_no_request() -> None:
    installation = Installation()
    installation.add("first", attribute("domain", "listed.example"))
    server = Squid(installation)
    stop = threading.Event()
    statuses: list[int] = []

    def load(number: int) -> None:
        count = 0
        while not stop.is_set():
            count += 1
            statuses.append(server.get(f"http://host{count % 50}.example/{number}").status)

    clients = [threading.Thread(target=load, args=(n,)) for n in range(4)]
    try:
        for client in clients:
            client.start()
        assert server.get("http://added.example/").status == 200
        installation.add("second", attribute("domain", "added.example"))
        done = installation.run("inkgate-rules", "refresh")
        assert done.returncode == 0, done.stderr
        # 2 s for the helper to notice, 2 s of negative_ttl in Squid, and a busy machine.
        wait_until(
            lambda: server.get("http://added.example/").status == 403, "added.example blocked", 30
        )
        enough = len(statuses) + 100
        wait_until(lambda: len(statuses) > enough, "requests after the change")
    finally:
        stop.set()
        for client in clients:
            client.join()
        server.close()
        installation.close()
    assert "derived  1\n" in done.stdout
    assert set(statuses) == {200}


@pytest.mark.parametrize(("fail", "status"), [("open", 200), ("closed", 403)])
def test_unreadable_rules_follow_fail_and_squid_lives(fail: str, status: int) -> None:
    installation = Installation(SETTINGS.replace('fail = "open"', f'fail = "{fail}"'))
    installation.add("listed", attribute("domain", "listed.example"))
    server = Squid(installation)
    try:
        assert server.get("http://listed.example/").status == 403
        generation = (installation.folder / "rules" / "current").resolve()
        (generation / "manifest.json").write_text("{}")
        (killed,) = helper_pids(server)
        os.kill(killed, 9)
        wait_until(lambda: helper_pids(server) - {killed}, "another helper")
        reply = server.get("http://fresh.example/")
        assert reply.status == status
        assert ("This address could not be checked" in reply.body) == (fail == "closed")
        assert "known to be dangerous" not in reply.body
        installation.add("more", attribute("domain", "more.example"))
        assert installation.run("inkgate-rules", "refresh").returncode == 0
        wait_until(lambda: server.get("http://more.example/").incident, "more.example blocked")
        wait_until(lambda: server.get("http://fresh.example/").status == 200, "fresh.example")
    finally:
        server.close()
        installation.close()


def helper_pids(server: Squid) -> set[int]:
    """The helpers that the given Squid has started."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().decode().split("\0")
            if any("inkgate-helper" in word for word in words) and any(
                word.startswith(str(server.folder.parent)) for word in words
            ):
                found.add(int(path.parent.name))
    return found
