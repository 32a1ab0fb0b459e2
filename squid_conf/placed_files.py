"""Files that squid.conf names for inkgate: whether they are there for Squid to use."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from inkgate.squid_conf.configuration import Line
from inkgate.squid_conf.finding import Finding
from inkgate.squid_conf.launching import LAUNCHER, is_placed
from inkgate.squid_conf.order import our_acls


def file_findings(lines: Sequence[Line]) -> list[Finding]:
    """What is missing of the launcher, the helper and the blocked page."""
    return [*_programs(lines), *_pages(lines)]


def _programs(lines: Sequence[Line]) -> Iterable[Finding]:
    acls = our_acls(lines)
    types = {
        word
        for line in lines
        if line.name == "acl" and line.words and line.words[0] in acls
        for word in line.words[2:3]
    }
    for line in lines:
        if line.name == "external_acl_type" and line.words and line.words[0] in types:
            yield from _program(line)


def _program(line: Line) -> Iterable[Finding]:
    program = next(Path(word) for word in line.words[1:] if word.startswith("/"))
    if not os.access(program, os.X_OK):
        yield Finding(
            "critical",
            f"{line.place}: {program} cannot be run, and Squid ends at the first request",
            "run inkgate squid install",
        )
    elif program.name != LAUNCHER:
        yield Finding(
            "warning",
            f"{line.place}: Squid starts the helper itself: when it cannot start, Squid ends",
            "run inkgate squid install, which puts the launcher between them",
        )
    elif not is_placed(program.parent):
        yield Finding(
            "warning",
            f"{program.parent}: the launcher is of another version, or others may change it",
            "run inkgate squid install",
        )


def _pages(lines: Sequence[Line]) -> Iterable[Finding]:
    acls = our_acls(lines)
    for line in lines:
        if line.name != "deny_info" or not acls.intersection(line.words[1:]):
            continue
        # The path leads from Squid's folder of pages up to the root.
        page = Path("/") / line.words[0].replace("../", "")
        if line.words[0].startswith("../") and not os.access(page, os.R_OK):
            yield Finding(
                "warning",
                f"{line.place}: the blocked page {page} cannot be read: users see Squid's own",
                "run inkgate squid install",
            )
