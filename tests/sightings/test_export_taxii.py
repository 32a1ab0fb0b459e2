"""STIX into a collection of a TAXII 2.1 server, and servers that do not take it."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import stix2validator

from support.certificates import self_signed
from support.exporting import ATTRIBUTE, DAY, MORNING, OTHER, Exporting
from support.taxii_server import SECRET_COLLECTION, TaxiiServer, basic
from support.waiting import wait_until

# A process or several for each test.
pytestmark = pytest.mark.slow


@pytest.fixture
def server() -> Iterator[TaxiiServer]:
    with TaxiiServer() as running:
        yield running
        assert running.conflicts == []


def stix(server: TaxiiServer, more: str = "") -> str:
    """An export to a server's collection; what is in `more` counts."""
    settings = {
        "url": f'"{server.collection_url}"', "update_minutes": "0", "gather_seconds": "0",
        "attempts": "2",
    }  # fmt: skip
    kept = [f"{key} = {value}" for key, value in settings.items() if f"{key} =" not in more]
    return "\n".join(['format = "stix"', *kept, more])


def counts(server: TaxiiServer) -> list[int]:
    return sorted(one["count"] for one in server.newest("sighting"))


def wait_for_bodies(server: TaxiiServer, enough: int) -> None:
    wait_until(lambda: len(server.posted) >= enough, "some bodies")


def test_sightings_are_in_the_collection_and_valid(server: TaxiiServer) -> None:
    with Exporting(stix(server)) as exporting:
        for attribute in (ATTRIBUTE, ATTRIBUTE, OTHER):
            exporting.saw(attribute)
        assert "exported" in exporting.export()
        assert counts(server) == [1, 2]
        for body in server.posted:
            assert set(body) == {"objects"}
            bundle = {"type": "bundle", "id": f"bundle--{ATTRIBUTE}", "objects": body["objects"]}
            options = stix2validator.ValidationOptions(version="2.1", strict_types=True)
            assert stix2validator.validate_instance(bundle, options).errors == []
        # The count grows: the same object, in a new version.
        exporting.saw(ATTRIBUTE)
        exporting.export()
        assert counts(server) == [1, 3]
        before = len(server.posted)
        exporting.export()
        assert len(server.posted) == before


@pytest.mark.parametrize("at", ["", "/", "objects/", "objects"])
def test_url_of_a_collection_is_taken_as_operators_write_it(server: TaxiiServer, at: str) -> None:
    url = f"{server.collection_url.rstrip('/')}{at if at in ('', '/') else f'/{at}'}"
    with Exporting(stix(server, f'url = "{url}"')) as exporting:
        exporting.saw(ATTRIBUTE)
        exporting.export()
        assert counts(server) == [1]


@pytest.mark.parametrize("how", ["user", "token"])
def test_login_is_sent_and_in_no_output(how: str) -> None:
    login = basic("inkgate", "s3cret-word") if how == "user" else "Token s3cret-word"
    more = {
        "user": 'user = "inkgate"\npassword_file = "secret"',
        "token": 'token_file = "secret"\ntoken_scheme = "Token"',
    }[how]
    with TaxiiServer(login=login) as server, Exporting(stix(server, more)) as exporting:
        (exporting.folder / "secret").write_text("s3cret-word\n")
        exporting.saw(ATTRIBUTE)
        exporting.export()
        assert counts(server) == [1]
        (exporting.folder / "secret").write_text("an0ther")
        exporting.saw(ATTRIBUTE)
        said = exporting.export(status=2)
        assert "does not let us add objects (status 401)" in said
        assert "an0ther" not in said
        (exporting.folder / "secret").unlink()
        assert "secret" in exporting.export(status=2)


def test_pending_objects_are_asked_for_until_they_are_done(server: TaxiiServer) -> None:
    server.polls = 3
    with Exporting(stix(server)) as exporting:
        exporting.saw(ATTRIBUTE)
        exporting.export()
        assert sum("/status/" in path for path in server.asked) == 3
        assert len(server.posted) == 1


