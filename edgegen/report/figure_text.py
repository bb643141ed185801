"""How figures of a choice, their limits and what breaks them are written, wherever they are."""

from __future__ import annotations

from edgegen.core.evaluation import EQUAL_DB
from edgegen.core.figures import FIGURES, Figure, FigureKind, Limit, Origin
from edgegen.core.units import (
    MISSING,
    format_bytes,
    format_joules,
    format_latency,
    three_digits,
)

MARKS: dict[Origin, str] = {
    "measured": "",
    "predicted": "~",
    "measured elsewhere": "*",
    "unknown": "?",
}
"""What stands at a figure in plain text; the page has symbols and words instead."""

_TIMES = 3.0
"""From so many times a limit on, that is what is written, not the percent above it."""

MEANINGS: dict[str, str] = {
    "size": "on disk",
    "latency": "p90 of an image",
    "memory": "highest PSS",
    "energy": "of an image",
    "slowdown": "sustained over first",
    "right": "share of pictures",
    "psnr": "mean over pictures",
    "ssim": "mean over pictures",
}
"""What each figure is, in two or three words."""


def format_value(kind: FigureKind, value: float | None) -> str:
    """Write a value with its unit: `41.2 MB`, `0.933`, `1.20×`, `31.4 dB`; a dash for None."""
    if value is None:
        return MISSING
    match kind.unit:
        case "bytes":
            return format_bytes(value)
        case "seconds":
            return format_latency(value)
        case "joules":
            return format_joules(value)
        case "ratio":
            return f"{three_digits(value)}×"
        case "decibels":
            return "equal" if value >= EQUAL_DB else f"{value:.1f} dB"
        case _:
            return three_digits(value)


def format_range(kind: FigureKind, figure: Figure) -> str:
    """Write the bounds of a figure: `4.10 … 4.35 s`; nothing where it has none, or is exact."""
    if figure.low is None or figure.high is None or figure.low == figure.high:
        return ""
    low, high = format_value(kind, figure.low), format_value(kind, figure.high)
    if low == high:
        return ""
    number, _, unit = low.rpartition(" ")
    return f"{number} … {high}" if unit and high.endswith(f" {unit}") else f"{low} … {high}"


def marked(kind: FigureKind, figure: Figure) -> str:
    """Write a value with the mark of its origin: `~41.2 MB`; `?` where nothing is known."""
    if figure.value is None:
        return MARKS["unknown"]
    mark, text = MARKS[figure.origin], format_value(kind, figure.value)
    return f"{text}{mark}" if mark == "*" else f"{mark}{text}"


def limit_text(limit: Limit) -> str:
    """Write a limit: `latency at most 500 ms`."""
    return f"{limit.kind.title} {limit.kind.sense} {limit_value(limit)}"


def limit_value(limit: Limit) -> str:
    """Write a limit's value as a person gives it: `500 ms`, `0.9`."""
    if limit.kind.unit == "share":
        return f"{limit.value:.3g}"
    return format_value(limit.kind, limit.value)


def broken_text(limit: Limit, figure: Figure) -> str:
    """Write by how much a figure breaks a limit: `latency 25 % over 500 ms, predicted`.

    Where only the worse bound of its interval does, that is what is written: `latency up to 510 ms,
    2 % over 500 ms`.
    """
    kind = limit.kind
    value, what = figure.value, kind.title
    if value is None or limit.allows(value):
        value = figure.high if kind.sense == "at most" else figure.low
        word = "up to" if kind.sense == "at most" else "down to"
        what = f"{kind.title} {word} {format_value(kind, value)},"
    if value is None or limit.allows(value):
        return f"{kind.title} not {kind.sense} {limit_value(limit)}"
    text = f"{what} {_gap(limit, value)}"
    return text if figure.origin == "measured" else f"{text}, {figure.origin}"


def _gap(limit: Limit, value: float) -> str:
    kind, written = limit.kind, limit_value(limit)
    if kind.sense == "at most":
        if value >= _TIMES * limit.value:
            return f"{three_digits(value / limit.value)} times {written}"
        percent = 100 * (value / limit.value - 1)
        return f"{f'{percent:.0f}' if percent >= 9.5 else f'{percent:.1g}'} % over {written}"
    gap = limit.value - value
    amount = f"{gap:.1f} dB" if kind.unit == "decibels" else f"{gap:.2g}"
    return f"{amount} under {written}"


def titled(name: str) -> str:
    """Return a figure's title as a heading has it: `Latency`, `PSNR`."""
    title = FIGURES[name].title
    return title[:1].upper() + title[1:]
