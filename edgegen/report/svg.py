"""Builds HTML and SVG elements; whatever text goes in is escaped.

Only what `element` returned is markup: a plain `str` is text, whoever wrote it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape

from edgegen.report.ticks import nice_ticks

_VOID = frozenset(
    {
        *("br", "hr", "img", "meta", "link"),
        *("rect", "line", "circle", "path", "polyline", "polygon"),
    }
)

LETTER = 8.8
"""About the width of a letter on a narrow screen, whose texts are larger (`page.css`)."""
AXIS_HEIGHT = 44.0
"""What a horizontal axis takes below its line."""

Attribute = str | int | float | None


class Markup(str):
    """Text that is HTML or SVG already, and is not escaped again."""

    __slots__ = ()


def element(tag: str, *children: str | Markup, **attributes: Attribute) -> Markup:
    """Return one element. `class_` is written `class`, `stroke_width` `stroke-width`.

    Attributes that are None are left out; numbers keep two decimals.
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in _VOID and not children:
        return Markup(f"<{tag}{written}/>")
    return Markup(f"<{tag}{written}>{join(children)}</{tag}>")


def join(parts: tuple[str | Markup, ...] | list[str | Markup] | list[Markup]) -> Markup:
    """Join markup and text; the text is escaped."""
    return Markup(
        "".join(part if isinstance(part, Markup) else escape(part, quote=True) for part in parts)
    )


def _attribute(value: Attribute) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return escape(str(value), quote=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Maps values from `low` to `high` onto pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        """Return about `count` round values within the scale."""
        return nice_ticks(self.low, self.high, count)


def spread_scale(values: list[float], start: float, end: float, *, least: float = 0.04) -> Scale:
    """Return a scale that covers all values, padded, and spans at least the share `least` of them.

    So a quiet series is not blown up until its noise looks wild.
    """
    low, high = min(values), max(values)
    wanted = max(least * max(abs(low), abs(high)), 1e-9)
    air = max(0.06 * (high - low), (wanted - (high - low)) / 2, 0.0)
    return Scale(low=low - air, high=high + air, start=start, end=end)


def drawing(width: float, height: float, *children: Markup, title: str) -> Markup:
    """Return an SVG that fills its column, with a title for those who cannot see it."""
    return element(
        "svg",
        element("title", title),
        *children,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        class_="chart",
    )


def horizontal_axis(
    scale: Scale,
    top: float,
    bottom: float,
    label: Callable[[float], str],
    *,
    width: float,
    title: str,
    count: int = 6,
) -> Markup:
    """Return grid lines with their labels below, and the axis's title below these.

    `width` is the drawing's: no label is cut at its edges. It all ends at `bottom + AXIS_HEIGHT`.
    """
    parts: list[Markup] = []
    for value in scale.ticks(count):
        x = scale(value)
        parts.append(element("line", x1=x, x2=x, y1=top, y2=bottom, class_="grid"))
        parts.append(centred(label(value), x, bottom + 17, width=width))
    parts.append(axis_title(title, bottom + 37, x=scale.start))
    return join(parts)


def vertical_axis(
    scale: Scale, left: float, right: float, label: Callable[[float], str], *, count: int = 5
) -> Markup:
    """Return grid lines with their labels on the left."""
    parts: list[Markup] = []
    for value in scale.ticks(count):
        y = scale(value)
        parts.append(element("line", x1=left, x2=right, y1=y, y2=y, class_="grid"))
        parts.append(
            element("text", label(value), x=left - 8, y=y + 4, text_anchor="end", class_="tick")
        )
    return join(parts)


def axis_title(text: str, y: float, *, x: float = 0.0) -> Markup:
    """Return the title of an axis, which begins at its left: there it is seen before scrolling."""
    return element("text", text, x=x, y=y, class_="axis-title")


def centred(text: str, x: float, y: float, *, width: float) -> Markup:
    """Return a label below a point; where it would be cut at an edge, it ends there."""
    half = LETTER * len(text) / 2
    anchor = "middle"
    if x + half > width:
        x, anchor = width - 1, "end"
    elif x - half < 0:
        x, anchor = 1.0, "start"
    return element("text", text, x=x, y=y, text_anchor=anchor, class_="tick")
