"""Row `rules`: the rule set that is installed, its age and its expiry."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from inkgate.admin.status.refresh import renewing
from inkgate.admin.status.row import Level, Machine, Row, age
from inkgate.config.errors import InkgateError
from inkgate.config.settings_file import load_section, resolve
from inkgate.health.clock import Clock
from inkgate.health.settings import counter_folder
from inkgate.rules.install.install import open_current
from inkgate.rules.install.outcome import Action
from inkgate.rules.install.serials import current_folder
from inkgate.rules.pack.files import MANIFEST, read_small
from inkgate.rules.pack.manifest import Manifest, parse_manifest
from inkgate.rules.settings import RulesSettings

_DAY: Final = 86_400
_RENEW: Final[dict[Action, str]] = {
    "refresh": "run inkgate-rules refresh, and see that its timer runs",
    "install": "get the newest pack from the publisher, and run inkgate-rules install with it",
}


_UNREADABLE: Final = (
    "run it as root; if root cannot read it either, refresh, or install the newest pack again"
)


def installed(config: Path) -> tuple[Manifest | None, RulesSettings]:
    """The manifest of the installed rule set, if there is one.

    Raises:
        InkgateError: the settings or the manifest cannot be used.
        OSError: they cannot be read.
    """
    settings = load_section(config, "rules", RulesSettings, alone=True)
    folder = current_folder(resolve(config, settings.installed))
    if folder is None:
        return None, settings
    return parse_manifest(read_small(folder / MANIFEST), settings.caps), settings


def _hindrance(config: Path, settings: RulesSettings) -> str:
    """Why no process can open the installed rule set; nothing if this one can.

    Its files are mapped and not read, so their size costs no time.
    """
    try:
        open_current(resolve(config, settings.installed), settings.caps).close()
    except (InkgateError, OSError) as error:
        return str(error)
    return ""


def _jump(config: Path) -> float:
    """By how many seconds the clock was set, as helpers have it, who do not believe it."""
    try:
        clock = Clock(counter_folder(config))
    except InkgateError:
        return 0.0
    clock.now()
    return clock.jump


def rows(machine: Machine) -> Iterable[Row]:
    """See the module."""
    try:
        manifest, settings = installed(machine.config)
    except (InkgateError, OSError) as error:
        yield machine.unanswered("rules", error, _UNREADABLE, Level.CRITICAL)
        return
    renew = _RENEW[renewing(settings)]
    if manifest is None:
        yield Row("rules", Level.CRITICAL, "no rule set is installed", renew)
        return
    if hindrance := _hindrance(machine.config, settings):
        text = f"serial {manifest.serial} cannot be opened: {hindrance}"
        yield Row("rules", Level.CRITICAL, text, renew, {"serial": manifest.serial})
        return
    now = machine.now - _jump(machine.config)
    old = now - manifest.created.timestamp()
    left = manifest.expires.timestamp() - now
    level, remedy = Level.OK, ""
    if left <= 0:
        level, remedy = Level.CRITICAL, renew
    elif settings.warn_age_days and old > settings.warn_age_days * _DAY:
        level, remedy = Level.WARNING, renew
    elif old < -_DAY:
        level = Level.WARNING
        remedy = "see that this machine's and the publisher's clocks are right, then refresh"
    made = f"made {age(old)} ago" if old >= 0 else f"dated {age(-old)} ahead"
    expiry = f"expires in {age(left)}" if left > 0 else f"expired {age(-left)} ago"
    yield Row(
        "rules",
        level,
        f"serial {manifest.serial}, {manifest.rule_count()} rules, {made}, {expiry}",
        remedy,
        {
            "serial": manifest.serial,
            "rules": manifest.rule_count(),
            "age_seconds": round(old),
            "expires_in_seconds": round(left),
            "set_id": manifest.set_id,
        },
    )