def test_server_that_is_never_done_is_sent_the_same_again(server: TaxiiServer) -> None:
    server.polls = 10**6
    with Exporting(stix(server, "timeout = 1\nattempts = 1")) as exporting:
        exporting.saw(ATTRIBUTE)
        assert "is not done within 1 s" in exporting.export(status=1)
        server.polls = 0
        exporting.export()
        assert len(server.posted) == 2
        assert server.posted[0] == server.posted[1]


def test_lost_answer_is_no_second_sighting(server: TaxiiServer) -> None:
    server.loses = 1
    with Exporting(stix(server)) as exporting:
        exporting.saw(ATTRIBUTE)
        exporting.export()
        assert len(server.posted) == 2
        assert server.posted[0] == server.posted[1]
        assert len(server.newest("sighting")) == 1


def test_server_that_calls_it_a_failure_to_have_it_already_refuses_nothing(
    server: TaxiiServer,
) -> None:
    server.is_strict, server.loses = True, 1
    with Exporting(stix(server)) as exporting:
        for _ in range(3):
            exporting.saw(ATTRIBUTE)
            # The identity of the node is sent by each run, the first sighting twice.
            assert "export-refused" not in exporting.export()
        assert counts(server) == [3]
        assert "export-refused" not in exporting.rows()


def test_lost_answer_and_more_matches_make_a_newer_version(server: TaxiiServer) -> None:
    server.loses = 1
    with Exporting(stix(server, "attempts = 1")) as exporting:
        exporting.saw(ATTRIBUTE)
        exporting.export(status=1)
        exporting.saw(ATTRIBUTE)
        exporting.export()
        assert counts(server) == [2]


def test_body_that_is_too_large_is_parted(server: TaxiiServer) -> None:
    server.most_bytes = 2000
    with Exporting(stix(server)) as exporting:
        for day in range(40):
            exporting.saw(ATTRIBUTE, moment=MORNING - day * DAY)
        exporting.export()
        assert counts(server) == [1] * 40
        assert len(server.posted) > 10


@pytest.mark.parametrize("how", ["failures", "status 422"])
def test_object_that_is_refused_holds_up_no_other(how: str) -> None:
    refused = f"indicator--{OTHER}"

    class Strict(TaxiiServer):
        def taken(self, path: str, headers: Any, data: bytes) -> tuple[int, bytes, dict[str, str]]:
            if how != "failures" and refused.encode() in data:
                return 422, b"{}", {}
            return super().taken(path, headers, data)

    with Strict() as server, Exporting(stix(server)) as exporting:
        if how == "failures":
            server.refuses = lambda o: (
                "no \x1b[2J such indicator" * (o.get("sighting_of_ref") == refused)
            )
        for attribute in (ATTRIBUTE, OTHER):
            exporting.saw(attribute)
        said = exporting.export()
        assert "warning: export-refused: stix" in said
        assert "\x1b" not in said
        assert [one["sighting_of_ref"] for one in server.newest("sighting")] == [
            f"indicator--{ATTRIBUTE}"
        ]
        row = exporting.rows()["export-refused"]
        assert (row["level"], row["data"]["count"]) == (1, 1)
        before = len(server.posted)
        assert "export-refused" not in exporting.export()
        assert len(server.posted) == before


