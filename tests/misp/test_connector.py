"""The connector: what it says of what goes wrong, and how it tries again."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from inkgate.config.errors import Unreadable
from inkgate.misp.address import place_of, redirect_target
from inkgate.misp.connector import Connector
from inkgate.misp.errors import (
    MispError,
    NotAllowedError,
    NotMispError,
    RejectedError,
    UnavailableError,
)
from support.misp import Faults, MispServer, Role
from support.misp.answers import Answer
from support.misp_callers import misp_with_one_attribute


@pytest.fixture
def server() -> Iterator[MispServer]:
    with MispServer(misp_with_one_attribute()) as made:
        yield made


def answering(server: MispServer, path: str, answer: Answer) -> None:
    """Let requests whose path holds a text be answered so."""
    server._api._routes = [
        (pattern, (lambda *_: answer) if path in pattern.pattern else handler)
        for pattern, handler in server._api._routes
    ]


def failed(server: MispServer, **settings: float) -> MispError:
    """The error of a request."""
    with pytest.raises(MispError) as raised:
        Connector(server.url, server.key, **settings).request(lambda m: m.search_index())  # type: ignore[arg-type]
    return raised.value


def test_status_and_words_of_a_rejection_are_kept_in_one_line(server: MispServer) -> None:
    message = "No\r\n\x1b[2J such\u202e thing. " + "x" * 1000
    answering(server, "events/index", Answer({"message": message}, 405))
    error = failed(server)
    assert isinstance(error, RejectedError)
    assert not isinstance(error, NotAllowedError)
    assert (error.status, error.problem) == (405, "answers with status 405")
    assert error.message.isprintable()
    assert error.message.startswith("No")
    assert len(error.message) <= 300
    # Words of MISP may hold what it was sent.
    assert "thing" not in str(error)


@pytest.mark.parametrize("status", [401, 403])
def test_what_the_key_may_not_do_is_told_from_other_rejections(
    server: MispServer, status: int
) -> None:
    answering(server, "events/index", Answer({"message": "No."}, status))
    error = failed(server)
    assert isinstance(error, NotAllowedError)
    assert (error.status, error.message) == (status, "No.")


def test_wrong_key_is_found_when_connecting(server: MispServer) -> None:
    server.keys = {"another": Role()}
    with pytest.raises(NotAllowedError, match="does not accept the key; check key_file"):
        Connector(server.url, server.key).connect()


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_status_that_may_pass_is_unavailable(server: MispServer, status: int) -> None:
    answering(server, "events/index", Answer({}, status))
    error = failed(server)
    assert isinstance(error, UnavailableError)
    assert error.status == status


@pytest.mark.parametrize("body", ["<html>", 7, None, True])
def test_json_that_is_no_answer_of_a_misp(server: MispServer, body: object) -> None:
    answering(server, "events/index", Answer(body))
    assert isinstance(failed(server), NotMispError)


@pytest.mark.parametrize("body", ["", {}, [], {"version": "x"}, {"response": []}])
def test_another_application_that_speaks_json(server: MispServer, body: object) -> None:
    answering(server, "", Answer(body))
    assert isinstance(failed(server), NotMispError)


@pytest.mark.parametrize("kind", ["hang", "drop", "cut", "not-json"])
def test_answer_that_does_not_come_whole_is_unavailable(server: MispServer, kind: str) -> None:
    server.faults = Faults(1, 1.0, [kind], limit=9, in_a_row=9, hang_seconds=0.4)  # type: ignore[list-item]
    error = failed(server, timeout=0.2)
    assert isinstance(error, UnavailableError)
    assert error.problem.startswith("does not answer")


def test_server_that_is_down_is_unavailable(server: MispServer) -> None:
    server.close()
    error = failed(server)
    assert isinstance(error, UnavailableError)
    assert str(error) == (
        f"127.0.0.1:{server.port}: does not answer (ConnectionError); try again later"
    )


def test_request_is_made_again_as_often_as_told(server: MispServer) -> None:
    answering(server, "events/index", Answer({}, 500))
    for retries in (0, 1, 3):
        server.requests.clear()
        failed(server, retries=retries, first_wait=0.001)
        asked = [path for path, _ in server.requests if path == "/events/index"]
        assert len(asked) == 1 + retries


def test_request_that_was_answered_at_last_counts(server: MispServer) -> None:
    server.faults = Faults(1, 1.0, ["500", "drop"], limit=2)
    misp = Connector(server.url, server.key, retries=2, first_wait=0.001)
    assert len(misp.request(lambda m: m.search_index())) == 1


def test_wait_is_as_long_as_misp_asks_for(server: MispServer) -> None:
    misp = Connector(server.url, server.key, retries=1, first_wait=0.001)
    misp.connect()
    server.faults = Faults(1, 1.0, ["429-retry-after"], limit=1, retry_after=1)
    started = time.monotonic()
    misp.request(lambda m: m.search_index())
    assert time.monotonic() - started >= 1


def test_waits_end_whatever_misp_asks_for(
    server: MispServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    server.faults = Faults(1, 1.0, ["429-retry-after"], limit=99, in_a_row=99, retry_after=400)
    assert isinstance(failed(server, retries=50, first_wait=0.001), UnavailableError)
    assert slept == [400, 400]


def test_headers_are_those_of_the_last_answer(server: MispServer) -> None:
    misp = Connector(server.url, server.key)
    assert (misp.header("Date"), misp.number("X-Result-Count")) == ("", None)
    misp.request(lambda m: m.search_index())
    assert misp.header("Date").endswith("GMT")
    assert misp.number("X-Result-Count") == 1
    assert misp.number("Date") is None
    server.faults = Faults(1, 1.0, ["drop"])
    with pytest.raises(UnavailableError):
        misp.request(lambda m: m.search_index())
    assert misp.header("Date") == ""


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("https://new.example/misp/", "https://new.example/misp/"),
        ("//new.example:8443/a?b=c#d", "https://new.example:8443/a"),
        ("/users/login", "https://misp.example/users/login"),
        ("login?next=/x", "https://misp.example/soc/login"),
        ("https://me:a@b@new.example/", "https://new.example/"),
        ("https://[2001:db8::1]:8443/", "https://[2001:db8::1]:8443/"),
        ("https://[2001:db8::1/", "something that is no URL"),
        ("https://new.example/\x1b[2J\u202ex", r"https://new.example/\x1b[2J\u202ex"),
        ("/login;jsessionid=secret?x", "https://misp.example/login"),
        ("http://a.example/, http://me:secret@b.example/", "http://a.example"),
        ("mailto:me:secret@new.example", "something that is no URL"),
        ("file:///etc/passwd", "something that is no URL"),
    ],
)
def test_target_is_told_without_user_query_and_control_characters(
    location: str, target: str
) -> None:
    assert redirect_target("https://misp.example/soc/index", location) == target


def test_target_of_any_length_is_told_in_a_few_words() -> None:
    assert len(redirect_target("https://misp.example/", "https://x.example/" + "y" * 9000)) == 300


@pytest.mark.parametrize("url", ["https://[::1/", "https://me:secret@xn\u2100/"])
def test_url_that_is_none_is_told_without_its_password(url: str) -> None:
    with pytest.raises(Unreadable, match=r"^url: is no URL; correct it$"):
        Connector(url, "key")


def test_place_is_told_without_user_and_password() -> None:
    assert place_of("https://me:secret@misp.example:8443/soc/") == "misp.example:8443/soc"
    assert "secret" not in repr(Connector("https://misp.example", "secret"))


def test_pymisp_is_imported_by_the_first_request_only(server: MispServer, tmp_path: Path) -> None:
    program = f"""
import sys
import inkgate.rules.cli, inkgate.sightings.commands.cli, inkgate.sightings.report.reporter
import inkgate.sightings.aggregation.publish.misp
from inkgate.misp.connector import Connector
misp = Connector({server.url!r}, {server.key!r})
heavy = ("pymisp", "requests")
assert not any(name in sys.modules for name in heavy), sorted(sys.modules)
misp.connect()
assert all(name in sys.modules for name in heavy)
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path)
