"""An earlier inkgate's lines are named by the check, since nothing else shows what they cost."""

from __future__ import annotations

from pathlib import Path

from inkgate.blocked_page.settings import SquidSettings
from inkgate.squid_conf.configuration import read_configuration
from inkgate.squid_conf.fragment import fragment
from inkgate.squid_conf.launching import Launching
from inkgate.squid_conf.long_agents import agent_findings


def found_in(folder: Path, text: str) -> list[str]:
    conf = folder / "squid.conf"
    conf.write_text(text)
    return [finding.fault for finding in agent_findings(read_configuration(conf))]


def test_lines_that_show_user_agents_whole_are_said(tmp_path: Path) -> None:
    launching = Launching(tmp_path, tmp_path / "inkgate-helper", tmp_path / "inkgate.toml")
    now = fragment(SquidSettings(), launching=launching, pages=tmp_path, log="")
    assert "%#.24600>ha{User-Agent}" in now
    assert found_in(tmp_path, now) == []
    (said,) = found_in(tmp_path, now.replace("%#.24600>ha", "%#>ha"))
    assert "each User-Agent whole" in said
