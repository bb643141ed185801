"""Draws a sustained run as one SVG: panels below each other on one time axis, without scripts."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from edgegen.core.units import format_moment
from edgegen.report.sustained import ratio_texts
from edgegen.report.svg import (
    AXIS_HEIGHT,
    LETTER,
    Markup,
    Scale,
    axis_title,
    centred,
    drawing,
    element,
    join,
    spread_scale,
    vertical_axis,
)
from edgegen.report.ticks import tick_moment, time_ticks
from edgegen.report.timeline import (
    FlagRow,
    Mark,
    Panel,
    Points,
    Timeline,
    binned,
    value_at,
    without_gaps,
)

MOST_DOTS = 1500
"""More steps than this are drawn as medians with the middle 80 % behind them."""

_WIDTH, _LEFT, _RIGHT = 960.0, 92.0, 944.0
_TOP = 30.0
_STEP_HEIGHT, _SENSOR_HEIGHT, _TITLE_HEIGHT, _FLAG_HEIGHT = 180.0, 84.0, 26.0, 32.0
_MOST_FLAGS = 8
_MEDIANS = 300
_READ_COLUMNS = 170
_TOP_SHARE = 0.995
"""The scale of the steps holds this share of them; the longest lie on its upper edge."""
_COLOURS = {"temperature": (1, 3, 5), "clock": (2, 4, 5), "power": (3, 1, 5)}
_LABEL_WIDTH = 190.0
_BOLD = 10.2
"""About the width of a letter in the titles."""


def time_chart(timeline: Timeline) -> Markup:
    """Draw step latency, temperature, clock, power and flags over the time of a sustained run."""
    x = Scale(low=0.0, high=timeline.end_s, start=_LEFT, end=_RIGHT)
    flags = timeline.flags[:_MOST_FLAGS]
    y = _TOP
    drawn: list[Markup] = []
    for panel in (timeline.steps, *timeline.sensors):
        if panel.lines:
            is_steps = panel is timeline.steps
            top = y + _TITLE_HEIGHT
            bottom = top + (_STEP_HEIGHT if is_steps else _SENSOR_HEIGHT)
            drawn.append(_title(panel, y + 18))
            draw = _steps(timeline, x, top, bottom) if is_steps else _lines(panel, x, top, bottom)
            drawn.append(draw)
            y = bottom
    for row in flags:
        drawn.append(_flag_row(row, x, y + 8, timeline.end_s))
        y += _FLAG_HEIGHT
    if flags:
        y += 12
    behind = [_time_axis(x, y), _warmup(timeline, x, y), _onset_band(timeline, x, y)]
    columns = _read_columns(timeline, x, y)
    return drawing(
        _WIDTH,
        y + AXIS_HEIGHT,
        *behind,
        columns,
        *drawn,
        *_marks(timeline, x, y),
        title="Step latency and sensors over the time of the sustained run",
    )


def _title(panel: Panel, y: float) -> Markup:
    """Return the panel's name and, where it has lines of sensors, these in their colours."""
    parts: list[Markup] = [element("text", panel.title, x=_LEFT, y=y, class_="panel")]
    start = _LEFT + 14 + _BOLD * len(panel.title)
    for line, colour in zip(panel.lines, _COLOURS.get(panel.title, ()), strict=False):
        parts.append(
            element("rect", x=start, y=y - 9, width=10.0, height=10.0, rx=2, class_=_part(colour))
        )
        parts.append(element("text", line.name, x=start + 15, y=y, class_="tick"))
        start += 15 + LETTER * len(line.name) + 16
    return join(parts)


def _steps(timeline: Timeline, x: Scale, top: float, bottom: float) -> Markup:
    points = timeline.steps.lines[0].points
    values = sorted(value for _, value in points)
    usual = values[: max(1, round(_TOP_SHARE * len(values)))]
    y = spread_scale(usual, bottom - 4, top + 4)
    parts = [vertical_axis(y, _LEFT, _RIGHT, timeline.steps.label, count=4)]
    if len(points) <= MOST_DOTS:
        parts += [
            element("circle", cx=x(at), cy=y(min(value, y.high)), r=1.8, class_="step")
            for at, value in points
        ]
    else:
        parts += _medians(points, timeline.end_s, x, y)
    if timeline.level:
        parts.append(_polyline(timeline.level, x, y, "level"))
    return join(parts)


def _medians(points: Points, end_s: float, x: Scale, y: Scale) -> list[Markup]:
    edges = [end_s * i / _MEDIANS for i in range(_MEDIANS + 1)]
    middle, low, high = [], [], []
    for index, values in sorted(binned(points, edges).items()):
        at = (edges[index] + edges[index + 1]) / 2
        tenths = statistics.quantiles([*values, *values[:1]], n=10, method="inclusive")
        middle.append((at, statistics.median(values)))
        low.append((at, tenths[0]))
        high.append((at, min(tenths[-1], y.high)))
    band = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in [*low, *reversed(high)])
    return [
        element("polygon", points=band, class_="spread"),
        *(_polyline(part, x, y, "line s0") for part in without_gaps(tuple(middle))),
    ]


def _lines(panel: Panel, x: Scale, top: float, bottom: float) -> Markup:
    values = [value for line in panel.lines for _, value in line.points]
    y = spread_scale(values, bottom - 4, top + 4)
    parts = [vertical_axis(y, _LEFT, _RIGHT, panel.label, count=3)]
    pairs = list(zip(panel.lines, _COLOURS[panel.title], strict=False))
    for line, colour in reversed(pairs):  # the first one on top
        parts += [
            _polyline(part, x, y, f"line s{colour} strong") for part in without_gaps(line.points)
        ]
    return join(parts)


