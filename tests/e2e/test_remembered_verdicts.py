"""What was blocked at the reply stays blocked: second tries, Squid's cache, resumed downloads."""

from __future__ import annotations

import hashlib
import random
import subprocess
from collections.abc import Callable, Iterator
from http.client import IncompleteRead
from pathlib import Path

import pytest

from support.helper_process import HelperProcess, request
from support.icap_squid import IcapSquid
from support.installation import Installation, attribute
from support.squid import Reply
from support.waiting import wait_until

pytestmark = pytest.mark.e2e

CACHED = {"Cache-Control": "max-age=600"}
FILE = random.Random(20).randbytes(3 << 20)
IN_PARTS = {"Accept-Ranges": "bytes", "ETag": '"3-mib"'}
BY_ADDRESS = attribute("ip-dst", "127.0.0.1")
BY_DIGEST = attribute("sha256", hashlib.sha256(FILE).hexdigest())
OTHER = attribute("domain", "other.example")


@pytest.fixture
def installation() -> Iterator[Installation]:
    made = Installation()
    yield made
    made.close()


Start = Callable[..., IcapSquid]


@pytest.fixture
def start(installation: Installation) -> Iterator[Start]:
    started: list[IcapSquid] = []

    def squid(*, is_helper: bool, listed: dict[str, object] = BY_ADDRESS) -> IcapSquid:
        installation.add("listed", listed)
        installation.refresh()
        started.append(IcapSquid(installation, is_helper=is_helper, is_caching=True))
        started[0].origin.files["/page"] = (b"from the server\n", CACHED)
        return started[0]

    yield squid
    for one in started:
        one.close()


def attributes_of(installation: Installation, reply: Reply) -> list[str]:
    """Those that an incident names, as soon as it is journalled."""
    assert reply.incident
    (record,) = installation.sightings(reply.incident)
    attributes: list[str] = record["attributes"]
    return attributes


@pytest.mark.parametrize("is_helper", [True, False], ids=["helper", "icap"])
def test_second_try_at_a_listed_address_is_blocked_as_the_first(
    installation: Installation, start: Start, is_helper: bool
) -> None:
    squid = start(is_helper=is_helper)
    replies = [squid.get("http://plain.example/page") for _ in range(4)]
    assert [reply.status for reply in replies] == [403] * 4
    for reply in replies:
        assert attributes_of(installation, reply) == [BY_ADDRESS["uuid"]]
    # At the request: nothing is sent to that host any more, whatever of it is asked for.
    assert "Nothing was" in squid.get("http://plain.example/other").body


@pytest.mark.parametrize("is_helper", [True, False], ids=["helper", "icap"])
def test_when_its_time_is_over_the_server_is_asked_and_not_the_cache(
    installation: Installation, start: Start, is_helper: bool
) -> None:
    # Longer than Squid repeats an answer, or it would not ask.
    installation.configure("remember_server_minutes = 0.07")
    squid = start(is_helper=is_helper, listed=OTHER)
    # It is in Squid's cache before its rule comes.
    assert [squid.get("http://plain.example/page").status for _ in range(2)] == [200] * 2
    assert squid.origin.asked == ["/page"]
    installation.add("listed", BY_ADDRESS)
    installation.refresh()
    wait_until(lambda: squid.get("http://plain.example/").status == 403, "the new rule")
    # Squid repeats what the helper said before.
    wait_until(lambda: squid.get("http://plain.example/page").status == 403, "its end")

    def is_asked_again() -> bool:
        assert squid.get("http://plain.example/page").status == 403
        return squid.origin.asked.count("/page") > 1

    wait_until(is_asked_again, "a request that reaches the server")
    # And for the same time nothing reaches it.
    asked = len(squid.origin.asked)
    assert "Nothing was" in squid.get("http://plain.example/third").body
    assert len(squid.origin.asked) == asked


def test_rule_that_is_gone_lets_a_remembered_host_pass(
    installation: Installation, start: Start
) -> None:
    squid = start(is_helper=True)
    assert squid.get("http://plain.example/page").status == 403
    installation.add("listed", OTHER)
    installation.refresh()
    wait_until(lambda: squid.get("http://plain.example/").status == 200, "the newer rules")


def test_another_helper_knows_what_the_first_has_found(installation: Installation) -> None:
    installation.add("listed", attribute("ip-dst", "192.0.2.7"))
    installation.refresh()
    helpers = [HelperProcess(installation) for _ in range(2)]
    try:
        for helper in helpers:
            # Now its memory of clean hosts knows it.
            assert helper.ask("http://shop.example/", "http://fine.example/") == [b"ERR"] * 2
        helpers[0].send(request(7, "http://shop.example/a", "192.0.2.7"))
        assert helpers[0].read().startswith(b"7 OK ")
        for helper in helpers:
            asked = ["http://shop.example/b", "http://fine.example/", "http://SHOP.example./"]
            assert helper.ask(*asked) == [b"OK", b"ERR", b"OK"]
            assert helper.ask("http://shop.example/b") == [b"OK"]
            # A reply of another address speaks for itself.
            helper.send(request(8, "http://shop.example/a", "192.0.2.8"))
            assert helper.read() == b"8 ERR"
    finally:
        for helper in helpers:
            helper.close()


@pytest.fixture(scope="module")
def files() -> Iterator[tuple[IcapSquid, Installation]]:
    installation = Installation()
    installation.add("files", BY_DIGEST)
    installation.refresh()
    squid = IcapSquid(installation, settings='unchecked = "pass"\n', is_caching=True)
    yield squid, installation
    squid.close()
    installation.close()


CLIENTS = {
    "wget": ["wget", "-q", "-t", "6", "--waitretry=0", "--retry-on-http-error=503", "-c", "-O"],
    "curl": ["curl", "-s", "-f", "-C", "-", "-o"],
}


@pytest.mark.parametrize("client", CLIENTS)
def test_download_that_was_broken_off_is_not_resumed(
    files: tuple[IcapSquid, Installation], tmp_path: Path, client: str
) -> None:
    squid, _ = files
    name = f"/{client}.bin"
    squid.origin.files[name] = (FILE, {**IN_PARTS, "ETag": f'"{client}"'})
    path = tmp_path / "file"
    for _ in range(4):
        subprocess.run(
            [*CLIENTS[client], path, f"http://files.example{name}"],
            env={"http_proxy": f"http://127.0.0.1:{squid.port}"},
            check=False,
            timeout=60,
        )
    assert 0 < path.stat().st_size < len(FILE)


def test_part_of_a_listed_file_is_known_under_another_url(
    files: tuple[IcapSquid, Installation],
) -> None:
    squid, installation = files
    squid.origin.files["/file.bin"] = squid.origin.files["/same.bin"] = (FILE, IN_PARTS)
    reply, connection = squid.open("http://files.example/file.bin")
    with pytest.raises(IncompleteRead):
        reply.read()
    connection.close()
    for url in ("file.bin", "file.bin?again", "same.bin"):
        part = squid.get(f"http://files.example/{url}", Range="bytes=100-")
        assert part.status == 403
        assert attributes_of(installation, part) == [BY_DIGEST["uuid"]]
    squid.origin.files["/fine.bin"] = (FILE[:-1], {**IN_PARTS, "ETag": '"another"'})
    assert squid.get("http://files.example/fine.bin", Range="bytes=100-").status == 206
