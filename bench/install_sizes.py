"""What each role installs: packages and their size in site-packages, by lock file.

Counted are the files that the packages themselves list, without compiled bytecode, in
the environment that runs this; another one and its lock files can be named, for instance
of an older version. Prints a table and writes bench/results/install_sizes.json.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.utils import canonicalize_name

from harness.arguments import Arguments
from harness.machine import describe, save, table
from support.venvs import LOCKS, locked

MIB = 1 << 20


def installed(environment: Path) -> dict[str, Distribution]:
    """The packages of a virtual environment, by name."""
    (site_packages,) = environment.glob("lib/python3*/site-packages")
    return {
        canonicalize_name(found.metadata["Name"]): found
        for found in distributions(path=[str(site_packages)])
    }


def size(package: Distribution) -> int:
    """Bytes of a package's files in site-packages."""
    return sum(path.stat().st_size for path in files(package))


def files(package: Distribution) -> Iterator[Path]:
    for entry in package.files or ():
        path = Path(str(package.locate_file(entry)))
        if ".." not in entry.parts and entry.suffix != ".pyc" and path.exists():
            yield path


def main() -> None:
    parser = Arguments(__doc__)
    parser.add_argument("--environment", type=Path, default=Path(sys.prefix), metavar="PATH")
    parser.add_argument("--locks", type=Path, default=LOCKS, metavar="FOLDER")
    options = parser.read()
    machine = describe()
    packages = installed(options.environment)
    ours = size(packages["inkgate"])
    roles: dict[str, dict[str, int]] = {}
    for lock in sorted(options.locks.glob("*.txt")):
        names = [name for name in locked(lock) if name in packages]
        if lock.stem != "build" and len(names) == len(locked(lock)):
            roles[lock.stem] = {name: size(packages[name]) for name in names}
    rows = [
        (role, len(sizes), (sum(sizes.values()) + ours) / MIB, largest(sizes))
        for role, sizes in sorted(roles.items(), key=lambda item: sum(item[1].values()))
    ]
    table(("role", "packages", "MiB with inkgate", "largest"), rows)
    save("install_sizes", machine, options, bytes_by_role=roles, bytes_of_inkgate=ours)


def largest(sizes: dict[str, int]) -> str:
    names = sorted(sizes, key=lambda name: -sizes[name])[:3]
    return ", ".join(f"{name} {sizes[name] / MIB:.1f}" for name in names)


if __name__ == "__main__":
    main()
