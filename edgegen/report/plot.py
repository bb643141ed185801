"""Draws a series in plain text: braille dots, or ASCII where the terminal has no Unicode."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from edgegen.report.canvas import Canvas

_LEAST_RANGE = 0.04
"""The axis spans at least this share of the values, so that a quiet series does not look wild."""


def plot_series(
    restarts: Sequence[Sequence[float]],
    *,
    label: Callable[[float], str],
    width: int = 80,
    height: int = 8,
    unicode: bool = True,
) -> list[str]:
    """Draw values in the order in which they were measured; a gap stands between restarts.

    Returns lines of at most `width` characters: `height` of the plot, one of the axis, and one
    that names the restarts. Without values there are no lines.
    """
    series = [list(values) for values in restarts if len(values)]
    if not series:
        return []
    low, high = shown_range([value for values in series for value in values])
    rows = [high - (high - low) * row / (height - 1) for row in range(height)]
    labels = {row: label(rows[row]) for row in {0, (height - 1) // 2, height - 1}}
    margin = max(map(len, labels.values()))
    columns = max(8, width - margin - 2)
    widths = _shares([len(values) for values in series], columns - (len(series) - 1))
    drawings = [
        _draw(values, part, height, low, high, unicode=unicode)
        for values, part in zip(series, widths, strict=True)
    ]
    lines = []
    for row in range(height):
        axis = ("┤" if row in labels else "│") if unicode else ("+" if row in labels else "|")
        gap = "┊" if unicode else ":"
        drawn = gap.join(drawing.row(row) for drawing in drawings)
        lines.append(f"{labels.get(row, ''):>{margin}} {axis}{drawn}".rstrip())
    rule = "─" if unicode else "-"
    joint = "┴" if unicode else "+"
    lines.append(
        " " * (margin + 1) + ("└" if unicode else "+") + joint.join(rule * w for w in widths)
    )
    names = " ".join(f"{_name(i, part):<{part}}" for i, part in enumerate(widths))
    lines.append((" " * (margin + 2) + names).rstrip())
    return lines


def shown_range(values: Sequence[float], least: float = _LEAST_RANGE) -> tuple[float, float]:
    """Return the lowest and the highest value of an axis, which spans `least` of them or more."""
    low, high = min(values), max(values)
    width = least * max(abs(low), abs(high)) or 1.0
    if high - low < width:
        middle = (low + high) / 2
        low, high = middle - width / 2, middle + width / 2
    return low, high


def _shares(counts: Sequence[int], columns: int) -> list[int]:
    """Divide the columns among the restarts by their number of values; each gets one at least."""
    total = sum(counts)
    edges = [round(columns * sum(counts[:i]) / total) for i in range(len(counts) + 1)]
    widths = [max(1, right - left) for left, right in itertools.pairwise(edges)]
    while sum(widths) > max(columns, len(widths)):
        widths[widths.index(max(widths))] -= 1
    return widths


def _draw(
    values: Sequence[float], columns: int, rows: int, low: float, high: float, *, unicode: bool
) -> Canvas:
    """Return the values as a line from the left to the right."""
    canvas = Canvas(columns, rows, unicode=unicode)
    canvas.draw(
        [
            (
                round((canvas.wide - 1) * i / (len(values) - 1))
                if len(values) > 1
                else canvas.wide // 2,
                round((canvas.tall - 1) * (high - value) / (high - low)),
            )
            for i, value in enumerate(values)
        ]
    )
    return canvas


def _name(index: int, columns: int) -> str:
    """Name a restart as well as its columns allow."""
    return next(
        (name for name in (f"restart {index + 1}", f"{index + 1}") if len(name) <= columns), ""
    )
