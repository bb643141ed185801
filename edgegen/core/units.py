"""How figures are written for people: three digits, a unit, and a dash for what is unknown."""

from __future__ import annotations

import math

MISSING = "–"


def format_bytes(size_bytes: float | None) -> str:
    """Write a size in decimal units: `1.72 GB`, `640 kB`, `12 bytes`; a dash for None."""
    if size_bytes is None:
        return MISSING
    if abs(size_bytes) < 999.5:
        return f"{size_bytes:.0f} bytes"
    value = float(size_bytes)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if abs(value) < 999.5 or unit == "TB":
            break
    return f"{three_digits(value)} {unit}"


def format_latency(latency_s: float | None) -> str:
    """Write a measured time, to be compared: `812 µs`, `8.12 ms`, `4.23 s`, `12 min 05 s`.

    Seconds go on to ten minutes, so that three digits are kept. A dash for None.
    """
    if latency_s is None:
        return MISSING
    if latency_s == 0:
        return "0 s"
    magnitude = abs(latency_s)
    if magnitude >= 599.5:
        return f"{'-' if latency_s < 0 else ''}{_hours_and_minutes(round(magnitude))}"
    for factor, unit in ((1, "s"), (1e3, "ms")):
        if magnitude * factor >= 0.9995:
            return f"{three_digits(latency_s * factor)} {unit}"
    return f"{three_digits(latency_s * 1e6)} µs"


def format_duration(duration_s: float) -> str:
    """Write how long something took or will take: `8.10 ms`, `3.20 s`, `4 min 05 s`."""
    if duration_s < 0.9995:
        return f"{three_digits(duration_s * 1000)} ms"
    if duration_s < 119.5:
        return f"{three_digits(duration_s)} s"
    return _hours_and_minutes(round(duration_s))


def format_moment(moment_s: float | None) -> str:
    """Write when something happened: `8.2 s`, `45 s`, `3 min 02 s`, `1 h 20 min`, or a dash."""
    if moment_s is None:
        return MISSING
    if abs(moment_s) < 9.95:
        return f"{moment_s:.1f} s".replace("-0.0", "0.0").replace(".0 s", " s")
    whole_s = round(abs(moment_s))
    sign = "-" if moment_s < 0 else ""
    return f"{sign}{whole_s} s" if whole_s < 60 else f"{sign}{_hours_and_minutes(whole_s)}"


def format_joules(energy_j: float | None) -> str:
    """Write an energy: `412 mJ`, `41.2 J`, `1.25 kJ`; a dash for None."""
    if energy_j is None:
        return MISSING
    if energy_j == 0:
        return "0 J"
    for factor, unit in ((1e-3, "kJ"), (1.0, "J")):
        if abs(energy_j) * factor >= 0.9995:
            return f"{three_digits(energy_j * factor)} {unit}"
    return f"{three_digits(energy_j * 1e3)} mJ"


def format_decibels(psnr_db: float | None, *, equal: str = "equal") -> str:
    """Write a signal-to-noise ratio; None and infinity mean that nothing differs."""
    if psnr_db is None or math.isinf(psnr_db):
        return equal
    return f"{psnr_db:.1f} dB"


def format_count(count: float) -> str:
    """Write a count of parameters: `860 M`, `2.57 B`, `512`."""
    for limit, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(count) >= limit:
            return f"{three_digits(count / limit)} {unit}"
    return f"{count:.0f}"


def format_when(started_at: str) -> str:
    """Write a time of UTC (ISO 8601) to the minute: `2026-01-02 03:04 UTC`; others stay."""
    moment, plus, zone = started_at.partition("+")
    if len(moment) < 16 or moment[10] != "T" or (plus and zone != "00:00"):
        return started_at
    return f"{moment[:10]} {moment[11:16]} UTC" if plus else started_at


def counted(count: int, noun: str) -> str:
    """Write how many there are: `1 step`, `4 steps`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def steps_text(steps: int, cache_interval: int = 1) -> str:
    """Return how much an image computes: `25 steps`, or `25 steps, all layers in one of 3`."""
    cached = "" if cache_interval == 1 else f", all layers in one of {cache_interval}"
    return counted(steps, "step") + cached


def format_amount(done: float, total: float | None, unit: str) -> str:
    """Write how much of a step is done: `0.77 of 1.72 GB`, `7 of 25 steps`, `40 s of 10 min`."""
    if unit in ("bytes", "seconds"):
        write = format_bytes if unit == "bytes" else format_duration
        return write(done) + ("" if total is None else f" of {write(total)}")
    return f"{done:.0f}" + ("" if total is None else f" of {total:.0f}") + f" {unit}"


def format_rate(rate: float, unit: str) -> str:
    """Write a speed: `120 MB/s`, `3.10 steps/s`, `20.5 s a step`; nothing for time itself."""
    if unit == "seconds":
        return ""
    if unit == "bytes":
        return f"{format_bytes(rate)}/s"
    if 0 < rate < 0.5:
        return f"{format_duration(1 / rate)} a {unit.removesuffix('s')}"
    return f"{three_digits(rate)} {unit}/s"


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


def _hours_and_minutes(whole_s: int) -> str:
    minutes, rest_s = divmod(whole_s, 60)
    if minutes < 60:
        return f"{minutes} min {rest_s:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
