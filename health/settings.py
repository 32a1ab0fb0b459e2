"""Section `[health]` of inkgate.toml."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from inkgate.config.settings_file import load_section, resolve


class HealthSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where processes count what goes wrong.

    Attributes:
        folder: of the counters; it belongs to Squid's user. Empty: nothing is counted.
    """

    folder: str = "/var/lib/inkgate/run/health"


def counter_folder(config: Path) -> Path | None:
    """The folder of the counters.

    Raises:
        SettingsError: the section cannot be used.
    """
    folder = load_section(config, "health", HealthSettings, alone=True).folder
    return resolve(config, folder) if folder else None
