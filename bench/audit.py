"""Does a real brute force take as long as `inkgate-rules audit` predicts? On three profiles.

The audit measures a derivation, predicts an attack on a /22 from it, and then makes
that attack. Both times are of the processor: a busy machine changes the clock's, and
those are printed, too.
"""

from __future__ import annotations

import json
import statistics
import sys
from typing import Any

from harness.arguments import Arguments
from harness.machine import describe, save, table
from support.installation import SETTINGS, Installation, attribute

PROFILES = {
    "argon2id 1 MiB t=1": "argon2id-1mib",
    "argon2id 4 MiB t=1": "argon2id-4mib",
    "pbkdf2-sha256 1,000": "pbkdf2-sha256-1000",
}
LISTED = 20


def attack(profile: str, addresses: str) -> dict[str, Any]:
    made = Installation(SETTINGS.replace('ip = "test"', f'ip = "{profile}"'))
    try:
        made.add("listed", *(attribute("ip-dst", f"198.51.100.{n}") for n in range(LISTED)))
        made.refresh()
        result = made.run("inkgate-rules", "audit", "--json", "--range", addresses)
        found: dict[str, Any] = json.loads(result.stdout)["attack"]
        return found
    finally:
        made.close()


def main() -> None:
    parser = Arguments(__doc__, range="198.51.100.0/25", rounds=1)
    parser.add_argument("--range", default="198.51.100.0/22", help="what is tried")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.read()
    machine = describe()
    rows = []
    for name, profile in PROFILES.items():
        rounds = [attack(profile, options.range) for _ in range(options.rounds)]
        ratios = [found["cpu_seconds"] / found["predicted_seconds"] for found in rounds]
        rows.append(
            {
                "profile": name,
                "tested": rounds[0]["tested"],
                "recovered": rounds[0]["recovered"].get("ip-dst", 0),
                "predicted": statistics.median(f["predicted_seconds"] for f in rounds),
                "cpu": statistics.median(f["cpu_seconds"] for f in rounds),
                "clock": statistics.median(f["seconds"] for f in rounds),
                "cpu/predicted": statistics.median(ratios),
            }
        )
    table(list(rows[0]), [list(row.values()) for row in rows])
    save("audit", machine, options, rows=rows)
    # So short an attack tells no times.
    near = options.quick or all(abs(row["cpu/predicted"] - 1) <= 0.2 for row in rows)
    right = all(row["recovered"] == LISTED for row in rows)
    sys.exit(0 if near and right else 1)


if __name__ == "__main__":
    main()
