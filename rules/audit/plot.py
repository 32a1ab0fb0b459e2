"""Attacker's time against what the proxy can serve, for a ladder of profiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inkgate.config.extras import need
from inkgate.config.whole_file import writing_whole
from inkgate.rules.audit.costs import describe
from inkgate.rules.audit.figures import Figures
from inkgate.rules.audit.ladder import Rung, fastest
from inkgate.rules.match.errors import MatchError

_DAY = 86_400


def check_plot(path: Path) -> None:
    """Refuse early what cannot be drawn.

    Raises:
        MatchError: it is no SVG or PNG.
        MissingExtraError: matplotlib is not installed.
    """
    if path.suffix.lower() not in (".svg", ".png"):
        raise MatchError(f"--plot {path}: is neither .svg nor .png; name it so")
    _pyplot()


def draw(path: Path, rungs: list[Rung], today: list[tuple[str, Rung]], figures: Figures) -> None:
    """Write the picture: a line a population, a point a profile, today's setting marked."""
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(figsize=(8, 5.5))
    order = sorted(rungs, key=lambda rung: rung.cost.cpu)
    for population in figures.populations:
        axes.plot(
            [1 / rung.cost.cpu for rung in order],
            [population.count / fastest(rung.profile, figures) / _DAY for rung in order],
            marker="o",
            label=population.name,
        )
    counts = {p.kind: p.count for p in figures.populations}
    for kind, rung in today:
        point = 1 / rung.cost.cpu, counts[kind] / fastest(rung.profile, figures) / _DAY
        axes.plot(*point, marker="*", markersize=16, color="black", linestyle="none")
        axes.annotate(
            f"today, {kind}: {describe(rung.profile)}", point, (6, 8), textcoords="offset points"
        )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="new names a second that one core of this machine can derive",
        ylabel="days for the fastest single device to try all",
        title="What rules cost an attacker who has the token",
    )
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend()
    figure.tight_layout()
    with writing_whole(path, 0o644) as file:
        figure.savefig(file, format=path.suffix[1:].lower())
    pyplot.close(figure)


def _pyplot() -> Any:
    need("audit", "matplotlib", "--plot").use("Agg")
    return need("audit", "matplotlib.pyplot", "--plot")
