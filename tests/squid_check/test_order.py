"""`inkgate squid check` on real Squids whose lines are wrong on purpose, or right."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from support.icap import Icap
from support.installation import Installation, attribute
from support.listed import LISTED
from support.placed_squid import ACCESS, PlacedSquid, configure_squid
from support.squid import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

INCLUDE = "include {etc}/inkgate.conf\n"
FAKE_AUTH = Path("/usr/lib/squid/basic_fake_auth")


@pytest.fixture
def listed() -> Iterator[Installation]:
    made = Installation()
    digest = attribute("sha256", "a" * 64)
    made.add("listed", *LISTED.values(), digest)
    made.refresh()
    yield made
    made.close()


class Wrong(NamedTuple):
    """One wrong order.

    Attributes:
        spoil: what is changed after a right installation, before Squid starts.
        named: what the check has to say.
        front_ends: what is installed; the settings want the helper.
        ports: more of them; `{port}` is a free one.
    """

    spoil: Callable[[PlacedSquid], None]
    named: tuple[str, ...]
    front_ends: str = "--helper"
    ports: tuple[str, ...] = ()


def include_last(squid: PlacedSquid) -> None:
    squid.edit(INCLUDE, "")
    squid.edit("http_access deny all\n", INCLUDE + "http_access deny all\n")


def to_drop_in(squid: PlacedSquid) -> None:
    """As the README's step 4 once had it."""
    squid.edit(INCLUDE, "")
    squid.fragment.rename(squid.etc / "conf.d" / "inkgate.conf")


def localnet_as_debian_says(squid: PlacedSquid) -> None:
    to_drop_in(squid)
    squid.edit("acl SSL_ports", "acl localnet src 127.0.0.0/8\nacl SSL_ports")
    debian = squid.etc / "conf.d" / "debian.conf"
    debian.write_text("logfile_rotate 0\nhttp_access allow localnet\n")


def other_drop_in(squid: PlacedSquid) -> None:
    to_drop_in(squid)
    (squid.etc / "conf.d" / "acme.conf").write_text(
        "acl acme src 127.0.0.0/8\nhttp_access allow acme\n"
    )


def acl_before(squid: PlacedSquid) -> None:
    squid.edit(
        "http_access deny !Safe_ports",
        "acl updates dstdomain .invalid\nhttp_access allow updates\nhttp_access deny !Safe_ports",
    )


def reply_only(squid: PlacedSquid) -> None:
    text = squid.fragment.read_text()
    line = "\nhttp_access deny inkgate_verdict inkgate_listed\n"
    assert line in text
    squid.fragment.write_text(text.replace(line, "\n"))


def nothing(_squid: PlacedSquid) -> None:
    pass


def side_port(squid: PlacedSquid) -> None:
    squid.edit(
        "http_access deny !Safe_ports",
        "acl side myportname side\nhttp_access allow side\nhttp_access deny !Safe_ports",
    )


def removed(squid: PlacedSquid) -> None:
    squid.edit(INCLUDE, "")
    squid.fragment.unlink()


