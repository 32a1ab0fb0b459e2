"""Derives as often as new names would make a helper do it, and has no part in anything.

For comparison with a storm: what the derivations cost the machine's other processes
wherever they are made. Runs until it is killed, at the lowest priority.

Usage: other_work.py DERIVATIONS_PER_SECOND
"""

import os
import random
import sys
import time

from inkgate.rules.crypto.kdf.registry import kdf_of
from inkgate.rules.crypto.profiles import DEFAULT_PROFILES, PROFILES
from inkgate.rules.lookup.derivers import NICE

os.setpriority(os.PRIO_PROCESS, 0, NICE)
kdf = kdf_of(PROFILES[DEFAULT_PROFILES["name"]])
due = time.monotonic()
while True:
    # Poisson, as independent clients ask.
    due += random.expovariate(float(sys.argv[1]))
    time.sleep(max(0.0, due - time.monotonic()))
    kdf.stretch(bytes(32), bytes(16))
