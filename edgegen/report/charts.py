"""The charts of a measurement, as inline SVG without scripts; colours are the page's classes."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from edgegen.core.measurement import Run
from edgegen.core.units import format_bytes, format_latency, three_digits
from edgegen.report.sensor_names import SensorName, sensor_name
from edgegen.report.svg import (
    AXIS_HEIGHT,
    LETTER,
    Markup,
    Scale,
    axis_title,
    centred,
    drawing,
    element,
    horizontal_axis,
    join,
    spread_scale,
    vertical_axis,
)
from edgegen.statistics.series import Series

_WIDTH = 960.0
_LEFT = 110.0
_COLOURS = 6


def strip_chart(series: Series) -> Markup:
    """Draw each value as a dot in its restart's row, with a box of the middle half.

    The band over all rows is the 95 % interval of the median, the line in it the median.
    """
    rows = len(series.restarts)
    top, row_height = 14.0, 46.0
    bottom = top + rows * row_height
    x = spread_scale(list(series.values), _LEFT, _WIDTH - 20)
    title = f"latency of a {series.title.lower()}"
    parts = [horizontal_axis(x, top, bottom, format_latency, width=_WIDTH, title=title)]
    interval = series.summary.interval
    if interval is not None:
        low, high = max(interval.low, x.low), min(interval.high, x.high)
        parts.append(
            element(
                "rect",
                x=x(low),
                y=top,
                width=max(1.0, x(high) - x(low)),
                height=bottom - top,
                class_="band",
                data_tip="95 % interval of the median: "
                f"{format_latency(interval.low)} … {format_latency(interval.high)}",
            )
        )
    middle = x(series.summary.median)
    parts.append(element("line", x1=middle, x2=middle, y1=top, y2=bottom, class_="median"))
    for row, values in enumerate(series.restarts):
        y = top + (row + 0.5) * row_height
        colour = f"s{row % _COLOURS}"
        parts.append(
            element(
                "text", f"restart {row + 1}", x=_LEFT - 12, y=y + 4, text_anchor="end", class_="row"
            )
        )
        if len(values) >= 4:
            first, median, third = statistics.quantiles(values, n=4, method="inclusive")
            parts.append(
                element(
                    "rect",
                    x=x(first),
                    y=y - 11,
                    width=max(1.0, x(third) - x(first)),
                    height=22.0,
                    rx=4,
                    class_=f"box {colour}",
                )
            )
            parts.append(
                element(
                    "line", x1=x(median), x2=x(median), y1=y - 11, y2=y + 11, class_=f"box {colour}"
                )
            )
        for index, value in enumerate(values):
            parts.append(
                element(
                    "circle",
                    cx=x(value),
                    cy=y + (index * 5 % 9 - 4),  # so that equal values do not hide each other
                    r=4.5,
                    class_=f"dot {colour}",
                    data_tip=f"restart {row + 1}, image {index + 1}: {format_latency(value)}",
                )
            )
    title = f"{series.title}: each value by restart"
    return drawing(_WIDTH, bottom + AXIS_HEIGHT, *parts, title=title)


def time_series(series: Series, *, images: Sequence[int] = ()) -> Markup:
    """Draw the values in the order in which they were measured, each restart in its colour.

    `images` counts the images of each restart: thin marks stand between them.
    """
    top, bottom, left = 34.0, 264.0, 84.0
    count = len(series.values)
    y = spread_scale(list(series.values), bottom, top)
    x = Scale(low=-0.5, high=count - 0.5, start=left, end=_WIDTH - 16)
    parts = [
        axis_title(f"latency of a {series.title.lower()}", 14),
        vertical_axis(y, left, _WIDTH - 16, format_latency),
    ]
    offset = 0
    for row, values in enumerate(series.restarts):
        colour = f"s{row % _COLOURS}"
        edge, end = x(offset - 0.5), x(offset + len(values) - 0.5)
        if row:
            parts.append(element("line", x1=edge, x2=edge, y1=top, y2=bottom, class_="divider"))
        for mark in range(1, images[row] if row < len(images) else 0):
            place = x(offset + mark * len(values) / images[row] - 0.5)
            parts.append(
                element("line", x1=place, x2=place, y1=bottom - 6, y2=bottom, class_="axis")
            )
        points = " ".join(f"{x(offset + i):.1f},{y(v):.1f}" for i, v in enumerate(values))
        parts.append(element("polyline", points=points, class_=f"line {colour}"))
        radius = 3.0 if count <= 400 else 1.5
        for index, value in enumerate(values):
            parts.append(
                element(
                    "circle",
                    cx=x(offset + index),
                    cy=y(value),
                    r=radius,
                    class_=f"dot {colour}",
                    data_tip=f"restart {row + 1}, {series.title.lower()} {index + 1}: "
                    f"{format_latency(value)}",
                )
            )
        parts.append(centred(f"restart {row + 1}", (edge + end) / 2, bottom + 18, width=_WIDTH))
        offset += len(values)
    parts.append(element("line", x1=left, x2=_WIDTH - 16, y1=bottom, y2=bottom, class_="axis"))
    title = "in the order measured"
    parts.append(axis_title(title, bottom + 37, x=left))
    return drawing(_WIDTH, bottom + AXIS_HEIGHT, *parts, title=f"{series.title}: {title}")


def stacked_bars(rows: Sequence[tuple[str, Sequence[tuple[str, float]]]], *, title: str) -> Markup:
    """Draw bars of parts in seconds: `(row, ((part, seconds), …))`, on one axis from 0."""
    names = list(dict.fromkeys(name for _, parts in rows for name, _ in parts))
    longest = max(sum(value for _, value in parts) for _, parts in rows)
    top, row_height = 34.0, 46.0
    bottom = top + len(rows) * row_height
    x = Scale(low=0, high=longest * 1.02 or 1.0, start=_LEFT, end=_WIDTH - 20)
    axis = horizontal_axis(x, top, bottom, format_latency, width=_WIDTH, title="time")
    drawn = [_legend(names, _LEFT, 14), axis]
    for index, (row, parts) in enumerate(rows):
        y = top + index * row_height + 9
        drawn.append(element("text", row, x=_LEFT - 12, y=y + 18, text_anchor="end", class_="row"))
        total, start = sum(value for _, value in parts), 0.0
        for name, value in parts:
            width = x(start + value) - x(start)
            share = f" ({100 * value / total:.1f} %)" if total else ""
            drawn.append(
                element(
                    "rect",
                    x=x(start),
                    y=y,
                    width=max(0.5, width - 1),
                    height=28.0,
                    rx=3,
                    class_=f"part s{names.index(name) % _COLOURS}",
                    data_tip=f"{row}, {name.lower()}: {format_latency(value)}{share}",
                )
            )
            if width > 9.5 * len(format_latency(value)) + 8:
                drawn.append(
                    element(
                        "text",
                        format_latency(value),
                        x=x(start) + width / 2,
                        y=y + 19,
                        text_anchor="middle",
                        class_="inside",
                    )
                )
            start += value
    return drawing(_WIDTH, bottom + AXIS_HEIGHT, *drawn, title=title)


def size_bars(rows: Sequence[tuple[str, int]], *, label: str) -> Markup:
    """Draw sizes in bytes as bars, each with its name above it and its figure behind it."""
    row_height, top = 46.0, 6.0
    x = Scale(low=0, high=max(value for _, value in rows) or 1, start=0, end=340)
    drawn = []
    for index, (name, value) in enumerate(rows):
        y = top + index * row_height
        drawn.append(element("text", name, x=0, y=y + 12, class_="row"))
        drawn.append(
            element(
                "rect",
                x=0,
                y=y + 18,
                width=max(2.0, x(value)),
                height=16.0,
                rx=3,
                class_="part s0",
                data_tip=f"{name}: {format_bytes(value)}",
            )
        )
        drawn.append(
            element("text", format_bytes(value), x=x(value) + 8, y=y + 31, class_="figure")
        )
    return drawing(430, top + len(rows) * row_height, *drawn, title=label)


def sensor_charts(runs: Sequence[Run]) -> tuple[tuple[str, Markup], ...]:
    """Draw each sensor that changed over the time of the measurement, a line for each process.

    Samples without an answer leave no point.
    """
    readings: dict[str, list[list[tuple[float, float]]]] = {}
    for run in runs:
        names = {name for sample in run.sensors for name in sample.values}
        for name in names:
            points = [
                (run.started_s + sample.time_s, value)
                for sample in run.sensors
                if (value := sample.values.get(name)) is not None
            ]
            if points:
                readings.setdefault(name, []).append(points)
    return tuple(
        (name, _sensor_chart(sensor_name(name), lines))
        for name, lines in sorted(readings.items())
        if len({value for line in lines for _, value in line}) > 1
    )


def _sensor_chart(name: SensorName, lines: Sequence[Sequence[tuple[float, float]]]) -> Markup:
    label = three_digits if name.unit else format_bytes
    points = [point for line in lines for point in line]
    times = [time for time, _ in points]
    top, bottom = (30.0 if name.unit else 10.0), 130.0
    y = spread_scale([value for _, value in points], bottom, top, least=0.02)
    width, left = 460.0, 14 + LETTER * max(len(label(value)) for value in y.ticks(3))
    x = Scale(low=min(times), high=max(max(times), min(times) + 1), start=left, end=width - 10)
    title = "time since the start of the measurement"
    drawn = [
        vertical_axis(y, left, width - 10, label, count=3),
        horizontal_axis(x, top, bottom, format_latency, width=width, title=title, count=4),
    ]
    if name.unit:
        drawn.append(axis_title(name.unit, 14))
    drawn += [
        element(
            "polyline",
            points=" ".join(f"{x(time):.1f},{y(value):.1f}" for time, value in line),
            class_="line s0",
        )
        for line in lines
    ]
    if len(points) <= 200:
        drawn += [
            element(
                "circle",
                cx=x(time),
                cy=y(value),
                r=2.5,
                class_="dot s0",
                data_tip=(
                    f"{name.title} after {format_latency(time)}: {label(value)} {name.unit}"
                ).strip(),
            )
            for time, value in points
        ]
    return drawing(width, bottom + AXIS_HEIGHT, *drawn, title=name.title)


def _legend(names: Sequence[str], left: float, y: float) -> Markup:
    parts: list[Markup] = []
    x = left
    for index, name in enumerate(names):
        colour = f"part s{index % _COLOURS}"
        parts.append(element("rect", x=x, y=y - 10, width=12.0, height=12.0, rx=3, class_=colour))
        parts.append(element("text", name, x=x + 18, y=y, class_="tick"))
        x += 18 + LETTER * len(name) + 22
    return join(parts)
