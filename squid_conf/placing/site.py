"""What lies in Squid's configuration folder, and the changes that install or uninstall inkgate."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from inkgate.config.whole_file import write_whole
from inkgate.squid_conf.configuration import Instead, Line, read_configuration
from inkgate.squid_conf.order import our_acls
from inkgate.squid_conf.placing.flat import flattened
from inkgate.squid_conf.placing.include_line import with_include, without_include
from inkgate.squid_conf.placing.root_files import (
    Before,
    Change,
    apply,
    read_file,
    real_file,
    undo,
)
from inkgate.squid_conf.program import SquidProgram
from inkgate.squid_conf.word import SquidConfError

# How files begin that inkgate-squid-conf printed, or that were installed under another name.
DROP_IN: Final = (b"# Made by inkgate-squid-conf", b"# Made by inkgate squid install")
_MOVED: Final = b"# Inkgate's lines have moved to %b, which squid.conf includes.\n"


class Site(NamedTuple):
    """Squid's configuration with nothing of inkgate's in it.

    Attributes:
        conf: squid.conf as it is.
        fragment: the file with inkgate's lines as it is; it may not be there.
        named: the fragment's path, as squid.conf is to have it.
        bare: squid.conf without inkgate's include.
        drop_ins: changes that take inkgate's older drop-ins away.
        lines: what Squid reads then.
    """

    conf: Before
    fragment: Before
    named: Path
    bare: bytes
    drop_ins: tuple[Change, ...]
    lines: list[Line]


def look(squid_conf: Path, fragment: Path) -> Site:
    """Read what is there.

    Args:
        squid_conf: Squid's configuration file.
        fragment: the file for inkgate's lines.

    Raises:
        SquidConfError: it cannot be read or changed safely, or inkgate's lines stand among
            the administrator's own.
    """
    conf = read_file(real_file(squid_conf))
    if conf.data is None:
        raise SquidConfError(f"{squid_conf}: is not there; give Squid's file with --squid-conf")
    named = fragment.absolute()
    real = real_file(named)
    bare = without_include(conf.data, named)
    now: Instead = {conf.path: bare}
    drop_ins = tuple(_drop_ins(conf.path, real, now))
    lines = read_configuration(conf.path, {**now, **_as_instead(drop_ins)})
    _refuse_ours(lines)
    return Site(conf, read_file(real), named, bare, drop_ins, lines)


def install_changes(site: Site, fragment: str) -> list[Change]:
    """What to write so that Squid asks inkgate first; nothing if it is all there.

    Raises:
        SquidConfError: there is no safe place for inkgate's lines.
    """
    conf = with_include(site.bare, site.lines, site.conf.path, site.named)
    changes = [
        Change(site.fragment.path, fragment.encode()),
        Change(site.conf.path, conf, site.conf.owner),
        *site.drop_ins,
    ]
    return [change for change in changes if not _is_done(change, site)]


def uninstall_changes(site: Site) -> list[Change]:
    """What to write so that Squid no longer asks inkgate."""
    changes = [
        Change(site.conf.path, site.bare, site.conf.owner),
        *site.drop_ins,
        Change(site.fragment.path, None),
    ]
    return [change for change in changes if not _is_done(change, site)]


def carry_out(program: SquidProgram, site: Site, changes: Sequence[Change]) -> None:
    """Make changes that Squid takes; all or none.

    Raises:
        SquidConfError: Squid does not take them, and everything is as it was.
        OSError: they cannot be written, and everything is as it was.
    """
    _try_aside(program, site, changes)
    before = apply(changes, site.conf.path.parent)
    try:
        complaint = program.complaint(site.conf.path)
    except BaseException:
        undo(before)
        raise
    if complaint:
        undo(before)
        raise _refused(site, complaint)


def _try_aside(program: SquidProgram, site: Site, changes: Sequence[Change]) -> None:
    text = flattened(site.conf.path, _as_instead(changes))
    with tempfile.TemporaryDirectory(prefix="inkgate-squid-") as folder:
        aside = Path(folder) / "squid.conf"
        write_whole(aside, text, 0o600)
        complaint = program.complaint(aside)
    if complaint:
        raise _refused(site, complaint)


def _refused(site: Site, complaint: str) -> SquidConfError:
    return SquidConfError(
        f"{site.conf.path}: Squid {complaint}; nothing was changed: correct that line, and run "
        "this again"
    )


def _drop_ins(conf: Path, fragment: Path, now: Instead) -> Iterable[Change]:
    """Files of inkgate's alone that squid.conf includes, as the README once had it."""
    lines = read_configuration(conf, now)
    files = dict.fromkeys(line.file for line in lines)
    for file in files:
        real = file.resolve()
        if real in (conf, fragment):
            continue
        before = read_file(real)
        if before.data is not None and before.data.startswith(DROP_IN):
            yield _taken_away(real_file(file), conf, fragment, now)


def _taken_away(drop_in: Path, conf: Path, fragment: Path, now: Instead) -> Change:
    """Remove a drop-in; if its include would find nothing then, leave a comment in it."""
    try:
        read_configuration(conf, {**now, drop_in: None})
    except SquidConfError:
        return Change(drop_in, _MOVED % str(fragment).encode())
    return Change(drop_in, None)


def _refuse_ours(lines: Sequence[Line]) -> None:
    acls = our_acls(lines)
    ours = [
        line
        for line in lines
        if (line.name == "acl" and acls.intersection(line.words[:1]))
        or (line.name == "icap_service" and line.words and line.words[0].startswith("inkgate"))
    ]
    if ours:
        places = ", ".join(line.place for line in ours)
        raise SquidConfError(
            f"{places}: inkgate's lines stand among others; take out all that "
            "inkgate-squid-conf printed (external_acl_type, acl, deny_info, http_access, "
            "http_reply_access, icap_…, adaptation_…, logformat, access_log), and run this again"
        )


def _is_done(change: Change, site: Site) -> bool:
    if change.path == site.conf.path:
        return change.data == site.conf.data
    before = site.fragment if change.path == site.fragment.path else read_file(change.path)
    is_same = change.data == before.data
    if change.data is None or before.owner is None:
        return is_same
    return is_same and before.owner.mode == 0o644


def _as_instead(changes: Iterable[Change]) -> dict[Path, bytes | None]:
    return {change.path: change.data for change in changes}
