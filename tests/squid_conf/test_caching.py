"""The setting that keeps Squid from answering from its cache, and what is said where it does."""

from __future__ import annotations

from pathlib import Path

import pytest

from inkgate.blocked_page.settings import SquidSettings
from inkgate.squid_conf.caching import cache_findings
from inkgate.squid_conf.configuration import read_configuration
from support.installation import Installation

LINE = "cache deny all"


@pytest.mark.parametrize("front_end", [(), ("--icap",)])
@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.slow
def test_printed_lines_have_it_if_it_is_asked_for(
    installation: Installation, front_end: tuple[str, ...], kept: bool
) -> None:
    text = installation.config.read_text()
    setting = f"[squid_conf]\ncache = {str(kept).lower()}\n"
    installation.config.write_text(text.replace("[squid_conf]\n", setting))
    installation.run("inkgate-squid-conf", "pages")
    done = installation.run("inkgate-squid-conf", *front_end, "fragment")
    assert (LINE in done.stdout.splitlines()) is not kept


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LINE, ""),
        (f"{LINE}\ncache allow all", ""),
        ("no_cache deny all", ""),
        ("", "squid.conf has no `cache deny all`: Squid answers from its cache"),
        ("cache allow all", "squid.conf:1: `cache allow all`: Squid answers"),
        (f"acl some dstdomain .some.example\ncache allow some\n{LINE}", "squid.conf:2: "),
        ("cache deny some", "squid.conf:1: "),
    ],
)
def test_cache_that_answers_all_the_same_is_said(tmp_path: Path, text: str, said: str) -> None:
    conf = tmp_path / "squid.conf"
    conf.write_text(f"{text}\n")
    lines = read_configuration(conf)
    found = list(cache_findings(lines, SquidSettings(cache=False)))
    assert [finding.level for finding in found] == ["warning"] * bool(said)
    assert said in "".join(finding.fault for finding in found)
    assert not list(cache_findings(lines, SquidSettings()))
