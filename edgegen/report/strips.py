"""Rows of dots with a box of the middle half: how the values of several samples are spread."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgegen.report.svg import (
    AXIS_HEIGHT,
    Markup,
    Scale,
    drawing,
    element,
    horizontal_axis,
    spread_scale,
)

_WIDTH, _ROW_HEIGHT, _TOP = 480.0, 60.0, 8.0
_COLOURS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """A sample: what it is called, and each value with what is said of it."""

    label: str
    values: tuple[tuple[float, str], ...]


def strips(
    rows: Sequence[Strip],
    label: Callable[[float], str],
    *,
    axis: str,
    title: str,
    least_span: float = 0.0,
) -> Markup:
    """Draw a row for each sample; the line in its box is the median. Samples need values.

    The axis spans at least `least_span`, so that differences which nobody sees look small.
    """
    values = [value for row in rows for value, _ in row.values]
    low, high = min(values), max(values)
    if high - low < least_span:
        start = (low + high - least_span) / 2
        start = max(start, 0.0) if low >= 0 else start
        values += [start, start + least_span]
    x = spread_scale(values, 12.0, _WIDTH - 14)
    bottom = _TOP + len(rows) * _ROW_HEIGHT
    parts = [horizontal_axis(x, _TOP, bottom, label, width=_WIDTH, title=axis, count=4)]
    for place, row in enumerate(rows):
        top = _TOP + place * _ROW_HEIGHT
        parts.append(element("text", row.label, x=12.0, y=top + 15, class_="row"))
        parts += _strip(x, top + 38, row, f"s{place % _COLOURS}")
    return drawing(_WIDTH, bottom + AXIS_HEIGHT, *parts, title=title)


def _strip(x: Scale, middle: float, row: Strip, colour: str) -> list[Markup]:
    parts = []
    values = [value for value, _ in row.values]
    if len(values) >= 4:
        first, median, third = statistics.quantiles(values, n=4, method="inclusive")
        box = {"x": x(first), "width": max(1.0, x(third) - x(first)), "height": 22.0}
        line = {"x1": x(median), "x2": x(median), "y1": middle - 11, "y2": middle + 11}
        parts.append(element("rect", **box, y=middle - 11, rx=4, class_=f"box {colour}"))
        parts.append(element("line", **line, class_=f"box {colour}"))
    for index, (value, tip) in enumerate(row.values):
        parts.append(
            element(
                "circle",
                cx=x(value),
                cy=middle + (index * 5 % 9 - 4),  # so that equal values do not hide each other
                r=4.5,
                class_=f"dot {colour}",
                data_tip=tip,
            )
        )
    return parts
