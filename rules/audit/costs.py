"""What a profile costs on this machine."""

from __future__ import annotations

import os
import statistics
import time
from typing import Final, NamedTuple

from inkgate.rules.crypto.kdf.registry import Kdf, kdf_of
from inkgate.rules.crypto.profiles import Argon2id, Hkdf, Pbkdf2, Profile

_SAMPLES: Final = 7
_SAMPLE_SECONDS: Final = 0.03
_SALT: Final = bytes(16)


class Cost(NamedTuple):
    """Seconds of one derivation: of the processor, and as the clock sees it."""

    cpu: float
    wall: float


def measure(profile: Profile) -> Cost:
    """The median of several samples, each long enough for the clock."""
    kdf = kdf_of(profile)
    kdf.stretch(os.urandom(32), _SALT)
    started = time.perf_counter()
    kdf.stretch(os.urandom(32), _SALT)
    once = max(time.perf_counter() - started, 1e-7)
    count = max(1, int(_SAMPLE_SECONDS / once))
    samples = [_sample(kdf, count) for _ in range(_SAMPLES)]
    return Cost(*(statistics.median(column) for column in zip(*samples, strict=True)))


def describe(profile: Profile) -> str:
    """A profile in few words."""
    match profile:
        case Argon2id():
            memory = profile.memory_kib
            size = f"{memory // 1024} MiB" if memory % 1024 == 0 else f"{memory} KiB"
            lanes = f" p={profile.lanes}" if profile.lanes > 1 else ""
            return f"argon2id {size} t={profile.iterations}{lanes}"
        case Pbkdf2():
            return f"pbkdf2-{profile.hash} {profile.iterations:,}"
        case Hkdf():
            return "hkdf"


def _sample(kdf: Kdf, count: int) -> Cost:
    passwords = [os.urandom(32) for _ in range(count)]
    wall, cpu = time.perf_counter(), time.process_time()
    for password in passwords:
        kdf.stretch(password, _SALT)
    return Cost((time.process_time() - cpu) / count, (time.perf_counter() - wall) / count)
