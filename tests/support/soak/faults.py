"""What is done to a set-up while clients ask it, each as one act that ends mended."""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NamedTuple

import lmdb

from support.installation import attribute
from support.soak.load import FLOODER, probe
from support.soak.setup import Front, Setup
from support.waiting import wait_until

Act = Callable[[Setup, random.Random], None]
BOTH: tuple[Front, ...] = ("helper", "icap")
_MENDED_SECONDS = 60.0
_FLOODERS, _FLOOD_SECONDS = 20, 3.0


class Fault(NamedTuple):
    """One kind of act.

    Attributes:
        name: in the result.
        act: does it, and mends it.
        kills: whether processes of inkgate's end by it, or are replaced.
        fronts: where it means something.
        conditions: at least one of these must be counted by it, if there are any.
    """

    name: str
    act: Act
    kills: bool = False
    fronts: tuple[Front, ...] = BOTH
    conditions: tuple[str, ...] = ()


def _kill_helper(setup: Setup, draw: random.Random) -> None:
    # One may be about to begin; what is killed before it counts is not missed by anybody.
    wait_until(setup.serving, "a process that serves")
    setup.kill(*setup.helpers())


def _kill_launcher(setup: Setup, draw: random.Random) -> None:
    setup.kill(*setup.helpers())
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if found := setup.launchers():
            setup.kill(*found)
            return
        time.sleep(0.005)


def _kill_worker(setup: Setup, draw: random.Random) -> None:
    wait_until(setup.workers, "a worker")
    setup.kill(*setup.workers())


def _kill_supervisor(setup: Setup, draw: random.Random) -> None:
    setup.kill(setup.squid.icap.process.pid)


def _kill_all_icap(setup: Setup, draw: random.Random) -> None:
    setup.kill(setup.squid.icap.process.pid, *setup.workers())


def _stop(setup: Setup, draw: random.Random) -> None:
    with setup.stopped():
        time.sleep(draw.uniform(2, 8))


def _new_rules(setup: Setup, draw: random.Random) -> None:
    setup.refreshes += 1
    name = f"later{setup.refreshes}.example"
    setup.installation.add(f"later{setup.refreshes}", attribute("domain", name))
    setup.refresh()
    wait_until(setup.is_current, "the new rules in use")
    # What answered from the old ones ends with Squid's memory of them.
    time.sleep(3)
    setup.new_domains.append(name)


def _new_epoch(setup: Setup, draw: random.Random) -> None:
    setup.refresh("--new-epoch")
    wait_until(setup.is_current, "the new rules in use")


def _damage_rules(setup: Setup, draw: random.Random) -> None:
    path = setup.installation.places.installed / "current" / "rules.mdb"
    with lmdb.open(str(path), subdir=False, lock=False) as rules, rules.begin(write=True) as txn:
        for key, value in list(txn.cursor()):
            txn.put(key, value[:-1] + bytes([value[-1] ^ 1]))
    time.sleep(draw.uniform(2, 6))
    setup.refresh()
    wait_until(setup.is_current, "the new rules in use")


def _hide_token(setup: Setup, draw: random.Random) -> None:
    token = setup.installation.places.token_file
    hidden = token.with_name("hidden")
    token.rename(hidden)
    try:
        time.sleep(draw.uniform(2, 6))
    finally:
        hidden.rename(token)


def _hide_token_and_kill(setup: Setup, draw: random.Random) -> None:
    token = setup.installation.places.token_file
    hidden = token.with_name("hidden")
    token.rename(hidden)
    try:
        setup.kill(*(setup.helpers() or setup.workers()))
        time.sleep(draw.uniform(3, 8))
    finally:
        hidden.rename(token)


def _move_journal(setup: Setup, draw: random.Random) -> None:
    setup.move_journal()
    time.sleep(2)


def _key_cache(setup: Setup) -> list[Path]:
    return list(setup.installation.places.key_cache.glob("*"))


def _remove_key_cache(setup: Setup, draw: random.Random) -> None:
    shutil.rmtree(setup.installation.places.key_cache, ignore_errors=True)


def _truncate_key_cache(setup: Setup, draw: random.Random) -> None:
    """Whoever reads a mapped file past its end is ended by the kernel (SIGBUS)."""
    with setup.outage():
        for path in _key_cache(setup):
            if path.suffix == ".mdb":
                with suppress(OSError):
                    os.truncate(path, draw.choice((0, 100, 4096, 8192)))
        time.sleep(3)


