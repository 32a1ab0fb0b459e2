"""What `inkgate squid check` says when something else than the order of lines is wrong."""

from __future__ import annotations

import shutil

import pytest

from inkgate.rules.refresh import refresh as refreshing
from support.installation import Installation, attribute
from support.placed_squid import ACCESS, PlacedSquid, configure_squid
from support.squid import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture
def listed(installation: Installation) -> Installation:
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    return installation


@pytest.mark.parametrize(
    ("fail", "said"),
    [("open", "what is listed is not refused"), ("closed", "inkgate could not tell")],
)
def test_token_that_squids_user_cannot_read_is_seen(
    listed: Installation, fail: str, said: str
) -> None:
    text = listed.config.read_text().replace('fail = "open"', f'fail = "{fail}"')
    listed.config.write_text(text)
    with PlacedSquid(listed) as squid:
        squid.install()
        listed.places.token_file.chmod(0o600)
        squid.start()
        done = squid.inkgate("check")
        assert done.returncode == 2
        assert said in done.stdout
        assert "critical: canary: " in done.stderr


def test_no_rules_are_said(installation: Installation) -> None:
    with PlacedSquid(installation) as squid:
        squid.install()
        done = squid.inkgate("check")
        assert done.returncode == 2
        assert "no rule set is installed" in done.stdout


def test_pack_without_canaries_is_said_and_not_failed(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refreshing, "canary_records", lambda *_: [])
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    with PlacedSquid(installation) as squid:
        squid.install()
        squid.start()
        done = squid.inkgate("check")
        assert done.returncode == 1, (done.stdout, done.stderr)
        assert "the installed rules hold no canary" in done.stdout


def test_icap_server_that_does_not_answer_is_said(listed: Installation) -> None:
    configure_squid(listed, 'front_ends = "icap"')
    with listed.config.open("a") as file:
        file.write(f'[icap]\nfail = "closed"\nlisten = "127.0.0.1:{free_port()}"\n')
    with PlacedSquid(listed) as squid:
        squid.install()
        squid.start()
        done = squid.inkgate("check")
        assert done.returncode == 2
        assert "inkgate's ICAP server does not answer" in done.stdout


def test_one_of_two_workers_that_lets_pass_is_found(listed: Installation) -> None:
    with PlacedSquid(listed, "workers 2\n" + ACCESS) as squid:
        squid.install()
        squid.start()
        done = squid.inkgate("check")
        assert done.returncode == 0, (done.stdout, done.stderr)
        squid.stop()
        squid.edit(
            "http_access deny !Safe_ports",
            "if ${{process_number}} = 2\nhttp_access allow localhost\nendif\n"
            "http_access deny !Safe_ports",
        )
        squid.edit("include {etc}/inkgate.conf\n", "")
        squid.edit(
            "http_access deny manager", "include {etc}/inkgate.conf\nhttp_access deny manager"
        )
        squid.start()
        done = squid.inkgate("check")
        assert done.returncode == 2
        assert "what is listed is not refused: CONNECT to a listed name" in done.stdout


def test_requests_that_go_on_to_a_parent_are_said(listed: Installation) -> None:
    parent = (
        f"cache_peer 127.0.0.1 parent {free_port()} 0 no-query no-digest\nnever_direct allow all\n"
    )
    with PlacedSquid(listed, parent + ACCESS) as squid:
        squid.install()
        squid.start()
        done = squid.inkgate("check")
        assert done.returncode == 1, (done.stdout, done.stderr)
        assert "where requests go on to another proxy (cache_peer)" in done.stdout


def test_result_that_cannot_be_kept_is_said(listed: Installation) -> None:
    with PlacedSquid(listed) as squid:
        squid.install()
        squid.start()
        text = listed.config.read_text().replace("squid-check.json", "nowhere/squid-check.json")
        listed.config.write_text(text)
        done = squid.inkgate("check")
        assert done.returncode == 1, (done.stdout, done.stderr)
        assert "inkgate status cannot show this result" in done.stdout


def test_blocked_page_and_launcher_that_are_gone_are_said(listed: Installation) -> None:
    with PlacedSquid(listed) as squid:
        squid.install()
        shutil.rmtree(listed.folder / "pages")
        shutil.rmtree(listed.folder / "launcher")
        done = squid.inkgate("check")
        assert "the blocked page" in done.stdout
        assert "inkgate-launch cannot be run" in done.stdout
