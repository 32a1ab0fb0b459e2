"""Run the trials, one after the other; those that have passed with this code are left out.

    python tests/trials/run.py [--events FOLDER] [--again]

A trial is a program in this folder. It ends with 0 if all is well, and with 77 if it lacks
something, which it names. What has passed is noted at once, so an interrupted run goes on
with the next one.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LACKING = 77
EVENTS = "INKGATE_TRIAL_EVENTS"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=Path, help="a folder of MISP event JSON files")
    parser.add_argument("--again", action="store_true", help="also those that have passed")
    parser.add_argument("--folder", type=Path, default=HERE, help="where the trials are")
    parser.add_argument("--passed", type=Path, default=ROOT / ".inkgate" / "trials")
    options = parser.parse_args()
    if options.events:
        os.environ[EVENTS] = str(options.events.resolve())
    code = digest(ROOT / "src", options.events)
    options.passed.mkdir(parents=True, exist_ok=True)
    failed = False
    for program in sorted(options.folder.glob("*.py")):
        if program.name == Path(__file__).name:
            continue
        note = options.passed / program.stem
        now = f"{code} {hashlib.sha256(program.read_bytes()).hexdigest()}"
        if not options.again and note.exists() and note.read_text() == now:
            print(f"{program.stem}: has passed", flush=True)
            continue
        started = time.monotonic()
        status = subprocess.run([sys.executable, program], check=False).returncode
        if status == 0:
            note.write_text(now)
        failed = failed or status not in (0, LACKING)
        what = {0: "passed", LACKING: "left out"}.get(status, f"FAILED ({status})")
        print(f"{program.stem}: {what}, {time.monotonic() - started:.0f} s", flush=True)
    sys.exit(1 if failed else 0)


def digest(source: Path, events: Path | None) -> str:
    """What tells this code and these events from others."""
    found = hashlib.sha256(str(events and events.resolve()).encode())
    for package in sorted(source.rglob("*")):
        files = [package] if package.is_file() else sorted(package.rglob("*.py"))
        for file in files:
            found.update(str(file.relative_to(source)).encode())
            found.update(file.read_bytes())
    return found.hexdigest()


if __name__ == "__main__":
    main()
