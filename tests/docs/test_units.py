"""The units of the documentation are such that systemd takes, and run what there is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path
from typing import Final

import pytest

from inkgate.icap_server.processes.descriptors import SPARE
from inkgate.icap_server.settings import IcapSettings
from support.installation import BIN
from support.pages import ROOT

INSTALLED: Final = "/opt/inkgate/bin"
NAME: Final = re.compile(r"/etc/systemd/system/([\w-]+\.(?:service|timer))")
# Its name stands in its first line, or in what comes shortly before it.
UNIT: Final = re.compile(r"((?:[^\n]*\n){3})```ini\n(.*?)```", re.DOTALL)


def units() -> dict[str, str]:
    """All units of all pages: name and text."""
    found = {}
    for page in sorted((ROOT / "docs").glob("*.md")):
        for before, text in UNIT.findall(page.read_text()):
            named = NAME.findall(f"{before}{text}")
            assert named, (page, text)
            assert named[-1] not in found
            found[named[-1]] = text
    return found


def settings(text: str, section: str) -> dict[str, str]:
    parser = ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[method-assign, assignment]
    parser.read_string(text)
    return dict(parser[section])


UNITS: Final = units()
SERVICES: Final = {
    name: settings(text, "Service") for name, text in UNITS.items() if name.endswith(".service")
}


def test_every_unit_is_found() -> None:
    kinds = [name.rpartition(".")[2] for name in UNITS]
    assert (kinds.count("service"), kinds.count("timer")) == (7, 3)
    # A timer starts the service of its name.
    assert {f"{n.removesuffix('.timer')}.service" for n in UNITS if ".timer" in n} < set(SERVICES)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_takes_them(tmp_path: Path) -> None:
    for name, text in UNITS.items():
        (tmp_path / name).write_text(text.replace(INSTALLED, str(BIN)))
    done = subprocess.run(
        ["systemd-analyze", "verify", *(str(tmp_path / name) for name in UNITS)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "info"},
    )
    ours = [line for line in done.stderr.splitlines() if any(name in line for name in UNITS)]
    assert (ours, done.returncode) == ([], 0), done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_command_is_there(name: str) -> None:
    program, *words = SERVICES[name]["ExecStart"].split()
    assert program.startswith(f"{INSTALLED}/")
    command = [str(BIN / Path(program).name), *(word for word in words if word[0] != "-")]
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for option in (word for word in words if word[0] == "-"):
        assert option in done.stdout


@pytest.mark.parametrize("name", [n for n, s in SERVICES.items() if s.get("Type") != "oneshot"])
def test_what_runs_for_long_is_squids_users_and_is_started_again(name: str) -> None:
    service = SERVICES[name]
    assert service["User"] == "proxy"
    assert service["Restart"] == "always"
    assert service["ReadWritePaths"] == "/var/lib/inkgate/run"


def test_icap_server_may_open_what_its_settings_say() -> None:
    service, icap = SERVICES["inkgate-icap.service"], IcapSettings()
    assert int(service["LimitNOFILE"]) == icap.connections + SPARE
    assert int(service["TimeoutStopSec"]) > icap.stop_seconds
