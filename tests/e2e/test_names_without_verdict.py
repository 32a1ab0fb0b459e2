"""A name inside TLS on which the helper has no verdict: what Squid does with the connection."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from inkgate.squid_conf.bump import Bump
from support.icap_squid import IcapSquid
from support.installation import SETTINGS, Installation, attribute
from support.status import status

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture
def installation() -> Iterator[Installation]:
    made = Installation(SETTINGS)
    made.add("listed", attribute("domain", "listed.example"))
    made.refresh()
    yield made
    made.close()


def without_rules(installation: Installation, fail: str) -> Path:
    """Settings of a helper that has no verdict on anything."""
    path = installation.folder / "names.toml"
    text = installation.config.read_text().replace('"rules"', '"nowhere"')
    path.write_text(text.replace('fail = "open"', f'fail = "{fail}"'))
    return path


@pytest.mark.parametrize("bump", ["sni", "listed", "full"])
def test_connection_whose_name_has_no_verdict_ends_with_closed(
    installation: Installation, bump: Bump
) -> None:
    names = without_rules(installation, "closed")
    server = IcapSquid(installation, bump=bump, is_helper=True, names=names)
    try:
        for name in ("plain.example", "listed.example"):
            with pytest.raises((OSError, ssl.SSLError)):
                server.tls(name, "/", authority="plain.example")
        assert "TCP_TUNNEL" not in (server.folder / "access.log").read_text()
        assert status(installation).is_now("no-rules")
    finally:
        server.close()


def test_connection_whose_name_has_no_verdict_goes_on_with_open(
    installation: Installation,
) -> None:
    names = without_rules(installation, "open")
    server = IcapSquid(installation, bump="sni", is_helper=True, names=names)
    try:
        assert server.tls("plain.example", "/").status == 200
    finally:
        server.close()
