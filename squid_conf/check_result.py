"""What the last check through the proxy found, kept for `inkgate status`.

The check takes seconds and needs the proxy, status takes neither: the one writes a small
file, the other reads it. It lies in a folder of root's, since Squid's user must not be
able to say that all is well.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import msgspec

from inkgate.blocked_page.settings import SquidSettings
from inkgate.config.errors import Unreadable
from inkgate.config.owner import refuse_other_owner
from inkgate.config.settings_file import load_section, resolve
from inkgate.config.whole_file import write_whole

# How often the check is to be run by a timer.
EVERY_SECONDS: Final = 3600
MAX_BYTES: Final = 256 * 1024
_MODE: Final = 0o644

CheckLevel = Literal["ok", "warning", "critical"]


class CheckResult(msgspec.Struct, frozen=True):
    """What one check found.

    Attributes:
        checked: when it ended (seconds since 1970).
        level: how bad it is: `critical` means that a listed request can get through.
        findings: one line each: what is wrong, and what to change. Without secrets.
    """

    checked: float
    level: CheckLevel
    findings: tuple[str, ...] = ()


def check_result_file(config: Path) -> Path:
    """Where the result lies.

    Args:
        config: the settings file.

    Raises:
        SettingsError: the section cannot be used.
    """
    return resolve(
        config, load_section(config, "squid_conf", SquidSettings, alone=True).check_result
    )


def write_check_result(file: Path, result: CheckResult) -> None:
    """Put a result in the place of the last one.

    Raises:
        OwnerError: somebody else may change its folder.
        OSError: it cannot be written.
    """
    refuse_other_owner(file)
    write_whole(file, msgspec.json.encode(result), _MODE)


def read_check_result(file: Path) -> CheckResult | None:
    """The last result; None if there was no check yet.

    Raises:
        Unreadable: it cannot be read, or is not a result.
    """
    remedy = "run inkgate squid check"
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        problem = error.strerror or "cannot be read"
        raise Unreadable(file, None, problem, "run it as root") from None
    if len(data) > MAX_BYTES:
        raise Unreadable(file, None, "is too long for a check's result", remedy)
    try:
        return msgspec.json.decode(data, type=CheckResult)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise Unreadable(file, None, "is not a check's result", remedy) from None
