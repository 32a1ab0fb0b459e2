"""A real browser sees the blocked page for an https URL that is listed by its path.

Skipped without Chromium, which is large: apt-get install chromium libnss3-tools, then
`make screenshots` also puts what it saw into docs/images.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support.icap_squid import IcapSquid
from support.installation import Installation, attribute
from support.squid import INCIDENT
from support.waiting import wait_until

CHROMIUM = shutil.which("chromium")
CERTUTIL = shutil.which("certutil")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not (CHROMIUM and CERTUTIL), reason="needs apt-get install chromium libnss3-tools"
    ),
]


def trust(home: Path, authority: Path) -> None:
    """Let Chromium trust a CA, as an administrator would."""
    for folder in (home / ".pki/nssdb", home / ".local/share/pki/nssdb"):
        folder.mkdir(parents=True)
        database = f"sql:{folder}"
        for words in (
            ("-N", "--empty-password"),
            ("-A", "-n", "inkgate test CA", "-t", "C,,", "-i", str(authority)),
        ):
            assert CERTUTIL
            subprocess.run([CERTUTIL, "-d", database, *words], check=True, timeout=60)


def browse(home: Path, port: int, url: str, *words: str) -> str:
    assert CHROMIUM
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            f"--user-data-dir={home / 'profile'}",
            f"--proxy-server=127.0.0.1:{port}",
            "--proxy-bypass-list=<-loopback>",
            "--window-size=900,1000",
            "--virtual-time-budget=5000",
            *words,
            url,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "HOME": str(home), "LANG": "en_US.UTF-8"},
    )
    return done.stdout


def test_blocked_page_is_seen_for_an_https_url_listed_by_path(tmp_path: Path) -> None:
    installation = Installation()
    installation.add("first", attribute("domain", "listed.example"))
    installation.refresh()
    server = IcapSquid(installation, bump="full")
    try:
        host = f"https://opened.example:{server.secure.port}"
        installation.add("path", attribute("url", f"{host}/bad/file.exe"))
        before = server.icap.istag()
        installation.refresh()
        wait_until(lambda: server.icap.istag() != before, "the new rules")
        trust(tmp_path, server.authority)
        assert "This page is not blocked." in browse(
            tmp_path, server.port, f"{host}/good", "--dump-dom"
        )
        seen = browse(tmp_path, server.port, f"{host}/bad/file.exe", "--dump-dom")
        assert "This address is blocked" in seen
        incident = INCIDENT.search(seen)
        assert incident
        assert f'href="mailto:desk@organisation.example?subject={incident[0]}"' in seen
        for code in ("en", "fr", "de"):
            assert f'<section id="{code}" lang="{code}">' in seen
        folder = Path(os.environ.get("INKGATE_SCREENSHOTS", tmp_path))
        picture = folder / "blocked.png"
        browse(tmp_path, server.port, f"{host}/bad/file.exe", f"--screenshot={picture}")
        assert picture.read_bytes().startswith(b"\x89PNG")
    finally:
        server.close()
        installation.close()
