"""The lines against Squid's own bugs, for the versions that need them, and what is said without."""

from __future__ import annotations

from pathlib import Path

import pytest

from inkgate.squid_conf.configuration import read_configuration
from inkgate.squid_conf.icap import icap_fragment
from inkgate.squid_conf.squid_bugs import bug_findings, bug_lines, installed_squid, version_of
from support.installation import Installation

SERVICE = "icap://127.0.0.1:1344"
ASKED = f"icap_service ours reqmod_precache {SERVICE}/reqmod\n"
CLOSED = "persistent_connection_after_error off"
LINE = "client_request_buffer_max_size 4 MB"


@pytest.mark.parametrize(
    ("version", "needed"),
    [
        ("5.7", True),
        ("6.0.1", True),
        ("6.12", True),
        ("6.13", False),
        ("7.0.1", False),
        ("10.1", False),
        ("unknown", True),
        ("", True),
    ],
)
def test_line_is_for_versions_that_need_it(version: str, needed: bool) -> None:
    assert (LINE in bug_lines(4, version, icap=False)) == needed


def test_line_can_be_left_to_squid() -> None:
    assert bug_lines(0, "5.7", icap=True) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no client_request_buffer_max_size"),
        (LINE, ""),
        ("client_request_buffer_max_size 4194304", ""),
        ("client_request_buffer_max_size 8192 KB", ""),
        ("client_request_buffer_max_size 512 KB", "512 KB of them wait"),
        (f"{LINE}\nclient_request_buffer_max_size 1 MB", "squid.conf:2"),
        (f"client_request_buffer_max_size 1 MB\n{LINE}", ""),
        ("client_request_buffer_max_size much", "0 KB of them wait"),
    ],
)
def test_what_is_missing_or_smaller_is_said(tmp_path: Path, text: str, said: str) -> None:
    conf = tmp_path / "squid.conf"
    conf.write_text(f"{text}\n")
    lines = read_configuration(conf)
    found = list(bug_findings(lines, 4, "5.7", service=SERVICE))
    assert len(found) == bool(said)
    assert said in "".join(finding.fault for finding in found)
    assert [finding.level for finding in found] == ["warning"] * len(found)
    assert list(bug_findings(lines, 4, "6.13", service=SERVICE)) == []
    assert list(bug_findings(lines, 0, "5.7", service=SERVICE)) == []


@pytest.mark.parametrize("front_end", [(), ("--icap",)])
def test_printed_lines_have_it(installation: Installation, front_end: tuple[str, ...]) -> None:
    installation.run("inkgate-squid-conf", "pages")
    done = installation.run("inkgate-squid-conf", *front_end, "fragment")
    wanted = bug_lines(4, version_of(installed_squid()), icap=bool(front_end))
    assert set(wanted) <= set(done.stdout.splitlines())


@pytest.mark.parametrize(("version", "needed"), [("5.7", False), ("6.0.1", True), ("6.13", True)])
def test_refused_connects_are_closed_where_squid_would_keep_them(
    version: str, needed: bool
) -> None:
    assert (CLOSED in bug_lines(4, version, icap=True)) == needed
    assert CLOSED not in bug_lines(4, version, icap=False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ASKED, "has no persistent_connection_after_error"),
        (ASKED + CLOSED, ""),
        (f"{ASKED}{CLOSED}\npersistent_connection_after_error on", "squid.conf:3"),
        ("", ""),
    ],
)
def test_connects_that_squid_would_keep_are_said(tmp_path: Path, text: str, said: str) -> None:
    conf = tmp_path / "squid.conf"
    conf.write_text(f"{text}\n")
    lines = read_configuration(conf)
    found = list(bug_findings(lines, 4, "6.13", service=SERVICE))
    assert len(found) == bool(said)
    assert said in "".join(finding.fault for finding in found)
    assert list(bug_findings(lines, 0, "5.7", service=SERVICE)) == []


def test_squid_without_openssl_is_not_asked_for_names_inside_tls() -> None:
    """Debian's package `squid` ends at `%ssl::>sni`."""
    given = {"service": SERVICE, "fail": "open", "server_header": "X-S", "log": ""}
    assert "%ssl::" in icap_fragment(name_header="X-N", **given)
    assert "%ssl::" not in icap_fragment(name_header="", **given)