def _remove_counters(setup: Setup, draw: random.Random) -> None:
    """Without load meanwhile, so that the sums before and after can be compared."""
    setup.is_paused.set()
    try:
        time.sleep(2)
        setup.remove_counters()
    finally:
        setup.is_paused.clear()


def _break_settings(setup: Setup, draw: random.Random) -> None:
    with setup.broken_settings():
        if setup.front == "icap":
            setup.squid.icap.process.send_signal(signal.SIGHUP)
        time.sleep(draw.uniform(2, 5))


def _break_settings_and_kill(setup: Setup, draw: random.Random) -> None:
    with setup.broken_settings():
        if setup.front == "icap":
            setup.squid.icap.process.send_signal(signal.SIGHUP)
            time.sleep(1)
        setup.kill(*(setup.helpers() or setup.workers()))
        time.sleep(draw.uniform(3, 6))


def _hang_up(setup: Setup, draw: random.Random) -> None:
    setup.squid.icap.process.send_signal(signal.SIGHUP)
    time.sleep(2)


def _reconfigure(setup: Setup, draw: random.Random) -> None:
    setup.reconfigure()


def _rotate(setup: Setup, draw: random.Random) -> None:
    setup.squid.process.send_signal(signal.SIGUSR1)
    time.sleep(1)


def _flood(setup: Setup, draw: random.Random) -> None:
    """One client asks for new names as fast as it can."""
    end = time.monotonic() + _FLOOD_SECONDS
    threads = [
        threading.Thread(target=_flooder, args=(setup, draw.getrandbits(40), end))
        for _ in range(_FLOODERS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _flooder(setup: Setup, seed: int, end: float) -> None:
    number = 0
    while time.monotonic() < end:
        number += 1
        connection = HTTPConnection(
            "127.0.0.1", setup.squid.port, timeout=30, source_address=(FLOODER, 0)
        )
        with suppress(OSError, HTTPException):
            connection.request("GET", f"http://flood-{seed}-{number}.test/")
            connection.getresponse().read()
        connection.close()


FAULTS: tuple[Fault, ...] = (
    Fault("helper killed", _kill_helper, True, ("helper",), ("process-died",)),
    Fault("launcher killed", _kill_launcher, True, ("helper",)),
    Fault("worker killed", _kill_worker, True, ("icap",), ("process-died",)),
    Fault("supervisor killed", _kill_supervisor, True, ("icap",), ("process-died",)),
    Fault("all of ICAP killed", _kill_all_icap, True, ("icap",), ("process-died",)),
    Fault("helper stopped for a while", _stop, False, ("helper",)),
    Fault("ICAP stopped for a while", _stop, False, ("icap",), ("worker-stalled",)),
    Fault("new rules", _new_rules),
    Fault("new epoch", _new_epoch),
    Fault("damaged rules", _damage_rules, False, BOTH, ("rule-damaged",)),
    Fault("token away", _hide_token),
    Fault("token away at a start", _hide_token_and_kill, True, BOTH, ("no-rules",)),
    Fault("journal moved", _move_journal, False, BOTH, ("journal-moved",)),
    Fault("key cache removed", _remove_key_cache),
    Fault("key cache truncated", _truncate_key_cache, True),
    Fault("counters removed", _remove_counters),
    Fault("settings broken", _break_settings),
    Fault("settings broken at a start", _break_settings_and_kill, True),
    Fault("SIGHUP", _hang_up, True, ("icap",)),
    Fault("squid -k reconfigure", _reconfigure, True),
    Fault("squid -k rotate", _rotate, True),
    Fault("flood of one client", _flood),
)


def mended(setup: Setup, fault: Fault, before: dict[str, int]) -> None:
    """Wait until a listed request is blocked again, and what had to be counted is.

    Raises:
        AssertionError: that never comes.
    """
    wait_until(lambda: _blocks(setup), f"a block after: {fault.name}", _MENDED_SECONDS)
    if not fault.conditions or setup.is_paused.is_set():
        return

    def is_counted() -> bool:
        time.sleep(0.5)
        after = setup.numbers()
        return any(after.get(name, 0) > before.get(name, 0) for name in fault.conditions)

    wait_until(is_counted, f"{' or '.join(fault.conditions)} after: {fault.name}", 30)


def _blocks(setup: Setup) -> bool:
    found = probe(setup)
    if found.outcome != "blocked":
        time.sleep(0.3)
    return found.outcome == "blocked"
