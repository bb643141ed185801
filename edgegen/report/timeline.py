"""A sustained run on one time axis: step latency, temperature, clock, power, and what was flagged.

Times count from the start of the run's first image, warm-up included. The steps of the warm-up are
left out, as they are for the judgement; the sensors are shown from their first reading on.
"""

from __future__ import annotations

import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from edgegen.core.units import format_latency, three_digits
from edgegen.statistics.changepoints import Change
from edgegen.statistics.energy import ImageEnergy
from edgegen.statistics.sensor_events import SensorEvent
from edgegen.statistics.sustained import Sustained, outermost
from edgegen.statistics.throttling import usable_steps

MOST_LINES = 3
"""At most this many sensors share a panel; the others have their own charts on the page."""

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Values of one sensor over time: (seconds, value), in the order of time."""

    name: str
    points: Points

    @property
    def highest(self) -> float:
        return max(value for _, value in self.points)


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Lines of one quantity; the first one says most. `label` writes a value with its unit."""

    title: str
    lines: tuple[Line, ...]
    label: Callable[[float], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagSpan:
    """A time in which a sensor said that the device held back."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagRow:
    """What one flag, state or counter said."""

    name: str
    spans: tuple[FlagSpan, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A lasting change of the latency: when, the interval of that moment, and by how much."""

    time_s: float
    low_s: float
    high_s: float
    ratio: float
    ratio_low: float
    ratio_high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """All that is drawn of a sustained run.

    `onset` is the slowdown that the judgement tells, `others` are the other changes. `level` is
    the fitted latency of a step.
    """

    end_s: float
    warmup_end_s: float
    onset: Mark | None
    others: tuple[Mark, ...]
    steps: Panel
    level: Points
    sensors: tuple[Panel, ...]
    flags: tuple[FlagRow, ...]


def timeline(sustained: Sustained, energies: Sequence[ImageEnergy] = ()) -> Timeline | None:
    """Return what is drawn of a sustained run; None where it made no image after its warm-up."""
    images = sustained.images
    if not images:
        return None
    zero_s = sustained.zero_s
    end_s = images[-1].end_s - zero_s
    steps = usable_steps([step for image in images for step in image.steps])
    changes, slowdown = sustained.judgement.changes, sustained.judgement.slowdown
    panels = (
        Panel(title="temperature", lines=temperatures(sustained), label=_celsius),
        Panel(title="clock", lines=clocks(sustained), label=_megahertz),
        Panel(title="power", lines=powers(sustained, energies), label=_watts),
    )
    return Timeline(
        end_s=end_s,
        warmup_end_s=images[0].start_s - zero_s,
        onset=None if slowdown is None else _mark(slowdown, zero_s),
        others=tuple(
            _mark(change, zero_s)
            for change in (changes.changes if changes is not None else ())
            if change != slowdown
        ),
        steps=Panel(
            title="step latency",
            lines=(
                Line(
                    name="step",
                    points=tuple((s.end_s - zero_s, s.end_s - s.start_s) for s in steps),
                ),
            )
            if steps
            else (),
            label=format_latency,
        ),
        level=tuple((point.time_s - zero_s, point.latency_s) for point in changes.line)
        if changes is not None
        else (),
        sensors=tuple(panel for panel in panels if panel.lines),
        flags=_flags(sustained.judgement.evidence, zero_s),
    )


def temperatures(sustained: Sustained) -> tuple[Line, ...]:
    """Return the hottest temperatures that changed, the hottest first; else the hottest."""
    lines = _lines(sustained, "temperature_c")
    moved = [line for line in lines if len({value for _, value in line.points}) > 1]
    return _highest_first(moved or lines)


def clocks(sustained: Sustained) -> tuple[Line, ...]:
    """Return the clocks: those that fell where steps became slower, then the fastest."""
    fell = {e.sensor.partition(".")[2] for e in sustained.judgement.causes if e.kind == "clock"}
    lines = _highest_first(_lines(sustained, "frequency_mhz"), None)
    return tuple(sorted(lines, key=lambda line: line.name not in fell))[:MOST_LINES]


def powers(sustained: Sustained, energies: Sequence[ImageEnergy]) -> tuple[Line, ...]:
    """Return the power of the sensors that contain all others, from readings or from counters."""
    shown = [energy.sensor for energy in outermost(energies)]
    lines = _lines(sustained, "power_w") + [
        Line(name=line.name, points=points)
        for line in _lines(sustained, "energy_j")
        if (points := _differenced(line.points))
    ]
    names = {sensor.partition(".")[2] for sensor in shown}
    return _highest_first([line for line in lines if line.name in names] or lines)


def under_load(sustained: Sustained, line: Line) -> list[float]:
    """Return the values that were read while an image was made."""
    images = sustained.run.images
    starts = [image.start_s - sustained.zero_s for image in images]
    ends = [image.end_s - sustained.zero_s for image in images]
    return [
        value
        for at, value in line.points
        if (place := bisect_right(starts, at) - 1) >= 0 and at <= ends[place]
    ]


def binned(points: Points, edges: Sequence[float]) -> dict[int, list[float]]:
    """Sort values by time into the bins between `edges`; empty bins are left out."""
    found: dict[int, list[float]] = {}
    for at, value in points:
        if edges[0] <= at <= edges[-1]:
            found.setdefault(min(bisect_right(edges, at) - 1, len(edges) - 2), []).append(value)
    return found


def without_gaps(points: Points) -> tuple[Points, ...]:
    """Cut a line where nothing was read for five times as long as usual, and for 5 s at least."""
    if len(points) < 3:
        return (points,) if points else ()
    longest_s = max(5.0, 5 * statistics.median(b[0] - a[0] for a, b in pairwise(points)))
    cuts = [i + 1 for i, (a, b) in enumerate(pairwise(points)) if b[0] - a[0] > longest_s]
    return tuple(points[a:b] for a, b in pairwise([0, *cuts, len(points)]))


def value_at(line: Line, time_s: float, within_s: float) -> float | None:
    """Return the value that was read nearest to a moment; None where none was read near it."""
    place = bisect_left(line.points, (time_s,))
    near = min(line.points[max(0, place - 1) : place + 1], key=lambda p: abs(p[0] - time_s))
    return near[1] if abs(near[0] - time_s) <= within_s else None


def event_text(event: SensorEvent) -> str:
    """Write what a sensor said: `clock arm fell from 2400 to 1800 MHz`, `flag 'throttled'`."""
    name = event.sensor.partition(".")[2]
    match event.kind:
        case "clock" if event.before is not None:
            return f"clock {name} fell from {event.before:.0f} to {event.after:.0f} MHz"
        case "counter":
            return f"counter of {event.words} rose"
        case "flag":
            return f"flag '{event.words}'"
        case "limit":
            return f"{event.words} to {event.after:.0f} %"
        case _:
            return f"{event.words} at {event.after:g}"


def _mark(change: Change, zero_s: float) -> Mark:
    return Mark(
        time_s=change.onset_s - zero_s,
        low_s=change.onset_low_s - zero_s,
        high_s=change.onset_high_s - zero_s,
        ratio=change.ratio,
        ratio_low=change.ratio_low,
        ratio_high=change.ratio_high,
    )


def _lines(sustained: Sustained, quantity: str) -> list[Line]:
    run, zero_s = sustained.run, sustained.zero_s
    last_s = run.images[-1].end_s
    found: dict[str, list[tuple[float, float]]] = {}
    for sample in sorted(run.sensors, key=lambda sample: sample.time_s):
        for sensor, value in sample.values.items():
            kind, _, name = sensor.partition(".")
            if kind == quantity and value is not None and zero_s <= sample.time_s <= last_s:
                found.setdefault(name, []).append((sample.time_s - zero_s, value))
    return [Line(name=name, points=tuple(points)) for name, points in found.items()]


def _highest_first(lines: Iterable[Line], most: int | None = MOST_LINES) -> tuple[Line, ...]:
    return tuple(sorted(lines, key=lambda line: (-line.highest, line.name))[:most])


def _differenced(points: Points) -> Points:
    """Return the mean power between two readings of a counter; where it was reset, nothing."""
    return tuple(
        ((t0 + t1) / 2, (j1 - j0) / (t1 - t0))
        for (t0, j0), (t1, j1) in pairwise(points)
        if t1 > t0 and j1 >= j0
    )


def _flags(events: Iterable[SensorEvent], zero_s: float) -> tuple[FlagRow, ...]:
    rows: dict[str, list[FlagSpan]] = {}
    for event in events:
        if event.kind != "clock":
            span = FlagSpan(
                start_s=max(0.0, event.time_s - zero_s),
                end_s=max(0.0, event.until_s - zero_s),
                text=event_text(event),
            )
            rows.setdefault(event.words, []).append(span)
    return tuple(FlagRow(name=name, spans=tuple(row)) for name, row in rows.items())


def _celsius(value: float) -> str:
    return f"{value:.1f} °C"


def _megahertz(value: float) -> str:
    return f"{value:.0f} MHz"


def _watts(value: float) -> str:
    return f"{three_digits(value)} W"
