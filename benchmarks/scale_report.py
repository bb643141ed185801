"""The result of `scale.py`: as a value, as a page of text, and as a plot."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from benchmarks.machine import Machine
from edgegen.report.svg import Markup, element

_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP, _BOTTOM = 380.0, 250.0, 60.0, 44.0, 80.0, 44.0
_COLOURS = ("#c2410c", "#475569", "#0f766e", "#7c3aed", "#b45309", "#1d4ed8", "#be123c", "#4d7c0f")
_GRID, _TEXT = "#e2e8f0", "#0f172a"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One image of a model, square, of `pixels` a side; memory is the highest sum of PSS."""

    model: str
    way: str
    pixels: int
    steps: int
    image_s: float | None
    image_cpu_s: float | None
    peak_bytes: int | None
    peak_anonymous_bytes: int | None
    failure: str | None = None

    @property
    def key(self) -> tuple[str, str, int]:
        """Return what a later measurement of the same replaces."""
        return self.model, self.way, self.pixels

    @property
    def words(self) -> str:
        """Return what was found, in a line."""
        if self.failure is not None or self.image_s is None:
            return f"  {self.failure}"
        return f"  {self.image_s:.2f} s, {(self.peak_bytes or 0) / 1e6:.0f} MB"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """All points that were measured."""

    machine: Machine
    points: tuple[Point, ...]
    note: str = ""

    def with_more(self, later: Scale) -> Scale:
        """Return this with what was measured later, in its place where it was measured again."""
        points = {it.key: it for it in (*self.points, *later.points)}
        return replace(later, points=tuple(points.values()))

    def lines(self) -> Iterator[tuple[str, Sequence[Point]]]:
        """Yield the points of each model and way, by size."""
        for name in dict.fromkeys((it.model, it.way) for it in self.points):
            its = [it for it in self.points if (it.model, it.way) == name and it.failure is None]
            yield ", ".join(name), sorted(its, key=lambda it: it.pixels)


def markdown(found: Scale) -> str:
    """Return the points as a page of text."""
    lines = [
        "# Time and memory against size",
        "",
        f"{found.machine.describe()}. {found.note}".strip(),
        "",
        "| model | way | pixels | steps | image s | CPU s | peak MB | anonymous MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for point in sorted(found.points, key=lambda it: (it.model, it.way, it.pixels)):
        head = f"| {point.model} | {point.way} | {point.pixels} | {point.steps} |"
        if point.failure is not None or point.image_s is None:
            lines.append(f"{head} {point.failure} | | | |")
            continue
        lines.append(
            f"{head} {point.image_s:.2f} | {point.image_cpu_s:.2f} | {_mb(point.peak_bytes)} | "
            f"{_mb(point.peak_anonymous_bytes)} |"
        )
    lines += [
        "",
        "The second image of a process, alone on the machine: text, guided steps, decoding. Memory",
        "is the highest sum of PSS since the process began, file pages included.",
    ]
    return "\n".join(lines) + "\n"


def _mb(value: int | None) -> str:
    return "unknown" if value is None else f"{value / 1e6:.0f}"


def plot(found: Scale) -> str:
    """Return an SVG of time and of memory against the side of a picture, both by factors."""
    lines = [(name, points) for name, points in found.lines() if points]
    width = _LEFT + 2 * _WIDTH + _GAP + 20
    height = _TOP + _HEIGHT + _BOTTOM + 15 * len(lines) + 10
    parts = [
        element("rect", x=0, y=0, width=width, height=height, fill="#ffffff"),
        *_panel("an image, s", lines, lambda it: it.image_s or 0.0, _LEFT),
        *_panel(
            "highest memory, MB",
            lines,
            lambda it: (it.peak_bytes or 0) / 1e6,
            _LEFT + _WIDTH + _GAP,
        ),
    ]
    for number, (name, _) in enumerate(lines):
        y = _TOP + _HEIGHT + _BOTTOM + 15 * number
        parts.append(element("circle", cx=_LEFT + 4, cy=y - 4, r=3.5, fill=_colour(number)))
        parts.append(_text(name, _LEFT + 14, y))
    return element(
        "svg",
        element("title", "Time and memory against the size of a picture"),
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:g} {height:g}",
        font_family="system-ui, sans-serif",
    )


def _panel(
    title: str,
    lines: Sequence[tuple[str, Sequence[Point]]],
    value: Callable[[Point], float],
    left: float,
) -> Iterator[Markup]:
    shown = [it for _, points in lines for it in points if value(it) > 0]
    sides = sorted({it.pixels for it in shown})
    across = _by_factors([float(it) for it in sides], left, left + _WIDTH)
    up = _by_factors([value(it) for it in shown], _TOP + _HEIGHT, _TOP)
    yield _text(title, left, _TOP - 16, weight="bold")
    for side in sides:
        x = across(side)
        yield element("line", x1=x, x2=x, y1=_TOP, y2=_TOP + _HEIGHT, stroke=_GRID)
        yield _text(f"{side} px", x, _TOP + _HEIGHT + 16, anchor="middle")
    for tick in _ticks([value(it) for it in shown]):
        y = up(tick)
        yield element("line", x1=left, x2=left + _WIDTH, y1=y, y2=y, stroke=_GRID)
        yield _text(f"{tick:g}", left - 6, y + 4, anchor="end")
    for number, (name, points) in enumerate(lines):
        places = [(across(it.pixels), up(value(it)), it) for it in points if value(it) > 0]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)
        colour = _colour(number)
        yield element("polyline", points=line, fill="none", stroke=colour, stroke_width=1.4)
        for x, y, point in places:
            words = f"{name}, {point.pixels} px: {value(point):.3g}"
            yield element("circle", element("title", words), cx=x, cy=y, r=3.5, fill=colour)


def _by_factors(values: Sequence[float], start: float, end: float) -> Callable[[float], float]:
    low, high = math.log(min(values)) - 0.1, math.log(max(values)) + 0.1
    return lambda value: start + (math.log(value) - low) / (high - low) * (end - start)


def _ticks(values: Sequence[float]) -> list[float]:
    low, high = min(values), max(values)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    return [it for it in ticks if low * 0.9 <= it <= high * 1.1]


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _text(words: str, x: float, y: float, *, anchor: str = "start", weight: str = "400") -> Markup:
    return element(
        "text", words, x=x, y=y, font_size=11, fill=_TEXT, text_anchor=anchor, font_weight=weight
    )
