"""Round numbers for the axes of charts."""

from __future__ import annotations

import math

from edgegen.core.units import format_moment

_TIME_STEPS_S = (
    *(5, 10, 15, 30, 60, 120, 300, 600, 900, 1800),
    *(3600, 7200, 10800, 21600, 43200, 86400),
)


def tick_moment(value_s: float) -> str:
    """Write a round moment on an axis: `0`, `45 s`, `3 min`."""
    return format_moment(value_s).removesuffix(" 00 s").removesuffix(" 00 min") if value_s else "0"


def time_ticks(length_s: float, count: int = 6) -> list[float]:
    """Return at most `count` + 1 round times from 0 to `length_s`, in seconds.

    Raises ValueError where the length is not above 0.
    """
    if length_s < 20:
        return nice_ticks(0.0, length_s, count)
    for step_s in _TIME_STEPS_S:
        if length_s / step_s <= count:
            return [float(step_s * index) for index in range(int(length_s // step_s) + 1)]
    return [86400.0 * value for value in nice_ticks(0.0, length_s / 86400, count)]


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about `count` round numbers from `low` to `high` (steps of 1, 2, 2.5 or 5 × 10^n).

    Raises ValueError where `high` is not above `low`.
    """
    if not high > low:
        raise ValueError(f"no range from {low} to {high}")
    raw = (high - low) / max(1, count)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(
        factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * (1 - 1e-9)
    )
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]
