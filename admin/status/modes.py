"""Rows `readable`, `protected`, `private` and `writable`: what Squid's user may do with files.

Squid's user must read the rules and what opens them, and must change nothing but what lies
in its own folders: whoever takes over Squid has this user's rights.
"""

from __future__ import annotations

import itertools
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from inkgate.admin.status.row import Level, Machine, Row
from inkgate.blocked_page.page import PAGES
from inkgate.blocked_page.settings import SquidSettings
from inkgate.config.access import (
    ENTER,
    READ,
    WRITE,
    Account,
    account,
    account_of,
    changeable,
    obstacle,
)
from inkgate.config.errors import InkgateError
from inkgate.config.settings_file import load_section, resolve
from inkgate.health.settings import counter_folder
from inkgate.rules.crypto.keys import SIGNING_KEY
from inkgate.rules.install.serials import CURRENT, SERIALS
from inkgate.rules.paths import RulesPaths, rules_paths
from inkgate.rules.settings import RulesSettings
from inkgate.sightings.journal.backends.registry import own_file
from inkgate.sightings.settings import SightingsSettings
from inkgate.squid_conf.check import SQUID_USER
from inkgate.squid_conf.launching import FAIL, PROGRAMS

# So many faults of a kind are told; they mostly have one cause.
_MOST: Final = 3
# Squid's user may fill its own folders.
_MOST_FILES: Final = 4096
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


class Fault(NamedTuple):
    """What is wrong with one file, and what to run."""

    text: str
    remedy: str


class Machinery(NamedTuple):
    """The settings' files, and whose processes Squid's are."""

    config: Path
    squid: Account
    rules: RulesPaths
    pages: Path
    launcher: Path
    own: list[Path]


def rows(machine: Machine) -> Iterable[Row]:
    """See the module."""
    try:
        found = _machinery(machine.config)
    except (InkgateError, OSError) as error:
        yield machine.unanswered("readable", error, "run it as root")
        return
    if found is None:
        yield Row("readable", Level.OK, f"there is no user {SQUID_USER} on this machine")
        return
    if _is_one_users(found):
        text = f"all belongs to user {found.squid.name}, who runs Squid: fit for a trial only"
        yield Row("protected", Level.OK, text)
        return
    for name, level, well, faults in _QUESTIONS:
        yield _row(name, level, f"user {found.squid.name} {well}", lambda: list(faults(found)))  # noqa: B023 (called at once)


def _row(name: str, level: Level, well: str, faults: Callable[[], list[Fault]]) -> Row:
    try:
        found = faults()
    except PermissionError as error:
        text = f"{error.filename} cannot be looked at: {error.strerror}"
        return Row(name, Level.UNKNOWN, text, "run it as root")
    if not found:
        return Row(name, Level.OK, well, data={"faults": 0})
    more = f"; and {len(found) - _MOST} more" if len(found) > _MOST else ""
    return Row(
        name,
        level,
        "; ".join(fault.text for fault in found[:_MOST]) + more,
        "; ".join(dict.fromkeys(fault.remedy for fault in found[:_MOST])),
        {"faults": len(found)},
    )


def _machinery(config: Path) -> Machinery | None:
    rules = rules_paths(config, load_section(config, "rules", RulesSettings, alone=True))
    squid_conf = load_section(config, "squid_conf", SquidSettings, alone=True)
    journal = own_file(config, load_section(config, "sightings", SightingsSettings, alone=True))
    run = rules.key_cache.parent
    # Its folder tells who Squid's user is where it is not Debian's.
    owner = run.stat().st_uid if run.exists() else 0
    squid = account_of(owner) if owner else account(SQUID_USER)
    if squid is None:
        return None
    counters = counter_folder(config)
    return Machinery(
        config,
        squid,
        rules,
        resolve(config, squid_conf.pages),
        resolve(config, squid_conf.launcher),
        [path.parent for path in (rules.key_cache, journal, counters) if path is not None],
    )


