"""What the settings of the allocator cost those that do not decode."""

from __future__ import annotations

import subprocess
import sys

import pytest

from inkgate.rules.crypto.profiles import DEFAULT_PROFILES

_PROGRAM = """
import resource, sys
from inkgate.icap_server.body.memory import give_large_blocks_back
from inkgate.rules.crypto.derive import Deriver
from inkgate.rules.crypto.profiles import DEFAULT_PROFILES, PROFILES
from threading import Thread

give_large_blocks_back()
kind = sys.argv[1]
deriver = Deriver(bytes(32), {kind: PROFILES[DEFAULT_PROFILES[kind]]})

def derive():
    for number in range(3):
        deriver.stretch(kind, bytes([number]))
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    for number in range(20):
        deriver.stretch(kind, bytes([number]))
    print((resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before) // 20)

thread = Thread(target=derive)
thread.start()
thread.join()
"""


@pytest.mark.parametrize("kind", DEFAULT_PROFILES)
def test_derivation_gets_no_new_memory_each_time(kind: str) -> None:
    """At 1,024 page faults each, addresses took more than twice as long."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, kind], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 10
