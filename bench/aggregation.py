"""What private aggregation costs, over the number of subscribers; both protocols, one core.

`shi`: milliseconds an indicator, to encrypt and to aggregate. `masked`: seconds of processor
time for a million indicators, a subscriber's share (all five rounds) and the aggregation, with a
tenth of the subscribers dropping out after they shared their keys.
Prints tables, writes bench/results/aggregation.json and, with --plot FILE, a plot (PNG).
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot

from harness.arguments import Arguments
from harness.machine import describe, result_path, save
from inkgate.sightings.aggregation.shi.curve import base_times
from inkgate.sightings.aggregation.shi.discrete_log import logarithm
from support.aggregation import Party

mpl.use("Agg")


class Clock:
    """Adds up processor time of this process."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, work: Callable[..., Any], *arguments: Any) -> Any:
        started = time.process_time()
        result = work(*arguments)
        self.seconds += time.process_time() - started
        return result


def shi(subscribers: int, indicators: int, runs: int) -> dict[str, float]:
    """Milliseconds an indicator."""
    party = Party("shi", subscribers, indicators)
    vectors = {n: [random.choice((0, 0, 0, 1, 20)) for _ in range(indicators)] for n in party.names}
    encrypt = Clock()
    messages = [encrypt(party.contributor(n).answer, [], vectors[n]) for n in party.names]
    expected = [sum(column) for column in zip(*vectors.values(), strict=True)]
    seconds = [decrypt(party, messages, expected) for _ in range(runs)]
    scale = 1000 / indicators
    return {
        "encrypt": scale * encrypt.seconds / subscribers,
        "aggregate": scale * statistics.median(seconds),
    }


def decrypt(party: Party, messages: list[bytes], expected: list[int]) -> float:
    """Seconds from messages to totals."""
    aggregator, aggregate = party.aggregator(), Clock()
    for message in messages:
        aggregate(aggregator.accept, message)
    aggregator.close()
    assert aggregate(aggregator.totals).values == expected
    return aggregate.seconds


def masked(subscribers: int, indicators: int, percent: int = 10) -> dict[str, float]:
    """Seconds of processor time: the costliest subscriber's share, and the aggregation."""
    party = Party("masked", subscribers, indicators)
    vector = [random.choice((0, 0, 0, 1, 20)) for _ in range(indicators)]
    aggregator, aggregate = party.aggregator(), Clock()
    shares = {name: Clock() for name in party.names}
    histories: dict[str, list[bytes]] = {name: [] for name in party.names}
    gone = set(party.names[: subscribers * percent // 100])
    for number in range(5):
        for name in histories.keys() - (gone if number >= 2 else set()):
            # Made, taken and forgotten one by one: a hundred inputs would be 800 MB.
            answer = shares[name](party.contributor(name).answer, histories[name], vector)
            aggregate(aggregator.accept, answer)
        sent = aggregate(aggregator.close)
        histories = {n: [*h, sent[n]] for n, h in histories.items() if n in sent}
    totals = aggregate(aggregator.totals)
    assert totals.values == [(subscribers - len(gone)) * count for count in vector]
    return {
        "share": max(clock.seconds for clock in shares.values()),
        "aggregation": aggregate.seconds,
        "dropouts": len(gone),
    }


def plot(results: dict[str, dict[int, dict[str, float]]], indicators: int, path: Path) -> None:
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    titles = {
        "shi": ("shi", "ms an indicator, one core"),
        "masked": (f"masked, {indicators:,} indicators", "s, one core"),
    }
    for axis, (name, (title, unit)) in zip(axes, titles.items(), strict=True):
        table = results[name]
        for column in next(iter(table.values())):
            if column != "dropouts":
                axis.plot(list(table), [row[column] for row in table.values()], "o-", label=column)
        axis.set(title=title, xlabel="subscribers", ylabel=unit, xlim=(0, None), ylim=(0, None))
        axis.grid(visible=True, alpha=0.3)
        axis.legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = Arguments(
        __doc__,
        shi_subscribers=[10],
        shi_indicators=100,
        masked_subscribers=[10],
        indicators=20_000,
        runs=1,
    )
    numbers = {"type": int, "nargs": "+", "metavar": "N"}
    parser.add_argument("--shi-subscribers", default=[10, 50, 100, 200], **numbers)
    parser.add_argument("--shi-indicators", type=int, default=1000)
    parser.add_argument("--masked-subscribers", default=[10, 25, 50, 100], **numbers)
    parser.add_argument("--indicators", type=int, default=1_000_000, help="of `masked`")
    parser.add_argument("--runs", type=int, default=3, help="of each decryption of `shi`")
    parser.add_argument("--plot", metavar="FILE", type=Path, help="where the plot (PNG) goes")
    options = parser.read()
    machine = describe()
    started = time.process_time()
    logarithm(base_times(1), 1)
    print(f"table of logarithms: {time.process_time() - started:.2f} s, once a process\n")
    results: dict[str, dict[int, dict[str, float]]] = {
        "shi": {n: shi(n, options.shi_indicators, options.runs) for n in options.shi_subscribers},
        "masked": {n: masked(n, options.indicators) for n in options.masked_subscribers},
        "masked, 30 % drop out": {
            n: masked(n, options.indicators, 30) for n in options.masked_subscribers[-1:]
        },
    }
    for name, table in results.items():
        columns = list(next(iter(table.values())))
        print(name)
        print(f"{'':>8}" + "".join(f"{column:>14}" for column in columns))
        for n, row in table.items():
            print(f"{n:>8}" + "".join(f"{row[column]:>14.3f}" for column in columns))
        print()
    save("aggregation", machine, options, results=results)
    plot(results, options.indicators, options.plot or result_path("aggregation.png", options))


if __name__ == "__main__":
    main()
