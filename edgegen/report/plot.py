"""Draws a series in plain text: braille dots, or ASCII where the terminal has no Unicode."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

_BRAILLE = 0x2800
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
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
    low, high = _range([value for values in series for value in values])
    rows = [high - (high - low) * row / (height - 1) for row in range(height)]
    labels = {row: label(rows[row]) for row in {0, (height - 1) // 2, height - 1}}
    margin = max(map(len, labels.values()))
    columns = max(8, width - margin - 2)
    widths = _shares([len(values) for values in series], columns - (len(series) - 1))
    across, down = (2, 4) if unicode else (1, 1)
    cells: list[list[list[int]]] = []
    for values, part in zip(series, widths, strict=True):
        cells.append(_draw(values, part, height, low, high, across=across, down=down))
    lines = []
    for row in range(height):
        axis = ("┤" if row in labels else "│") if unicode else ("+" if row in labels else "|")
        gap = "┊" if unicode else ":"
        drawn = gap.join("".join(_glyph(bits, unicode) for bits in part[row]) for part in cells)
        lines.append(f"{labels.get(row, ''):>{margin}} {axis}{drawn}".rstrip())
    rule = "─" if unicode else "-"
    joint = "┴" if unicode else "+"
    lines.append(
        " " * (margin + 1) + ("└" if unicode else "+") + joint.join(rule * w for w in widths)
    )
    names = " ".join(f"{_name(i, part):<{part}}" for i, part in enumerate(widths))
    lines.append((" " * (margin + 2) + names).rstrip())
    return lines


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    least = _LEAST_RANGE * max(abs(low), abs(high)) or 1.0
    if high - low < least:
        middle = (low + high) / 2
        low, high = middle - least / 2, middle + least / 2
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
    values: Sequence[float],
    columns: int,
    rows: int,
    low: float,
    high: float,
    *,
    across: int,
    down: int,
) -> list[list[int]]:
    """Return a bit mask for each cell, [row][column]; neighbours are joined by a line."""
    wide, tall = columns * across, rows * down
    cells = [[0] * columns for _ in range(rows)]
    points = [
        (
            round((wide - 1) * i / (len(values) - 1)) if len(values) > 1 else wide // 2,
            round((tall - 1) * (high - value) / (high - low)),
        )
        for i, value in enumerate(values)
    ]
    for (x0, y0), (x1, y1) in zip(points, points[1:] or points, strict=False):
        length = max(abs(x1 - x0), abs(y1 - y0), 1)
        for part in range(length + 1):
            x = round(x0 + (x1 - x0) * part / length)
            y = round(y0 + (y1 - y0) * part / length)
            bit = _DOTS[y % 4][x % 2] if across == 2 else 1
            cells[y // down][x // across] |= bit
    return cells


def _glyph(bits: int, unicode: bool) -> str:
    if not bits:
        return " "
    return chr(_BRAILLE + bits) if unicode else "*"


def _name(index: int, columns: int) -> str:
    """Name a restart as well as its columns allow."""
    return next(
        (name for name in (f"restart {index + 1}", f"{index + 1}") if len(name) <= columns), ""
    )
