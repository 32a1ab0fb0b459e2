"""Times that people can imagine."""

from __future__ import annotations

from typing import Final

_UNITS: Final = (
    (365.25 * 86_400, "years"),
    (86_400.0, "days"),
    (3_600.0, "hours"),
    (60.0, "minutes"),
    (1.0, "s"),
    (1e-3, "ms"),
    (1e-6, "us"),
)


def duration(seconds: float) -> str:
    """A time with about two digits."""
    size, unit = next(((s, u) for s, u in _UNITS if seconds >= s), _UNITS[-1])
    number = seconds / size
    if number >= 1e6:
        return f"{number:.1e} {unit}"
    return f"{number:,.0f} {unit}" if number >= 10 else f"{number:.1f} {unit}"


def parse_duration(text: str) -> float:
    """Seconds of `2ms`, `0.5 s`, `300us`.

    Raises:
        ValueError: it is not a number and one of these units.
    """
    text = text.strip().lower()
    for unit, size in (("us", 1e-6), ("ms", 1e-3), ("s", 1.0)):
        if text.endswith(unit):
            seconds = float(text.removesuffix(unit)) * size
            if 0 < seconds < 1e6:
                return seconds
            break
    raise ValueError(f"{text!r} is not a time like 2ms")
