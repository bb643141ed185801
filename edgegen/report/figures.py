"""How the figures of a report are written: three digits, a unit, and a dash for what is unknown."""

from __future__ import annotations

import math

MISSING = "–"

_TIME_STEPS_S = (
    *(5, 10, 15, 30, 60, 120, 300, 600, 900, 1800),
    *(3600, 7200, 10800, 21600, 43200, 86400),
)


def seconds(value_s: float | None) -> str:
    """Write a time: `812 µs`, `8.12 ms`, `4.23 s`, `12 min 05 s`; a dash for None."""
    if value_s is None:
        return MISSING
    if value_s == 0:
        return "0 s"
    magnitude = abs(value_s)
    if magnitude >= 599.5:
        minutes, rest_s = divmod(round(magnitude), 60)
        sign = "-" if value_s < 0 else ""
        if minutes < 60:
            return f"{sign}{minutes} min {rest_s:02d} s"
        return f"{sign}{minutes // 60} h {minutes % 60:02d} min"
    for factor, unit in ((1, "s"), (1e3, "ms")):
        if magnitude * factor >= 0.9995:
            return f"{three_digits(value_s * factor)} {unit}"
    return f"{three_digits(value_s * 1e6)} µs"


def moment(value_s: float | None) -> str:
    """Write a moment or a long time: `8.2 s`, `45 s`, `3 min 02 s`, `1 h 20 min`, or a dash."""
    if value_s is None:
        return MISSING
    if abs(value_s) < 9.95:
        return f"{value_s:.1f} s".replace("-0.0", "0.0").replace(".0 s", " s")
    hours, rest_s = divmod(round(abs(value_s)), 3600)
    minutes, rest_s = divmod(rest_s, 60)
    sign = "-" if value_s < 0 else ""
    if hours:
        return f"{sign}{hours} h {minutes:02d} min"
    return f"{sign}{minutes} min {rest_s:02d} s" if minutes else f"{sign}{rest_s} s"


def tick_moment(value_s: float) -> str:
    """Write a round moment on an axis: `0`, `45 s`, `3 min`."""
    return moment(value_s).removesuffix(" 00 s").removesuffix(" 00 min") if value_s else "0"


def joules(value_j: float | None) -> str:
    """Write an energy: `412 mJ`, `41.2 J`, `1.25 kJ`; a dash for None."""
    if value_j is None:
        return MISSING
    if value_j == 0:
        return "0 J"
    for factor, unit in ((1e-3, "kJ"), (1.0, "J")):
        if abs(value_j) * factor >= 0.9995:
            return f"{three_digits(value_j * factor)} {unit}"
    return f"{three_digits(value_j * 1e3)} mJ"


def size(value_bytes: float | None) -> str:
    """Write a size in decimal units: `1.72 GB`, `640 kB`; a dash for None."""
    if value_bytes is None:
        return MISSING
    if abs(value_bytes) < 999.5:
        return f"{value_bytes:.0f} bytes"
    value = float(value_bytes)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if abs(value) < 999.5 or unit == "TB":
            break
    return f"{three_digits(value)} {unit}"


def decibels(value_db: float | None, *, equal: str = "equal") -> str:
    """Write a signal-to-noise ratio; None and infinity mean that nothing differs."""
    if value_db is None or math.isinf(value_db):
        return equal
    return f"{value_db:.1f} dB"


def three_digits(value: float) -> str:
    """Write a number with three significant digits, without an exponent.

    >>> three_digits(0.01234), three_digits(9.996), three_digits(1234.5)
    ('0.0123', '10.0', '1234')
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:.0f}"
    rounded = float(f"{value:.2e}") if abs(value) < 1000 else value
    decimals = max(0, 2 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:.{decimals}f}"


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