def test_server_that_is_away_is_waited_for_and_said_until_it_is_back(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with TaxiiServer() as server:
        server.post_status = 503
        ecs = 'format = "ecs"\nfile = "ecs.json"'
        with Exporting(stix(server), ecs) as exporting:
            exporting.saw(ATTRIBUTE)
            assert "answers with status 503" in exporting.export(status=1)
            # The other export is done.
            assert len((exporting.folder / "ecs.json").read_text().splitlines()) == 1
            row = exporting.rows()["export"]
            assert (row["level"], "status 503" in row["text"]) == (1, True)
            with exporting.following(log):
                wait_until(
                    lambda: exporting.rows().get("export-waits", {}).get("level") == 1,
                    "the condition to begin",
                )
                server.post_status = 0
                wait_until(lambda: counts(server) == [1], "the sighting")
                wait_until(lambda: "recovered: export-waits" in log.read_text(), "the end of it")


def test_server_that_cannot_be_reached_is_waited_for() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/api1/collections/{ATTRIBUTE}/"
        export = f'format = "stix"\nurl = "{url}"\nattempts = 1\ntimeout = 2'
        with Exporting(export) as exporting:
            exporting.saw(ATTRIBUTE)
            assert "cannot be asked" in exporting.export(status=1)


def test_pause_that_a_server_asks_for_is_kept(server: TaxiiServer, tmp_path: Path) -> None:
    server.post_status, server.retry_after = 429, "3600"
    with Exporting(stix(server)) as exporting:
        exporting.saw(ATTRIBUTE)
        log = tmp_path / "log"
        with exporting.following(log):
            wait_until(lambda: "status 429" in log.read_text(), "the refusal")
            asked = len(server.asked)
            # It ends at once all the same.
        assert len(server.asked) == asked == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"redirect": "https://elsewhere.example/login?next=/"}, "redirects to https://elsewhere"),
        ({"redirect": "/api2/"}, "redirects to http://127.0.0.1"),
    ],
)
def test_redirect_is_not_followed_and_its_target_named(
    server: TaxiiServer, change: dict[str, str], said: str
) -> None:
    server.redirect = change["redirect"]
    with Exporting(stix(server)) as exporting:
        exporting.saw(ATTRIBUTE)
        text = exporting.export(status=2)
        assert said in text
        assert "next=" not in text
        assert len(server.asked) == 1


def test_collection_that_may_not_be_written_needs_an_operator(server: TaxiiServer) -> None:
    url = server.collection_url.rpartition("collections/")[0] + f"collections/{SECRET_COLLECTION}/"
    with Exporting(stix(server, f'url = "{url}"')) as exporting:
        exporting.saw(ATTRIBUTE)
        assert "can_write of the collection" in exporting.export(status=2)


def test_address_that_is_no_collection_needs_an_operator(server: TaxiiServer) -> None:
    with Exporting(stix(server, f'url = "{server.url}"')) as exporting:
        exporting.saw(ATTRIBUTE)
        assert "/collections/ID/" in exporting.export(status=2)


def test_page_of_somebody_else_is_no_success(server: TaxiiServer) -> None:
    class Page(TaxiiServer):
        def taken(self, path: str, headers: Any, data: bytes) -> tuple[int, bytes, dict[str, str]]:
            return 200, b"<html>Please log in</html>", {}

    with Page() as page, Exporting(stix(page)) as exporting:
        exporting.saw(ATTRIBUTE)
        assert "does not answer as a TAXII 2.1 server" in exporting.export(status=1)


def test_server_with_tls_is_known_by_ca_file_and_no_other_is(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    with TaxiiServer(tls=(certificate, key)) as server:
        with Exporting(stix(server, f'ca_file = "{certificate}"')) as exporting:
            exporting.saw(ATTRIBUTE)
            exporting.export()
            assert counts(server) == [1]
        with Exporting(stix(server)) as exporting:
            exporting.saw(ATTRIBUTE)
            assert "that is not trusted" in exporting.export(status=2)


def test_killed_exporter_tells_each_sighting_once_with_all_its_matches(server: TaxiiServer) -> None:
    """Killed (-9) ten times, while the server loses every third answer."""
    with Exporting(stix(server, "batch = 5\nattempts = 50")) as exporting:
        for number in range(10):
            server.loses = number % 3
            for n in range(30):
                exporting.saw((ATTRIBUTE, OTHER)[n % 2], moment=MORNING + n % 5 * DAY)
            enough = len(server.posted) + 1 + number % 2
            process = subprocess.Popen(
                exporting.command("export", "--follow"), stderr=subprocess.DEVNULL
            )
            wait_for_bodies(server, enough)
            process.send_signal(signal.SIGKILL)
            process.wait()
        exporting.export()
        assert sum(counts(server)) == 300
        assert len(server.newest("sighting")) == 10
