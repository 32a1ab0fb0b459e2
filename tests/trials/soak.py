"""Real Squids under load for an hour, while faults come at random: nothing listed slips by unsaid.

    python tests/trials/soak.py [--minutes 60] [--seed N] [--setups helper-open ...] [--json FILE]

Four set-ups, helper and ICAP with `fail` open and closed, are asked by clients at several
addresses for what is listed and what is not, while processes are killed and stopped, rules
and settings changed and damaged, files moved away and removed (`support/soak/faults.py`).
With `closed` no listed request may pass. With `open` each that passed is marked in Squid's
log, and as many answers of `fail` are there as `inkgate status` counts; what Squid let pass
without an answer is counted as `squid-bypassed`. What is not listed is refused
only while something is. Every incident that a user was shown is in a journal; processes keep
their memory and descriptors; no log has a Traceback.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.soak.audit import Audit
from support.soak.faults import FAULTS, Fault, mended
from support.soak.load import Load
from support.soak.setup import Setup
from support.soak.vitals import Vitals

SETUPS = ("helper-open", "helper-closed", "icap-open", "icap-closed")
LACKING = 77
RESULT = Path(__file__).parents[2] / ".inkgate" / "soak.json"
# Parts of the whole time in which processes may be killed. In the others they live so long
# that what they lose can be seen.
_KILLING = ((0.0, 0.2), (0.85, 1.0))
_QUIET_PARTS = 20
# A process is looked at from this age on, when its memories are full and nearly every kind of
# fault has come to it once: the first one of a kind loads what it needs, and the first reading
# of another rule set takes its room. It is judged if it is looked at for so long. What leaks
# goes on to.
_WARM_UP_SECONDS, _LONG_SECONDS = 900.0, 900.0
_PAUSE_SECONDS = (2.0, 8.0)


class Done(NamedTuple):
    """A fault that was made."""

    at: float
    setup: str
    name: str
    seconds: float
    wrong: str


class Faults:
    """One thread that makes faults in a set-up, one after the other.

    Args:
        setup: where.
        seed: of what is drawn.
        began: when the trial began, monotonic.
        seconds: how long it is.
        names: of the faults to draw from.
        may_kill: whether processes may be killed at all.

    Attributes:
        done: what was made.
    """

    def __init__(
        self,
        setup: Setup,
        seed: str,
        began: float,
        seconds: float,
        *,
        names: list[str],
        may_kill: bool,
    ) -> None:
        self.setup = setup
        self._faults = [f for f in FAULTS if setup.front in f.fronts and f.name in names]
        self._may_kill = may_kill
        self.done: list[Done] = []
        self._draw = random.Random(seed)
        self._began, self._seconds = began, seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._draw.uniform(*_PAUSE_SECONDS)):
            part = (time.monotonic() - self._began) / self._seconds
            may_kill = self._may_kill and any(first <= part < last for first, last in _KILLING)
            fault = self._draw.choice([f for f in self._faults if may_kill or not f.kills])
            with self.setup.act:
                self.done.append(self._make(fault))

    def _make(self, fault: Fault) -> Done:
        began, wrong = time.time(), ""
        try:
            before = self.setup.numbers()
            fault.act(self.setup, self._draw)
            mended(self.setup, fault, before)
        except Exception as error:  # noqa: BLE001 (the trial goes on, and says it at its end)
            wrong = f"{type(error).__name__}: {error}"
        done = Done(began, self.setup.name, fault.name, time.time() - began, wrong)
        print(f"{done.setup}: {done.name}, {done.seconds:.1f} s {done.wrong}", flush=True)
        return done


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--rate", type=float, default=8.0, help="requests a second of a set-up")
    parser.add_argument("--setups", nargs="+", choices=SETUPS, default=list(SETUPS))
    names = [fault.name for fault in FAULTS]
    parser.add_argument("--faults", nargs="+", choices=names, default=names, help="these alone")
    parser.add_argument("--no-kills", action="store_true", help="let all processes live on")
    parser.add_argument("--json", type=Path, default=RESULT, help="where the result goes")
    parser.add_argument("--keep", action="store_true", help="leave folders with all logs")
    options = parser.parse_args()
    if os.getuid():
        print("needs root, as Squid does to change its user")
        sys.exit(LACKING)
    print(f"seed {options.seed}", flush=True)
    with ExitStack() as stack:
        setups = []
        for name in options.setups:
            setups.append(Setup(*name.split("-"), options.seed))
            stack.callback(setups[-1].close, keep=options.keep)
        result = run(setups, options)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["figures"], indent=1))
    print(*result["lives"], sep="\n")  # type: ignore[misc]
    print(*result["wrong"], sep="\n")  # type: ignore[misc]
    sys.exit(1 if result["wrong"] else 0)


def run(setups: list[Setup], options: argparse.Namespace) -> dict[str, object]:
    """The whole trial; its result."""
    seconds = 60 * options.minutes
    began, started = time.monotonic(), time.time()
    vitals = Vitals(_WARM_UP_SECONDS)
    loads = [Load(setup, options.seed, options.rate) for setup in setups]
    may_kill = not options.no_kills
    faults = [
        Faults(
            s,
            f"{options.seed} {s.name}",
            began,
            seconds,
            names=options.faults,
            may_kill=may_kill,
        )
        for s in setups
    ]
    try:
        while (left := began + seconds - time.monotonic()) > 0:
            time.sleep(min(left, seconds / _QUIET_PARTS))
            for setup in setups:
                with setup.quiet():
                    vitals.sample(setup, time.time())
    finally:
        for running in (*faults, *loads):
            running.end()
    for setup in setups:
        with setup.quiet():
            vitals.sample(setup, time.time())
    done = [one for maker in faults for one in maker.done]
    if options.keep:
        for setup, load in zip(setups, loads, strict=True):
            kept = setup.installation.folder / "asked.json"
            kept.write_text(json.dumps([*load.asked, *setup.probed]))
    audits = [Audit(s, [*load.asked, *s.probed]) for s, load in zip(setups, loads, strict=True)]
    wrong = [f"{one.setup}: {one.name}: {one.wrong}" for one in done if one.wrong]
    for audit in audits:
        wrong += audit.faults()
    lives = vitals.lives(_LONG_SECONDS)
    for life in lives:
        # What Squid itself takes is its own affair; it is in the result.
        wrong += life.faults() if life.program != "squid" else []
    return {
        "seed": options.seed,
        "minutes": options.minutes,
        "started": started,
        "wrong": wrong,
        "figures": {audit.setup.name: audit.summary() for audit in audits},
        "faults": [one._asdict() for one in done],
        "lives": [life.text for life in lives],
    }


if __name__ == "__main__":
    main()
