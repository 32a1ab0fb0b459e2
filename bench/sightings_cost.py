"""What sightings cost the helper: lines a second with and without them, 1 % matches.

Three helpers live side by side, one with sightings and two without, and get the same
requests in short turns, in an order drawn anew for each round: warm hosts that are not
listed, and every hundredth one that is. The third says how far apart two equal helpers
come out here. All are started anew several times, since two equal processes differ by
some hundredths for as long as they live. Prints a table and writes
bench/results/sightings_cost.json.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

from harness.arguments import Arguments
from harness.machine import describe, median, save, table
from harness.pipe import Helper, our_line
from inkgate.sightings.journal.journal import Journal
from support.installation import BIN, Installation, attribute

HOSTS = 20_000
LISTED = 200
EVERY = 100
# Lines of a turn, by batch size: most of a second, so that what is committed after its
# end, in time that is not measured, is little of it.
Turns = dict[int, int]
TURNS: Turns = {16: 200_000, 256: 450_000}
# After a turn what is not yet committed is, so that no other helper pays for it.
SETTLE_SECONDS = 0.1
WARMING = 2

# By batch size and contender: per start, the seconds of each turn.
Seconds = dict[int, dict[str, list[list[float]]]]


def requests(count: int) -> list[bytes]:
    return [our_line(n, host(n) + b".example") for n in range(count)]


def host(number: int) -> bytes:
    if number % EVERY:
        return b"host%d" % (number % HOSTS)
    return b"listed%d" % (number // EVERY % LISTED)


def measure(configs: dict[str, Path], starts: int, rounds: int, sizes: Turns) -> Seconds:
    results: Seconds = {batch: {name: [] for name in configs} for batch in sizes}
    for _ in range(starts):
        helpers = {
            name: Helper([BIN / "inkgate-helper", "--config", config])
            for name, config in configs.items()
        }
        for batch, count in sizes.items():
            lines = requests(count)
            for helper in helpers.values():
                for _ in range(WARMING):
                    helper.exchange(lines, batch)
            for name, seconds in turns(helpers, lines, batch, rounds).items():
                results[batch][name].append(seconds)
        for helper in helpers.values():
            helper.close()
    return results


def turns(
    helpers: dict[str, Helper], lines: list[bytes], batch: int, rounds: int
) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in helpers}
    order = list(helpers)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            found[name].append(helpers[name].exchange(lines, batch))
            time.sleep(SETTLE_SECONDS)
    return found


def matches(starts: int, rounds: int, sizes: Turns) -> int:
    """How many matches one contender saw."""
    return starts * sum((WARMING + rounds) * count // EVERY for count in sizes.values())


def main() -> None:
    parser = Arguments(__doc__, starts=1, rounds=1, length=0.02)
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--length", type=float, default=1, help="of a turn, in seconds or so")
    options = parser.read()
    machine = describe()
    sizes = {batch: round(count * options.length) for batch, count in TURNS.items()}
    installation = Installation()
    names = (f"listed{n}.example" for n in range(LISTED))
    installation.add("listed", *(attribute("domain", name) for name in names))
    installation.refresh()
    text = installation.config.read_text()
    off = installation.config.with_name("off.toml")
    off.write_text(text.replace('journal = "run/sightings.db"', 'journal = ""'))
    configs = {"with": installation.config, "without": off, "without, again": off}
    measured = measure(configs, options.starts, options.rounds, sizes)
    journalled = sum(1 for _ in Journal(installation.folder / "run/sightings.db").read())
    installation.close()
    report(measured, sizes)
    expected = matches(options.starts, options.rounds, sizes)
    print(f"journalled {journalled} of {expected} matches")
    save("sightings_cost", machine, options, lines=sizes, seconds=measured)
    assert journalled == expected


def report(measured: Seconds, sizes: Turns) -> None:
    rows = []
    for batch, found in measured.items():
        bare = [median(seconds) for seconds in found["without"]]
        for name, starts in found.items():
            own = [median(seconds) for seconds in starts]
            ratios = sorted(theirs / ours for theirs, ours in zip(bare, own, strict=True))
            rate = sizes[batch] / median(own)
            rows.append((batch, name, rate, ratios[0], median(ratios), ratios[-1]))
    table(("batch", "sightings", "lines/s", "least ratio", "median", "greatest"), rows)


if __name__ == "__main__":
    main()
