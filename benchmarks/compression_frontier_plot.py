"""Plots size against what pictures keep: a column a target, a row a model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.compression_frontier_report import Frontier, Placed, Reference
from edgegen.core.targets import load_target, target_names
from edgegen.report.svg import Markup, element

FIGURES = ("right", "flip")

_PANEL_WIDTH, _PANEL_HEIGHT = 250.0, 190.0
_LEFT, _TOP, _GAP, _BOTTOM = 52.0, 46.0, 14.0, 46.0
_LEAST_FLIP = 0.001
"""Lower ones are nothing that anybody sees, and are drawn at the edge."""
_SIZES_MB = (2, 5, 10, 20, 50)
_MIX, _UNIFORM, _GRID, _TEXT = "#c2410c", "#475569", "#e2e8f0", "#0f172a"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Figure:
    """What is drawn upwards: of a row, 0…1 within a panel, with the values that get a line."""

    title: str
    place: Callable[[Placed], float]
    ticks: tuple[tuple[float, str], ...]
    of_reference: Callable[[Reference], float] | None = None


def _flip_place(flip: float) -> float:
    """Return 1 for what nobody sees and 0 for a FLIP of 1, by factors."""
    return math.log10(max(flip, _LEAST_FLIP)) / math.log10(_LEAST_FLIP)


_FIGURES = {
    "right": _Figure(
        title="pictures that show all that was asked for",
        place=lambda row: row.right / row.pictures,
        ticks=tuple((share / 100, f"{share} %") for share in (0, 25, 50, 75, 100)),
        of_reference=lambda reference: reference.right / reference.pictures,
    ),
    "flip": _Figure(
        title="FLIP beside diffusers' pictures (by factors; nearer is higher)",
        place=lambda row: _flip_place(row.flip),
        ticks=tuple((_flip_place(it), f"{it:g}") for it in (0.001, 0.01, 0.1, 1)),
    ),
}


def plot(found: Frontier, figure: str) -> str:
    """Return an SVG that stands by itself; `figure` is one of `FIGURES`."""
    kind, targets = _FIGURES[figure], target_names()
    width = _LEFT + len(targets) * (_PANEL_WIDTH + _GAP)
    height = _TOP + len(found.references) * (_PANEL_HEIGHT + _BOTTOM)
    parts = [
        element("rect", x=0, y=0, width=width, height=height, fill="#ffffff"),
        _text(f"Size of packages and {kind.title}", 8, 18, size=14, weight="bold"),
        element("circle", cx=width - 238, cy=13, r=3.5, fill=_UNIFORM),
        _text("recipes", width - 230, 17, size=11),
        element("circle", cx=width - 168, cy=13, r=3.5, fill=_MIX),
        _text("mixes of their sizes", width - 160, 17, size=11),
    ]
    for row, reference in enumerate(found.references):
        for column, target in enumerate(targets):
            x = _LEFT + column * (_PANEL_WIDTH + _GAP)
            y = _TOP + row * (_PANEL_HEIGHT + _BOTTOM)
            parts += _panel(found, reference, target, kind, x, y, is_first=column == 0)
    return element(
        "svg",
        element("title", f"Size of packages and {kind.title}"),
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:g} {height:g}",
        font_family="system-ui, sans-serif",
    )


def _panel(
    found: Frontier,
    reference: Reference,
    target: str,
    kind: _Figure,
    left: float,
    top: float,
    *,
    is_first: bool,
) -> list[Markup]:
    bottom = top + _PANEL_HEIGHT
    low, high = math.log(_SIZES_MB[0]), math.log(_SIZES_MB[-1] * 1.5)

    def across(megabytes: float) -> float:
        return left + (math.log(megabytes) - low) / (high - low) * _PANEL_WIDTH

    def up(place: float) -> float:
        return bottom - 6 - place * (_PANEL_HEIGHT - 12)

    name = reference.model.removeprefix("builtin:")
    parts = [_text(f"{name}, {load_target(target).title}", left + 4, top - 6, size=11)]
    for megabytes in _SIZES_MB:
        x = across(megabytes)
        parts.append(element("line", x1=x, x2=x, y1=top, y2=bottom, stroke=_GRID))
        parts.append(_text(f"{megabytes} MB", x, bottom + 14, size=10, anchor="middle"))
    for place, label in kind.ticks:
        y = up(place)
        parts.append(element("line", x1=left, x2=left + _PANEL_WIDTH, y1=y, y2=y, stroke=_GRID))
        if is_first:
            parts.append(_text(label, left - 6, y + 4, size=10, anchor="end"))
    if kind.of_reference is not None:
        y = up(kind.of_reference(reference))
        parts.append(
            element(
                "line",
                x1=left,
                x2=left + _PANEL_WIDTH,
                y1=y,
                y2=y,
                stroke=_UNIFORM,
                stroke_dasharray="4 3",
            )
        )
    rows = [it for it in found.of(reference.model, target) if it.failure is None]
    places = [(it, across(it.size_bytes / 1e6), up(kind.place(it))) for it in rows]
    mixes = [place for place in places if place[0].mix_of is not None]
    uniform = [place for place in places if place[0].mix_of is None]
    line = " ".join(f"{x:.1f},{y:.1f}" for _, x, y in mixes)
    parts.append(element("polyline", points=line, fill="none", stroke=_MIX, stroke_width=1.2))
    parts += [_dot(it, x, y, _UNIFORM) for it, x, y in uniform]
    parts += [_dot(it, x, y, _MIX) for it, x, y in mixes]
    return [*parts, *_names(uniform, left + _PANEL_WIDTH)]


def _dot(row: Placed, x: float, y: float, colour: str) -> Markup:
    words = f"{row.recipe}: {row.size_bytes / 1e6:.2f} MB, FLIP {row.flip:.4f}, {row.right} right"
    return element("circle", element("title", words), cx=x, cy=y, r=3.5, fill=colour)


def _names(places: Sequence[tuple[Placed, float, float]], end: float) -> list[Markup]:
    """Name dots on their right, or left where there is no room; a name that would overlap is left.

    Every dot says its name when it is pointed at.
    """
    parts: list[Markup] = []
    taken: list[tuple[float, float, float]] = []
    for row, x, y in places:
        width = 4.4 * len(row.recipe)
        start = x + 6 if x + 6 + width < end else x - 6 - width
        if any(abs(y - y2) < 9 and start < b and a < start + width for a, b, y2 in taken):
            continue
        taken.append((start, start + width, y))
        parts.append(_text(row.recipe, start, y + 3, size=8))
    return parts


def _text(
    text: str, x: float, y: float, *, size: int, anchor: str = "start", weight: str | None = None
) -> Markup:
    return element(
        "text",
        text,
        x=x,
        y=y,
        font_size=size,
        text_anchor=anchor,
        font_weight=weight,
        fill=_TEXT,
    )