def _unreadable(found: Machinery) -> Iterator[Fault]:
    """What Squid's user must read, and cannot."""
    needed = [(path, READ) for path in (found.config, found.rules.token_file, *_rules(found))]
    needed += [(found.launcher / name, READ | ENTER) for name in PROGRAMS]
    needed += [(path, READ) for path in (found.launcher / FAIL, *_pages(found))]
    for path, what in needed:
        if not path.exists():
            continue
        if place := obstacle(found.squid, path, what):
            mode = "g+rx" if what & ENTER or place.is_dir() else "g+r"
            yield Fault(
                f"user {found.squid.name} cannot read {path}" + _because(place, path),
                f"chgrp {found.squid.name} {place} && chmod {mode} {place}",
            )


def _changeable(found: Machinery) -> Iterator[Fault]:
    """What Squid's user must not change, and can."""
    where = found.rules
    kept = [found.config, where.token_file, where.public_key_file, where.publisher]
    kept += [where.installed / SERIALS, *_rules(found)]
    kept += [found.launcher / name for name in (*PROGRAMS, FAIL)] + _pages(found)
    seen = set()
    for path in kept:
        place = changeable(found.squid, path) if path.exists() else None
        if place is not None and place not in seen:
            seen.add(place)
            yield Fault(
                f"user {found.squid.name} may change {path}" + _because(place, path),
                f"chown root {place} && chmod go-w {place}",
            )


def _visible(found: Machinery) -> Iterator[Fault]:
    """What is secret, and others can read."""
    publisher, token = found.rules.publisher, found.rules.token_file
    hidden = publisher / SIGNING_KEY
    if hidden.exists() and obstacle(found.squid, hidden, READ) is None:
        yield Fault(
            f"user {found.squid.name} may read {hidden} and the indicators beside it",
            f"chmod 0700 {publisher}",
        )
    if token.exists() and token.stat().st_mode & stat.S_IROTH:
        yield Fault(f"everybody may read {token}", f"chmod 0640 {token}")


def _closed(found: Machinery) -> Iterator[Fault]:
    """Where Squid's user must write, and cannot; and where others can."""
    for folder in dict.fromkeys(found.own):
        if not folder.is_dir():
            # The default of counters lies in `run`, too, and is made there.
            continue
        if obstacle(found.squid, folder, WRITE | ENTER) is not None:
            yield Fault(
                f"user {found.squid.name} cannot write in {folder}",
                f"chown {found.squid.name} {folder}",
            )
        elif folder.stat().st_mode & stat.S_IWOTH:
            yield Fault(f"everybody may change {folder}", f"chmod o-w {folder}")
        else:
            yield from _foreign_files(found.squid, folder)


def _foreign_files(squid: Account, folder: Path) -> Iterator[Fault]:
    """Files that somebody else made there, so that Squid's user cannot write them.

    A journal, for instance, that `inkgate-icap` made as root.
    """
    with os.scandir(folder) as entries:
        for entry in itertools.islice(entries, _MOST_FILES):
            # The folder is Squid's user's: no link is followed, and no name is shown that a
            # shell could take for a command.
            seen = entry.stat(follow_symlinks=False)
            is_shown = _PLAIN_NAME.fullmatch(entry.name)
            if is_shown and stat.S_ISREG(seen.st_mode) and not squid.may(WRITE, seen):
                yield Fault(
                    f"user {squid.name} cannot write {entry.path}",
                    f"chown -h {squid.name} {entry.path}",
                )


def _rules(found: Machinery) -> list[Path]:
    """The files of the installed generation.

    Raises:
        PermissionError: this user may not look at them.
    """
    folder = found.rules.installed / CURRENT
    try:
        return sorted(folder.resolve(strict=True).iterdir())
    except FileNotFoundError:
        return []


def _pages(found: Machinery) -> list[Path]:
    return [found.pages / name for name in PAGES.values()]


def _is_one_users(found: Machinery) -> bool:
    """Whether Squid runs as the user to whom everything belongs, as in a trial."""
    places = (found.config, found.rules.token_file, found.rules.installed)
    return all(path.exists() and path.stat().st_uid == found.squid.uid for path in places)


def _because(place: Path, path: Path) -> str:
    return "" if place == path else f" ({place} is in its hands or its way)"


_QUESTIONS: Final = (
    ("readable", Level.CRITICAL, "can read settings, token, rules and page", _unreadable),
    ("protected", Level.CRITICAL, "can change none of them", _changeable),
    ("private", Level.WARNING, "has no secret but the token", _visible),
    ("writable", Level.WARNING, "can write in its own folders, and nobody else", _closed),
)
