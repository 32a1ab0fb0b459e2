"""One act, one place: what config/ does for all is done nowhere else.

Who writes a file in a way of its own leaves half of it at a kill, or a mode that the umask
chose; who prints text in a way of its own lets an escape sequence through. A new place
either uses config/ or stands here with its reason.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = tuple(path.name for path in (ROOT / "src" / "inkgate").iterdir() if path.is_symlink())
NAMES = {
    "isprintable": "printable text",
    **dict.fromkeys(("fsync", "fdatasync"), "flushing"),
    **dict.fromkeys(("rename", "link", "hardlink_to", "symlink", "symlink_to"), "renaming"),
    **dict.fromkeys(("chmod", "fchmod", "chown", "fchown", "umask"), "modes"),
    **dict.fromkeys(("mkdir", "makedirs", "touch"), "making"),
    **dict.fromkeys(("write_text", "write_bytes", "mkstemp", "NamedTemporaryFile"), "writing"),
    **dict.fromkeys(("O_CREAT", "O_WRONLY", "O_RDWR"), "writing"),
    **dict.fromkeys(("flock", "lockf"), "locking"),
    **dict.fromkeys(("setuid", "seteuid", "setresuid", "setreuid"), "another user"),
    **dict.fromkeys(("ProcessPoolExecutor", "get_context", "sched_getaffinity"), "processes"),
}
ALLOWED = {
    ("config/printable.py", "printable text"): "",
    ("rules/canonical/urls.py", "printable text"): "decides on a URL, prints nothing",
    ("config/whole_file.py", "flushing"): "",
    ("config/modes.py", "flushing"): "",
    ("config/whole_file.py", "renaming"): "",
    ("config/modes.py", "modes"): "",
    ("squid_conf/trial.py", "modes"): "folders of Squid's user, of which there may be some",
    ("icap_server/processes/supervisor.py", "modes"): "what libraries make",
    ("config/modes.py", "making"): "",
    ("config/whole_file.py", "making"): "",
    ("rules/install/archive.py", "making"): "in a folder that is removed again",
    ("config/whole_file.py", "writing"): "",
    ("config/locks.py", "writing"): "files with nothing in them but who has locked them",
    ("config/system_errors.py", "writing"): "to /dev/null",
    ("rules/install/archive.py", "writing"): "in a folder that is removed again",
    ("sightings/export/lines.py", "writing"): "appends lines, and mends one that was cut off",
    ("sightings/export/lines.py", "flushing"): "before the position moves on",
    ("rules/select/spool.py", "writing"): "in a folder that is removed again",
    ("rules/crypto/key_cache.py", "writing"): "opens what LMDB made, to give back pages it lost",
    ("rules/crypto/lmdb_file.py", "writing"): "gives back pages that a mapped file has lost",
    ("rules/crypto/key_cache.py", "modes"): "the mark of a file that was cut off",
    ("config/locks.py", "locking"): "",
    ("icap_server/processes/spare_room.py", "locking"): "shared, on a file in memory",
    ("config/processes.py", "processes"): "",
    ("config/owner.py", "another user"): "",
}


def acts(source: str) -> Iterator[str]:
    """The acts of NAMES in a module, by what it calls and names."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(attr=name) if name in NAMES:
                yield NAMES[name]
            case ast.Call(func=ast.Name(id=name)) if name in NAMES:
                yield NAMES[name]
            case ast.Call(func=ast.Attribute(attr="replace"), args=[_], keywords=[]):
                yield "renaming"
            case ast.Call(func=ast.Attribute(value=ast.Name(id="os"), attr="replace")):
                yield "renaming"
            case ast.Call(func=ast.Attribute(attr="open") | ast.Name(id="open"), args=arguments):
                modes = [a.value for a in arguments[-2:] if isinstance(a, ast.Constant)]
                if any(isinstance(mode, str) and set(mode) & set("wxa") for mode in modes):
                    yield "writing"


@pytest.mark.parametrize("package", PACKAGES)
def test_acts_are_done_in_one_place(package: str) -> None:
    found = {
        (str(path.relative_to(ROOT)), act)
        for path in (ROOT / package).rglob("*.py")
        for act in acts(path.read_text())
    }
    assert found - ALLOWED.keys() == set()
    # A reason whose place is gone.
    assert {place for place in ALLOWED if place[0].startswith(f"{package}/")} - found == set()


@pytest.mark.parametrize(
    ("source", "act"),
    [
        ("path.replace(other)", "renaming"),
        ("os.replace(a, b)", "renaming"),
        ("path.open('wb')", "writing"),
        ("open(path, 'x')", "writing"),
        ("os.open(path, os.O_RDWR | os.O_CREAT)", "writing"),
        ("path.write_bytes(b'')", "writing"),
        ("path.mkdir(parents=True)", "making"),
        ("os.fsync(fd)", "flushing"),
        ("fcntl.flock(fd, 2)", "locking"),
        ("text.isprintable()", "printable text"),
        ("ProcessPoolExecutor(2)", "processes"),
        ("os.seteuid(13)", "another user"),
        ("path.open('rb')", None),
        ("text.replace('a', 'b')", None),
        ("msgspec.structs.replace(record, a=1)", None),
    ],
)
def test_what_counts_as_an_act(source: str, act: str | None) -> None:
    assert set(acts(source)) == ({act} if act else set())
