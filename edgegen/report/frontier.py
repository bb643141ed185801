"""Candidates in a plane of two figures: a frontier a model, limits as lines, the winner marked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgegen.core.choice import Choice, Row
from edgegen.core.figures import FIGURES, Figure, FigureKind, Limit, Origin
from edgegen.report.choice_text import figure_of, verdict
from edgegen.report.figure_text import format_range, format_value, limit_text, titled
from edgegen.report.svg import (
    AXIS_HEIGHT,
    LETTER,
    Markup,
    axis_title,
    centred,
    drawing,
    element,
    join,
)
from edgegen.report.ticks import nice_ticks

COLOURS = 6
_WIDTH, _TOP, _BOTTOM = 480.0, 34.0, 318.0
_LOG_FROM = 8.0
"""An axis whose largest value is so many times its smallest shows factors, not differences."""
_FARTHEST_BOUND = 1.5
"""A bound that is farther from its value than this factor leaves the plot."""
_FARTHEST = 4.0
"""A limit that is farther beyond the values than this factor is told, not drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Maps a figure onto pixels, by differences or by factors."""

    kind: FigureKind
    low: float
    high: float
    start: float
    end: float
    by_factors: bool

    def __call__(self, value: float) -> float:
        low, high, at = (self._flat(it) for it in (self.low, self.high, value))
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    def clipped(self, value: float) -> float:
        """Return the place of a value, or of the end that it lies beyond."""
        return self(min(max(value, self.low), self.high))

    def ticks(self) -> list[float]:
        """Return round values within the axis."""
        if not self.by_factors:
            return nice_ticks(self.low, self.high, 4)
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for digits in ((1,), (1, 3), (1, 2, 5)):
            found = [digit * 10.0**power for power in powers for digit in digits]
            shown = [value for value in found if self.low <= value <= self.high]
            if len(shown) >= 3:
                return shown
        return nice_ticks(self.low, self.high, 4)

    def _flat(self, value: float) -> float:
        return math.log(value) if self.by_factors else value


def frontier_chart(choice: Choice, rows: Sequence[Row], across: str, up: str) -> Markup | None:
    """Draw the rows whose two figures are known; None for fewer than two.

    `across` and `up` are names of figures. Colours are those of the choice's models, in order.
    """
    drawn = [
        row
        for row in rows
        if figure_of(row, across).value is not None and figure_of(row, up).value is not None
    ]
    if len(drawn) < 2:
        return None
    limits = {limit.figure: limit for limit in choice.limits}
    y = _axis(choice, drawn, limits.get(up), up, _BOTTOM, _TOP)
    labels = [format_value(FIGURES[up], value) for value in y.ticks()]
    left = 14 + LETTER * max(map(len, labels))
    x = _axis(choice, drawn, limits.get(across), across, left, _WIDTH - 14)
    colours = {model: f"s{i % COLOURS}" for i, model in enumerate(models(choice))}
    parts = [
        *_grid(x, y),
        *_limit_lines(x, y, limits.get(across), limits.get(up)),
        *(
            _frontier([row for row in drawn if row.way.model == model], x, y, colours[model])
            for model in models(choice)
        ),
        *(_dot(choice, row, x, y, colours[row.way.model]) for row in drawn),
        *(_star(row, x, y) for row in drawn if row.standing == "winner"),
    ]
    title = f"{titled(across)} and {FIGURES[up].title} of {len(drawn)} candidates"
    return drawing(_WIDTH, _BOTTOM + AXIS_HEIGHT, *parts, title=title)


def models(choice: Choice) -> tuple[str, ...]:
    """Return the models of a choice, in the order of its rows."""
    return tuple(dict.fromkeys(row.way.model for row in choice.rows))


def best(rows: Sequence[Row], across: str, up: str) -> tuple[Row, ...]:
    """Return the rows that no other one is better than in both figures, by the first figure.

    Where a row is better in one figure it may be equal in the other. All need both figures.
    """

    def worth(row: Row) -> tuple[float, float]:
        signs = [1.0 if FIGURES[name].sense == "at most" else -1.0 for name in (across, up)]
        values = [figure_of(row, name).value or 0.0 for name in (across, up)]
        return signs[0] * values[0], signs[1] * values[1]

    found: list[Row] = []
    least = math.inf
    for row in sorted(rows, key=worth):
        if worth(row)[1] < least:
            found.append(row)
            least = worth(row)[1]
    return tuple(found)


def _axis(
    choice: Choice, rows: Sequence[Row], limit: Limit | None, name: str, start: float, end: float
) -> Axis:
    """Return an axis that covers the rows; all of a figure are by factors, or none is."""
    kind = FIGURES[name]
    low, high = _range(rows, name, with_bounds=True)
    least, most = _range(choice.rows, name)
    by_factors = kind.sense == "at most" and least > 0 and most / least >= _LOG_FROM
    if limit is not None and _is_near(limit.value, low, high):
        low, high = min(low, limit.value), max(high, limit.value)
    if by_factors:
        air = max((high / low) ** 0.07, 1.05)
        low, high = low / air, high * air
    else:
        air = max(0.09 * (high - low), 0.02 * max(abs(low), abs(high)), 1e-9)
        low, high = low - air, high + air
        if kind.sense == "at most":
            low = max(low, 0.0)
    return Axis(kind=kind, low=low, high=high, start=start, end=end, by_factors=by_factors)


def _range(rows: Sequence[Row], name: str, *, with_bounds: bool = False) -> tuple[float, float]:
    """Return the least and most of a figure; bounds count up to `_FARTHEST_BOUND` times."""
    known = [it for row in rows if (it := figure_of(row, name)).value is not None]
    values = [it.value or 0.0 for it in known]
    if with_bounds:
        for it, value in zip(known, tuple(values), strict=True):
            if it.low is not None and it.high is not None:
                values.append(max(it.low, value / _FARTHEST_BOUND))
                values.append(min(it.high, value * _FARTHEST_BOUND))
    return min(values), max(values)


def _is_near(limit: float, low: float, high: float) -> bool:
    return low / _FARTHEST <= limit <= high * _FARTHEST


def _grid(x: Axis, y: Axis) -> list[Markup]:
    parts: list[Markup] = [axis_title(y.kind.title, 14)]
    for value in y.ticks():
        at = y(value)
        parts.append(element("line", x1=x.start, x2=x.end, y1=at, y2=at, class_="grid"))
        text = format_value(y.kind, value)
        parts.append(
            element("text", text, x=x.start - 8, y=at + 4, text_anchor="end", class_="tick")
        )
    taken = -math.inf
    for value in x.ticks():
        at, text = x(value), format_value(x.kind, value)
        parts.append(element("line", x1=at, x2=at, y1=_TOP, y2=_BOTTOM, class_="grid"))
        half = LETTER * len(text) / 2
        if at - half > taken:
            parts.append(centred(text, at, _BOTTOM + 17, width=_WIDTH))
            taken = at + half
    factors = " (by factors)" if x.by_factors else ""
    parts.append(axis_title(f"{x.kind.title}{factors}", _BOTTOM + 37, x=x.start))
    return parts


def _limit_lines(x: Axis, y: Axis, across: Limit | None, up: Limit | None) -> list[Markup]:
    """Draw what lies beyond a limit as a shade, and the limit as a line with its words."""
    parts: list[Markup] = []
    if across is not None and x.low <= across.value <= x.high:
        at = x(across.value)
        start, end = (at, x.end) if across.kind.sense == "at most" else (x.start, at)
        parts.append(_shade(start, _TOP, end - start, _BOTTOM - _TOP))
        parts.append(element("line", x1=at, x2=at, y1=_TOP, y2=_BOTTOM, class_="limit"))
        parts.append(_limit_label(across, min(at - 6, x.end), _TOP - 6, "end", x.start))
    if up is not None and y.low <= up.value <= y.high:
        at = y(up.value)
        top, bottom = (_TOP, at) if up.kind.sense == "at most" else (at, _BOTTOM)
        parts.append(_shade(x.start, top, x.end - x.start, bottom - top))
        parts.append(element("line", x1=x.start, x2=x.end, y1=at, y2=at, class_="limit"))
        parts.append(_limit_label(up, x.end - 2, at - 6, "end", x.start))
    return parts


def _limit_label(limit: Limit, x: float, y: float, anchor: str, least: float) -> Markup:
    text = limit_text(limit).removeprefix(f"{limit.kind.title} ")
    if x - LETTER * len(text) < least:
        x, anchor = x + 12, "start"
    return element("text", text, x=x, y=y, text_anchor=anchor, class_="limit-label")


def _shade(x: float, y: float, width: float, height: float) -> Markup:
    return element("rect", x=x, y=y, width=width, height=height, class_="beyond")


def _frontier(rows: Sequence[Row], x: Axis, y: Axis, colour: str) -> Markup:
    """Draw steps between the best rows of a model: what lies behind them is worse in both."""
    if len(rows) < 2:
        return Markup("")
    points: list[str] = []
    before: float | None = None
    for row in best(rows, x.kind.name, y.kind.name):
        across, up = _place(row, x, y)
        if before is not None:
            points.append(f"{across:.1f},{before:.1f}")
        points.append(f"{across:.1f},{up:.1f}")
        before = up
    return element("polyline", points=" ".join(points), class_=f"frontier {colour}")


def _dot(choice: Choice, row: Row, x: Axis, y: Axis, colour: str) -> Markup:
    across, up = figure_of(row, x.kind.name), figure_of(row, y.kind.name)
    at = _place(row, x, y)
    lesser = "" if row.standing in ("winner", "fits") else " lesser"
    words = [f"{row.way.name}: {verdict(choice, row)}"]
    words += [_told(axis.kind, figure) for axis, figure in ((x, across), (y, up))]
    parts = []
    for axis, figure, is_across in ((x, across, True), (y, up, False)):
        if figure.low is not None and figure.high is not None and figure.low < figure.high:
            ends = axis.clipped(figure.low), axis.clipped(figure.high)
            place = (
                {"x1": ends[0], "x2": ends[1], "y1": at[1], "y2": at[1]}
                if is_across
                else {"x1": at[0], "x2": at[0], "y1": ends[0], "y2": ends[1]}
            )
            parts.append(element("line", **place, class_=f"whisker {colour}{lesser}"))
    parts.append(
        symbol(
            _worse_origin(across.origin, up.origin), *at, f"{colour}{lesser}", tip="; ".join(words)
        )
    )
    return join(parts)


def _star(row: Row, x: Axis, y: Axis) -> Markup:
    """Ring a winner, and name it."""
    across, up = _place(row, x, y)
    text = f"{row.way.target} {row.way.recipe}"
    room = LETTER * len(text) + 14
    left = across + room > x.end
    label = element(
        "text",
        text,
        x=max(x.start + room - 14, across - 14) if left else across + 14,
        y=up - 10 if up - 24 > _TOP else up + 22,
        text_anchor="end" if left else "start",
        class_="winner-label",
    )
    return join([element("circle", cx=across, cy=up, r=10.0, class_="winner-ring"), label])


def symbol(origin: Origin, x: float, y: float, colour: str, *, tip: str | None = None) -> Markup:
    """Draw where a value comes from: a dot was measured, a ring predicted, a diamond elsewhere."""
    if origin == "measured elsewhere":
        points = f"{x:.1f},{y - 6:.1f} {x + 6:.1f},{y:.1f} {x:.1f},{y + 6:.1f} {x - 6:.1f},{y:.1f}"
        return element("polygon", points=points, class_=f"open {colour}", data_tip=tip)
    kind = "dot" if origin == "measured" else "open"
    return element("circle", cx=x, cy=y, r=5.0, class_=f"{kind} {colour}", data_tip=tip)


def _place(row: Row, x: Axis, y: Axis) -> tuple[float, float]:
    across, up = (figure_of(row, axis.kind.name).value or 0.0 for axis in (x, y))
    return x(across), y(up)


def _told(kind: FigureKind, figure: Figure) -> str:
    spread = format_range(kind, figure)
    within = f" ({spread})" if spread else ""
    return f"{kind.title} {format_value(kind, figure.value)}{within}, {figure.origin}"


def _worse_origin(*origins: Origin) -> Origin:
    order: tuple[Origin, ...] = ("unknown", "predicted", "measured elsewhere", "measured")
    return min(origins, key=order.index)