ORIGIN_ASKED = ", and the server got it"
WRONG = {
    "include-after-allow": Wrong(
        include_last, ("`http_access allow localhost` comes before", ORIGIN_ASKED)
    ),
    "localnet": Wrong(
        localnet_as_debian_says, ("`http_access allow localnet` comes before", "debian.conf:2:")
    ),
    "other-drop-in": Wrong(
        other_drop_in, ("`http_access allow acme` comes before", "acme.conf:2:")
    ),
    "acl-before": Wrong(
        acl_before, ("`http_access allow updates` comes before", "CONNECT to a listed name")
    ),
    "reply-only": Wrong(
        reply_only,
        (
            "asked at replies only",
            "refused only when the server had got the request",
            "what is listed is not refused: CONNECT to a listed name",
        ),
    ),
    "icap-only": Wrong(nothing, ("over ICAP only, and the settings want the helper",), "--icap"),
    "two-ports": Wrong(
        side_port,
        ("`http_access allow side` comes before", "port {port} (", ORIGIN_ASKED),
        ports=("127.0.0.1:{port} name=side",),
    ),
    "removed": Wrong(removed, ("no line of squid.conf asks inkgate", ORIGIN_ASKED)),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_order_is_named_and_ends_with_2(listed: Installation, name: str) -> None:
    wrong, port = WRONG[name], free_port()
    with ExitStack() as stack:
        if wrong.front_ends == "--icap":
            stack.callback(Icap(listed).close)
        ports = [text.format(port=port) for text in wrong.ports]
        squid = stack.enter_context(PlacedSquid(listed, ACCESS, *ports))
        squid.install(wrong.front_ends)
        wrong.spoil(squid)
        squid.start()
        done = squid.inkgate("check")
        assert done.returncode == 2, (done.stdout, done.stderr)
        for text in wrong.named:
            assert text.format(port=port) in done.stdout, done.stdout
        if wrong.ports:
            assert f"port {squid.port} (" not in done.stdout, "this port is right"
        assert_told(listed, "canary", "CRITICAL")


@pytest.mark.parametrize("front_ends", ["helper", "icap", "both"])
@pytest.mark.parametrize("refused", ["", "http_access deny to_localhost\n"])
def test_right_order_ends_with_0(listed: Installation, front_ends: str, refused: str) -> None:
    access = ACCESS.replace("include {etc}/conf.d", f"{refused}include {{etc}}/conf.d")
    configure_squid(listed, f'front_ends = "{front_ends}"')
    with ExitStack() as stack:
        squid = stack.enter_context(PlacedSquid(listed, access))
        if front_ends != "helper":
            stack.callback(Icap(listed).close)
        squid.install()
        squid.start()
        done = squid.inkgate("check", "--json")
        assert done.returncode == 0, (done.stdout, done.stderr)
        assert json.loads(done.stdout) == {"status": "ok", "findings": []}
        assert_told(listed, "canary", "OK")


def test_right_order_with_ports_conditions_and_several_allows_ends_with_0(
    listed: Installation,
) -> None:
    access = ACCESS.replace(
        "http_access allow localhost\n",
        "acl localnet src 10.0.0.0/8\nif ${{process_number}} = 0\nhttp_access allow localnet\n"
        "endif\nhttp_reply_access allow all\nhttp_access allow localhost\n",
    )
    ports = (f"127.0.0.1:{free_port()} name=side", f"127.0.0.1:{free_port()} intercept")
    with PlacedSquid(listed, access, *ports) as squid:
        squid.install()
        squid.start()
        done = squid.inkgate("check")
        assert done.returncode == 0, (done.stdout, done.stderr)
        assert "takes intercepted connections, and cannot be tried from here" in done.stdout


LOGIN = """\
auth_param basic program {auth}
acl users proxy_auth REQUIRED
http_access deny !Safe_ports
http_access deny !users
http_access allow users
http_access deny all
""".replace("{auth}", str(FAKE_AUTH))


def test_login_is_said_and_the_clients_proxy_is_tried(listed: Installation) -> None:
    with PlacedSquid(listed, LOGIN) as squid:
        squid.install()
        squid.start()
        done = squid.inkgate("check")
        assert done.returncode == 1, (done.stdout, done.stderr)
        assert "the proxy wants a login" in done.stdout
        assert "--client-proxy" in done.stdout
        address = f"http://somebody:secret-word@127.0.0.1:{squid.port}"
        done = squid.inkgate("check", "--client-proxy", address)
        assert done.returncode == 2
        assert "everybody on this machine can read a password there" in done.stderr
        assert "secret-word" not in done.stdout + done.stderr
        (listed.folder / "client-proxy").write_text(f"{address}\n")
        configure_squid(listed, 'client_proxy_file = "client-proxy"')
        done = squid.inkgate("check")
        assert done.returncode == 0, (done.stdout, done.stderr)
        (listed.folder / "client-proxy").write_text(f"http://:@127.0.0.1:{squid.port}\n")
        done = squid.inkgate("check")
        assert done.returncode == 1, (done.stdout, done.stderr)
        assert "the proxy takes neither user nor password of the check" in done.stdout
        assert "wants a login" not in done.stdout
        (listed.folder / "client-proxy").write_text(f"{address}\n")
        # And a login does not help where the order is wrong.
        squid.stop()
        squid.edit(INCLUDE, "")
        squid.edit("http_access deny all\n", INCLUDE + "http_access deny all\n")
        squid.start()
        done = squid.inkgate("check")
        assert done.returncode == 2
        assert "`http_access allow users` comes before" in done.stdout
        assert "secret-word" not in done.stdout + done.stderr


def test_refused_loopback_clients_are_said(listed: Installation) -> None:
    access = "acl office src 192.0.2.0/24\nhttp_access allow office\nhttp_access deny all\n"
    with PlacedSquid(listed, access) as squid:
        squid.install()
        squid.start()
        done = squid.inkgate("check")
        assert done.returncode == 1, (done.stdout, done.stderr)
        assert "refuses this machine's own requests" in done.stdout
        assert "--client-proxy" in done.stdout
        # The fragment's own line lets the check reach its server, and nothing else.
        assert "replies were not tried" not in done.stdout


def test_missing_fragment_of_a_running_squid_is_said(listed: Installation) -> None:
    with PlacedSquid(listed) as squid:
        squid.install()
        squid.start()
        squid.fragment.unlink()
        done = squid.inkgate("check")
        assert done.returncode == 2
        assert "Squid ends at its next start" in done.stdout
        squid.install()
        assert squid.inkgate("check").returncode == 0


def test_squid_that_does_not_run_is_said(listed: Installation) -> None:
    with PlacedSquid(listed) as squid:
        squid.install()
        done = squid.inkgate("check")
        assert done.returncode == 2
        assert f"nothing listens at 127.0.0.1:{squid.port}" in done.stdout


def assert_told(installation: Installation, row: str, level: str) -> None:
    """`inkgate status` shows what the check found."""
    rows = json.loads(installation.run("inkgate", "status", "--json").stdout)["rows"]
    levels = {0: "OK", 1: "WARNING", 2: "CRITICAL", 3: "UNKNOWN"}
    assert [levels[r["level"]] for r in rows if r["name"] == row] == [level]
