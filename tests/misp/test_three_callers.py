"""What reads from, reports to and publishes to a MISP does with the way there."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from inkgate.config.errors import Unreadable
from support.certificates import self_signed
from support.misp import Faults, MispServer
from support.misp_callers import ERRORS, NAMES, Callers, key_in, misp_with_one_attribute

pytestmark = pytest.mark.parametrize("name", NAMES)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MispServer]:
    with MispServer(misp_with_one_attribute()) as made:
        key_in(tmp_path, made)
        yield made


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for scheme in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{scheme}_proxy", raising=False)
        monkeypatch.delenv(f"{scheme}_proxy".upper(), raising=False)


def refusal(server: MispServer, folder: Path, name: str, url: str, ca_file: str = "") -> str:
    """What is said when the MISP cannot be asked."""
    with pytest.raises(ERRORS) as raised:
        Callers(server.misp, folder).named(name)(url, ca_file)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_not_followed_and_its_target_is_named(
    server: MispServer, tmp_path: Path, name: str, status: int
) -> None:
    with MispServer(server.misp) as other:
        host = f"127.0.0.1:{other.port}"
        server.redirect = (status, f"http://someone:secret@{host}/misp/events?authkey=hidden#part")
        said = refusal(server, tmp_path, name, server.url)
        assert f"redirects to http://{host}/misp/events, where" in said
        assert not any(word in said for word in ("someone", "secret", "hidden", "#"))
        assert other.connections == 0
    # It would be the same at another try.
    assert server.connections == 1
    assert not server.misp.sightings


def test_target_of_a_redirect_within_the_host_is_named_in_full(
    server: MispServer, tmp_path: Path, name: str
) -> None:
    server.redirect = (302, "/users/login")
    said = refusal(server, tmp_path, name, server.url)
    assert f"redirects to {server.url}/users/login, where" in said
    assert server.redirected == 1


def test_netrc_does_not_replace_the_key(
    server: MispServer, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    Callers(server.misp, tmp_path).named(name)(server.url)


def test_user_in_the_address_does_not_replace_the_key(
    server: MispServer, tmp_path: Path, name: str
) -> None:
    url = server.url.replace("//", "//someone:else@")
    Callers(server.misp, tmp_path).named(name)(url)
    server.keys.clear()
    said = refusal(server, tmp_path, name, url)
    assert "does not accept the key" in said
    assert "else@" not in said


def test_proxy_of_the_environment_is_used_and_netrc_is_not(
    server: MispServer, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine misp.example login someone password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    # As a proxy the server is asked for a whole URL, whose path it takes.
    monkeypatch.setenv("http_proxy", server.url)
    Callers(server.misp, tmp_path).named(name)("http://misp.example")


@pytest.mark.parametrize("slash", ["", "/"])
def test_path_of_the_address_is_kept(tmp_path: Path, name: str, slash: str) -> None:
    with MispServer(misp_with_one_attribute(), path="/soc/misp") as server:
        key_in(tmp_path, server)
        Callers(server.misp, tmp_path).named(name)(server.url + slash)
        assert not server.astray


def test_another_server_is_not_taken_for_a_misp(tmp_path: Path, name: str) -> None:
    with MispServer(misp_with_one_attribute(), path="/soc/misp") as server:
        key_in(tmp_path, server)
        said = refusal(server, tmp_path, name, f"http://127.0.0.1:{server.port}")
        assert "answers with status 404 and not as a MISP" in said
        assert server.astray.count("/servers/getVersion") == 1


@pytest.mark.parametrize(
    ("address", "valid", "problem"),
    [
        ("127.0.0.1", timedelta(hours=1), "self-signed certificate"),
        ("127.0.0.1", timedelta(hours=-1), "certificate has expired"),
        ("127.0.0.2", timedelta(hours=1), "certificate is not valid for '127.0.0.1'"),
    ],
)
def test_certificate_is_said_to_be_wrong_and_not_tried_again(
    tmp_path: Path, name: str, address: str, valid: timedelta, problem: str
) -> None:
    pair = self_signed(tmp_path, address, valid)
    with MispServer(misp_with_one_attribute(), tls=pair) as server:
        key_in(tmp_path, server)
        # An authority that is known does not help against the other two.
        ca_file = "" if "self-signed" in problem else pair[0]
        said = refusal(server, tmp_path, name, server.url, ca_file)
        assert "has a certificate" in said
        assert problem in said
        assert "that is not trusted" in said
        assert server.connections == 1


def test_authority_of_ca_file_is_trusted(tmp_path: Path, name: str) -> None:
    pair = self_signed(tmp_path)
    with MispServer(misp_with_one_attribute(), tls=pair) as server:
        key_in(tmp_path, server)
        Callers(server.misp, tmp_path).named(name)(server.url, pair[0])


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "does not exist"), ("no certificate", "cannot be read, or holds no certificate")],
)
def test_ca_file_that_is_none_is_named(
    server: MispServer, tmp_path: Path, name: str, content: str | None, problem: str
) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)
    with pytest.raises(Unreadable, match=rf"/ca\.pem: {problem}; correct ca_file$"):
        Callers(server.misp, tmp_path).named(name)(server.url, "ca.pem")
    assert server.connections == 0


@pytest.mark.parametrize("kind", ["429", "500", "hang", "cut", "not-json", "drop"])
@pytest.mark.slow
def test_key_is_in_no_error_and_no_log(
    server: MispServer, tmp_path: Path, name: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.faults = Faults(1, 1.0, [kind], limit=99, in_a_row=99, hang_seconds=0.4)  # type: ignore[list-item]
    with caplog.at_level(logging.DEBUG), pytest.raises(ERRORS) as raised:
        Callers(server.misp, tmp_path, timeout=0.2).named(name)(server.url)
    assert server.key not in f"{raised.value!r}{raised.getrepr()}{caplog.text}"


def test_key_that_cannot_be_sent_is_not_told(
    server: MispServer, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    part = secrets.token_hex(16)
    key_in(tmp_path, server).write_text(f"two-lines\n{part}")
    with caplog.at_level(logging.DEBUG), pytest.raises(ERRORS) as raised:
        Callers(server.misp, tmp_path).named(name)(server.url)
    assert "has a second line" in str(raised.value)
    assert part not in f"{raised.value!r}{raised.getrepr()}{caplog.text}"
