"""A real Squid that asks over ICAP only: what the helper does for it, and bodies."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import os
import random
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from support.icap_squid import IcapSquid
from support.installation import Installation, attribute
from support.listed import BLOCKED, LISTED, PASSED
from support.squid import INCIDENT
from support.waiting import wait_until

pytestmark = pytest.mark.e2e

CHOOSE = random.Random(4)
DIGESTS = ["md5", "sha1", "sha256", "sha512"]
SIZES = {"10 bytes": 10, "1 MB": 1_000_000}
FILES = {
    f"/{name}/{size.replace(' ', '')}": CHOOSE.randbytes(SIZES[size])
    for name in DIGESTS
    for size in SIZES
}
BIG = CHOOSE.randbytes(1 << 20) * 200


def digest_of(path: str, body: bytes) -> dict[str, object]:
    name = path.split("/")[1]
    return attribute(name, hashlib.new(name, body).hexdigest())


@pytest.fixture(scope="module")
def squid() -> Iterator[tuple[IcapSquid, Installation]]:
    installation = Installation()
    installation.add("requests", *LISTED.values())
    installation.add("files", *(digest_of(path, body) for path, body in FILES.items()))
    installation.add("big", attribute("sha256", hashlib.sha256(BIG).hexdigest()))
    installation.refresh()
    started = IcapSquid(installation)
    for path, body in FILES.items():
        started.origin.files[path] = (body, {})
        packed = gzip.compress(body, 1)
        started.origin.files[path + ".gz"] = (packed, {"Content-Encoding": "gzip"})
        started.origin.files[path + ".other"] = (body[::-1], {})
    started.origin.files["/big"] = (BIG, {})
    started.origin.files["/big.gz"] = (gzip.compress(BIG, 0), {"Content-Encoding": "gzip"})
    started.origin.files["/big.other"] = (BIG + b"x", {})
    yield started, installation
    started.close()
    installation.close()


@pytest.mark.parametrize(("name", "url"), BLOCKED)
def test_listed_url_gets_the_blocked_page(
    squid: tuple[IcapSquid, Installation], name: str, url: str
) -> None:
    server, installation = squid
    reply = server.get(url)
    assert reply.status == 403
    assert reply.incident
    server.access_log(f"inkgate={reply.incident}")
    (record,) = installation.sightings(reply.incident)
    assert record["attributes"] == [LISTED[name]["uuid"]]
    assert record["client"] == "127.0.0.1"
    assert record["method"] == "GET"


@pytest.mark.parametrize("url", PASSED)
def test_neighbours_pass(squid: tuple[IcapSquid, Installation], url: str) -> None:
    assert squid[0].get(url).status == 200


def test_listed_user_agent_is_blocked_anywhere(squid: tuple[IcapSquid, Installation]) -> None:
    server, _ = squid
    agent = "EvilBot/1.0 (made up; 100%)"
    assert server.get("http://fine.example/", User_Agent=agent).incident
    assert server.get("http://fine.example/", User_Agent="EvilBot/1.0").status == 200


@pytest.mark.parametrize("place", range(4))
def test_each_of_several_user_agents_is_judged(
    squid: tuple[IcapSquid, Installation], place: int
) -> None:
    agents = ["Mozilla/5.0", "curl/8.0", "Mozilla/5.0"]
    for listed, status in (("EvilBot/1.0 (made up; 100%)", 403), ("EvilBot/1.0", 200)):
        connection = http.client.HTTPConnection("127.0.0.1", squid[0].port, timeout=60)
        connection.putrequest("GET", "http://fine.example/")
        for agent in [*agents[:place], listed, *agents[place:]]:
            connection.putheader("User-Agent", agent)
        connection.endheaders()
        reply = connection.getresponse()
        reply.read()
        connection.close()
        assert reply.status == status


def test_listed_host_is_refused_as_a_tunnel(squid: tuple[IcapSquid, Installation]) -> None:
    server, _ = squid
    with pytest.raises(OSError, match="403"):
        server.tls("listed.example", "/")
    server.access_log("403 .*CONNECT .*inkgate=IG-")
    assert server.tls("plain.example", "/").status == 200


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [0, 1, 199_000, 200_000, 50_000_000])
def test_unlisted_posts_arrive_byte_for_byte(
    squid: tuple[IcapSquid, Installation], size: int, chunked: bool
) -> None:
    body = os.urandom(size)
    pieces = (body[i : i + 50_000] for i in range(0, len(body), 50_000))
    fields = {"Transfer_Encoding": "chunked"} if chunked else {}
    reply = squid[0].get("http://fine.example/form", "POST", pieces if chunked else body, **fields)
    assert reply.status == 200
    assert reply.body == f"{size} {hashlib.sha256(body).hexdigest()}"


@pytest.mark.slow
def test_uploads_outlast_a_server_that_reads_late(
    squid: tuple[IcapSquid, Installation],
) -> None:
    """Squid's buffer gets full, which Squid before 6.13 takes for the client's end."""
    body = os.urandom(1 << 20) * 40
    wanted = f"{len(body)} {hashlib.sha256(body).hexdigest()}"

    def post(_: int) -> str:
        return squid[0].get("http://fine.example/late", "POST", body).body

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(post, range(4))) == [wanted] * 4


def received(server: IcapSquid, path: str) -> tuple[int, bytes, bool]:
    """Status, what of the body arrived, and whether that looks complete."""
    reply, connection = server.open(f"http://fine.example{path}")
    data = bytearray()
    whole = False
    with suppress(http.client.HTTPException, OSError):
        while piece := reply.read(1 << 16):
            data += piece
        whole = reply.length in (0, None)
    connection.close()
    return reply.status, bytes(data), whole


@pytest.mark.parametrize("encoded", ["", ".gz"])
@pytest.mark.parametrize("path", [*FILES, "/big"])
def test_listed_file_is_not_delivered_whole(
    squid: tuple[IcapSquid, Installation], path: str, encoded: str
) -> None:
    server, _ = squid
    sent = server.origin.files[path + encoded][0]
    before = server.icap.memory_kib()
    status, data, whole = received(server, path + encoded)
    if status == 403:
        assert b"IG-" in data
    else:
        # Longer than what is held, or Squid had stopped reading (see reply.py).
        assert len(sent) > 65_535
        assert not whole
        assert len(data) <= max(0, len(sent) - 65_536)
    assert server.icap.memory_kib() - before < 50_000
    server.access_log(f"{path}{encoded} .*inkgate=IG-" if status == 403 else f"{path}{encoded} ")


@pytest.mark.parametrize("path", [*FILES, "/big"])
def test_unlisted_file_arrives_byte_for_byte(
    squid: tuple[IcapSquid, Installation], path: str
) -> None:
    server, _ = squid
    status, data, whole = received(server, path + ".other")
    assert (status, whole) == (200, True)
    assert data == server.origin.files[path + ".other"][0]


def test_events_come_through_as_they_are_sent(squid: tuple[IcapSquid, Installation]) -> None:
    server, _ = squid
    reply, connection = server.open("http://fine.example/events")
    for number in range(3):
        assert reply.readline() == b"data: %d\n" % number
        assert reply.readline() == b"\n"
        server.origin.goes_on.set()
    assert reply.read() == b""
    connection.close()


def test_address_that_a_name_resolves_to_is_blocked_when_the_reply_comes() -> None:
    installation = Installation()
    installation.add("listed", attribute("ip-dst", "127.0.0.1"))
    installation.refresh()
    server = IcapSquid(installation)
    try:
        server.origin.files["/long"] = (os.urandom(20_000_000), {})
        for path in ("", "long"):
            reply = server.get(f"http://innocent.example/{path}")
            assert reply.status == 403
            assert reply.incident
    finally:
        server.close()
        installation.close()


@pytest.mark.parametrize(("fail", "status"), [("open", 200), ("closed", 500)])
def test_squid_follows_fail_while_the_server_is_gone(fail: str, status: int) -> None:
    installation = Installation()
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    server = IcapSquid(installation, fail=fail)
    try:
        assert server.get("http://listed.example/").status == 403
        server.icap.close()
        reply = server.get("http://listed.example/")
        assert reply.status == status
        # Squid's own page for this cannot be replaced alone; it tells the truth, too.
        assert ("ICAP protocol error" in reply.body) == (fail == "closed")
        assert "dangerous" not in reply.body
    finally:
        server.close()
        installation.close()


@pytest.fixture
def listed_path() -> Iterator[Installation]:
    installation = Installation()
    yield installation
    installation.close()


def bumped(installation: Installation, how: str) -> IcapSquid:
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    server = IcapSquid(installation, bump=how)  # type: ignore[arg-type]
    authority = f"opened.example:{server.secure.port}"
    installation.add("paths", attribute("url", f"https://{authority}/bad/file.exe"))
    other = f"files.example:{server.secure.port}"
    installation.add("others", attribute("url", f"https://{other}/bad/file.exe"))
    before = server.icap.istag()
    installation.refresh()
    wait_until(lambda: server.icap.istag() != before, "the new rules")
    return server


def test_sni_shows_the_name_inside_tls_and_splices_the_rest(listed_path: Installation) -> None:
    server = bumped(listed_path, "sni")
    try:
        assert server.tls("opened.example", "/bad/file.exe").body == "This page is not blocked.\n"
        # CONNECT to an innocent name, another one inside.
        with pytest.raises((OSError, ssl.SSLError, http.client.HTTPException)):
            server.tls("listed.example", "/", authority="plain.example")
        server.access_log("inkgate=IG-")
    finally:
        server.close()


def test_listed_opens_the_hosts_of_its_file_only(listed_path: Installation) -> None:
    server = bumped(listed_path, "listed")
    try:
        reply = server.tls("opened.example", "/bad/file.exe")
        assert (reply.status, bool(reply.incident)) == (403, True)
        assert server.tls("opened.example", "/good").status == 200
        assert server.tls("files.example", "/bad/file.exe").status == 200
    finally:
        server.close()


@pytest.mark.parametrize("how", ["sni", "listed", "full"])
def test_helper_is_asked_for_the_name_inside_tls(listed_path: Installation, how: str) -> None:
    listed_path.add("listed", attribute("domain", "listed.example"))
    listed_path.refresh()
    server = IcapSquid(listed_path, bump=how, is_helper=True)  # type: ignore[arg-type]
    try:
        for name in ("opened.example", "plain.example"):
            assert server.tls(name, "/").status == 200
        assert server.tls("opened.example", "/", authority="plain.example").status == 200
        # CONNECT to an innocent name, another one inside.
        with pytest.raises((OSError, ssl.SSLError, http.client.HTTPException)):
            server.tls("listed.example", "/", authority="plain.example")
        line = server.access_log("CONNECT plain.example.*inkgate=IG-")
        incident = INCIDENT.search(line)
        assert incident
        (record,) = listed_path.sightings(incident[0])
        assert (record["client"], record["method"]) == ("127.0.0.1", "CONNECT")
    finally:
        server.close()


def test_full_bump_shows_the_page_for_a_path(listed_path: Installation) -> None:
    server = bumped(listed_path, "full")
    try:
        for host in ("opened.example", "files.example"):
            reply = server.tls(host, "/bad/file.exe")
            assert (reply.status, bool(reply.incident)) == (403, True)
            assert server.tls(host, "/good").status == 200
    finally:
        server.close()
