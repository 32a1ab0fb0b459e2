"""Root serves no ICAP: it becomes the user to whom the journal's folder belongs, Squid's.

What root makes there, Squid's helper cannot write, and a fault in reading what strangers send
would have all of root's rights.
"""

from __future__ import annotations

import os
from pathlib import Path

from inkgate.config.owner import become_owner
from inkgate.config.settings_file import load_section, resolve
from inkgate.health.settings import counter_folder
from inkgate.rules.settings import RulesSettings
from inkgate.sightings.journal.backends.registry import own_file
from inkgate.sightings.settings import SightingsSettings


def become_squids_user(config: Path) -> str:
    """Be the owner of the folders that the server writes, from now on.

    Nothing happens if this is not root, or if they are root's.

    Returns:
        The user's name, if it is another one now.

    Raises:
        SettingsError: the settings do not say where they are.
        OwnerError: they belong to several users, or root cannot become that user.
    """
    if os.geteuid() != 0:
        return ""
    rules = load_section(config, "rules", RulesSettings)
    journal = own_file(config, load_section(config, "sightings", SightingsSettings))
    folders = [resolve(config, rules.key_cache).parent, journal and journal.parent]
    # The counters' folder is made by whoever owns the one above it.
    counters = counter_folder(config)
    folders.append(counters and (counters if counters.is_dir() else counters.parent))
    there = (folder for folder in folders if folder is not None and folder.is_dir())
    owner = become_owner(*there)
    return owner.name if owner else ""
