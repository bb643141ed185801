"""How the figures of a report are written: three digits, a unit, and a dash for what is unknown."""

from __future__ import annotations

import math

MISSING = "–"


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