def _flag_row(row: FlagRow, x: Scale, y: float, last_s: float) -> Markup:
    parts = [
        element("text", row.name, x=_LEFT, y=y + 10, class_="tick"),
        element("line", x1=_LEFT, x2=_RIGHT, y1=y + 21, y2=y + 21, class_="grid"),
    ]
    for span in row.spans:
        end_s = min(span.end_s, last_s)
        parts.append(
            element(
                "rect",
                x=x(min(span.start_s, last_s)),
                y=y + 15,
                width=max(3.0, x(end_s) - x(span.start_s)),
                height=12.0,
                rx=3,
                class_="flag",
                data_tip=(
                    f"{span.text}: {format_moment(span.start_s)} … {format_moment(span.end_s)}"
                ),
            )
        )
    return join(parts)


def _time_axis(x: Scale, bottom: float) -> Markup:
    parts: list[Markup] = []
    for time_s in time_ticks(x.high, 8):
        at = x(time_s)
        parts.append(element("line", x1=at, x2=at, y1=_TOP, y2=bottom, class_="grid"))
        parts.append(centred(tick_moment(time_s), at, bottom + 18, width=_WIDTH))
    parts.append(axis_title("time since the start of the first image", bottom + 37, x=_LEFT))
    parts.append(element("line", x1=_LEFT, x2=_RIGHT, y1=bottom, y2=bottom, class_="axis"))
    return join(parts)


def _warmup(timeline: Timeline, x: Scale, bottom: float) -> Markup:
    if timeline.warmup_end_s <= 0:
        return Markup("")
    return element(
        "rect",
        x=x(0),
        y=_TOP,
        width=x(timeline.warmup_end_s) - x(0),
        height=bottom - _TOP,
        class_="warmup",
    )


def _onset_band(timeline: Timeline, x: Scale, bottom: float) -> Markup:
    mark = timeline.onset
    if mark is None:
        return Markup("")
    left, right = x(max(mark.low_s, 0.0)), x(min(mark.high_s, timeline.end_s))
    return element(
        "rect",
        x=left,
        y=_TOP,
        width=max(2.0, right - left),
        height=bottom - _TOP,
        class_="onset-band",
    )


def _marks(timeline: Timeline, x: Scale, bottom: float) -> list[Markup]:
    """Return a line for each change; the onset and, where there is room, others are labelled."""
    drawn: list[Markup] = []
    taken: list[float] = []
    reported = [] if timeline.onset is None else [timeline.onset]
    for mark in [*reported, *timeline.others]:
        kind = "onset" if mark in reported else "change"
        at = x(mark.time_s)
        onset, low, high = map(format_moment, (mark.time_s, mark.low_s, mark.high_s))
        tip = f"from {onset} ({low} … {high}) on"
        drawn.append(
            element(
                "line",
                x1=at,
                x2=at,
                y1=_TOP - 8,
                y2=bottom,
                class_=kind,
                data_tip=f"{_label(mark)}, {tip}",
            )
        )
        if all(abs(at - other) > _LABEL_WIDTH for other in taken):
            taken.append(at)
            is_right = at + _LABEL_WIDTH < _RIGHT
            drawn.append(
                element(
                    "text",
                    _label(mark),
                    x=at + 7 if is_right else at - 7,
                    y=_TOP - 9,
                    text_anchor="start" if is_right else "end",
                    class_=f"{kind}-label",
                )
            )
    return drawn


def _label(mark: Mark) -> str:
    middle, low, high = ratio_texts(mark.ratio, mark.ratio_low, mark.ratio_high)
    return f"steps × {middle} ({low} … {high})"


def _read_columns(timeline: Timeline, x: Scale, bottom: float) -> Markup:
    """Return columns that say, where the pointer is, what every panel shows there."""
    edges = [timeline.end_s * i / _READ_COLUMNS for i in range(_READ_COLUMNS + 1)]
    within_s = max(2.0, edges[1])
    steps = binned(timeline.steps.lines[0].points, edges) if timeline.steps.lines else {}
    columns = []
    for index in range(_READ_COLUMNS):
        at = (edges[index] + edges[index + 1]) / 2
        said = ["the warm-up image"] if at < timeline.warmup_end_s else []
        said += _said_steps(steps.get(index, ()), timeline.steps)
        said += [
            f"{line.name} {panel.label(value)}"
            for panel in timeline.sensors
            for line in panel.lines
            if (value := value_at(line, at, within_s)) is not None
        ]
        columns.append(
            element(
                "rect",
                x=x(edges[index]),
                y=_TOP,
                width=x(edges[index + 1]) - x(edges[index]),
                height=bottom - _TOP,
                class_="read",
                data_tip=f"{format_moment(at)}: {', '.join(said) or 'nothing was read'}",
            )
        )
    return join(columns)


def _said_steps(values: Sequence[float], panel: Panel) -> list[str]:
    if not values:
        return []
    text = f"step {panel.label(statistics.median(values))}"
    if len(values) > 1:
        text += f" (median of {len(values)}, longest {panel.label(max(values))})"
    return [text]


def _polyline(
    points: Points | Sequence[tuple[float, float]], x: Scale, y: Scale, kind: str
) -> Markup:
    written = " ".join(f"{x(at):.1f},{y(min(value, y.high)):.1f}" for at, value in points)
    return element("polyline", points=written, class_=kind)


def _part(colour: int) -> str:
    return f"part s{colour}"
