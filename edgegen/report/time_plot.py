"""Draws a sustained run in plain text: small plots below each other, on one time axis."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from edgegen.core.units import format_moment
from edgegen.report.canvas import Canvas
from edgegen.report.plot import shown_range
from edgegen.report.ticks import tick_moment, time_ticks
from edgegen.report.timeline import FlagRow, Panel, Points, Timeline, binned, without_gaps

_STEP_ROWS = 7
_SENSOR_ROWS = 4
_MOST_FLAGS = 4
_LONGEST_NAME = 16
_TICK_COLUMNS = 13


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """What all plots share: `columns` characters for `end_s` seconds, and a mark at the onset."""

    margin: int
    columns: int
    end_s: float
    onset_s: float | None
    unicode: bool

    def column(self, time_s: float) -> int:
        return max(0, min(self.columns - 1, int(time_s / self.end_s * self.columns)))

    def row(self, label: str, cells: str, *, is_labelled: bool = False) -> str:
        """Return a line: a label, the edge, and the cells with the mark in their blanks."""
        edge = ("┤" if is_labelled else "│") if self.unicode else ("+" if is_labelled else "|")
        if self.onset_s is not None:
            place, mark = self.column(self.onset_s), "┊" if self.unicode else ":"
            if cells[place] == " ":
                cells = cells[:place] + mark + cells[place + 1 :]
        return f"{label:>{self.margin}} {edge}{cells}".rstrip()

    def indented(self, text: str) -> str:
        """Return a line of text that begins where the plots begin."""
        return " " * (self.margin + 2) + text[: self.columns]


def draw_timeline(timeline: Timeline, *, width: int = 80, unicode: bool = True) -> list[str]:
    """Draw latency, temperature, clock and power over time; the onset runs through all of them.

    Each dot is the median of what its column holds. Returns lines of at most `width` characters,
    all of them ASCII without `unicode`.
    """
    chosen = [(timeline.steps, _STEP_ROWS), *((panel, _SENSOR_ROWS) for panel in timeline.sensors)]
    panels = [
        (panel, rows, *_range(panel, timeline.end_s, width))
        for panel, rows in chosen
        if panel.lines
    ]
    if not panels:
        return []
    flags = timeline.flags[:_MOST_FLAGS]
    labels = [panel.label(value) for panel, _, low, high in panels for value in (low, high)]
    names = [row.name[:_LONGEST_NAME] for row in flags]
    margin = max(map(len, [*labels, *names]))
    frame = _Frame(
        margin=margin,
        columns=max(16, width - margin - 2),
        end_s=timeline.end_s,
        onset_s=None if timeline.onset is None else timeline.onset.time_s,
        unicode=unicode,
    )
    lines = []
    for panel, rows, low, high in panels:
        is_steps = panel is timeline.steps
        lines.append(frame.indented(_steps_title(panel, frame) if is_steps else _title(panel)))
        lines += _plot(panel, rows, low, high, frame)
    lines += [frame.row(name, _spans(row, frame)) for name, row in zip(names, flags, strict=True)]
    if len(timeline.flags) > len(flags):
        lines.append(frame.indented(f"and {len(timeline.flags) - len(flags)} more that were set"))
    lines += _axis(frame)
    return lines if unicode else [_plain(line) for line in lines]


def _range(panel: Panel, end_s: float, width: int) -> tuple[float, float]:
    """Return the range of the columns' medians: one slow step does not flatten all others."""
    edges = [end_s * i / (2 * width) for i in range(2 * width + 1)]
    values = [statistics.median(v) for v in binned(panel.lines[0].points, edges).values()]
    return shown_range(values or [value for _, value in panel.lines[0].points])


def _steps_title(panel: Panel, frame: _Frame) -> str:
    """Say what a dot is, and how far the steps lie from it."""
    line = panel.lines[0]
    edges = [frame.end_s * i / frame.columns for i in range(frame.columns + 1)]
    bins = binned(line.points, edges).values()
    parts = [value / statistics.median(values) for values in bins for value in values]
    title = "step, median of each column"
    details = [f"; longest {panel.label(line.highest)}"]
    if any(len(values) >= 3 for values in bins) and len(parts) >= 20:
        tenths = statistics.quantiles(parts, n=10, method="inclusive")
        low, high = 100 * (tenths[0] - 1), 100 * (tenths[-1] - 1)
        details.append(f"; 80 % within {low:+.0f} … {high:+.0f} %")
    for detail in details:
        if len(title) + len(detail) <= frame.columns:
            title += detail
    return title


def _title(panel: Panel) -> str:
    count = len(panel.lines)
    return f"{panel.title} {panel.lines[0].name}" + (f", the first of {count}" if count > 1 else "")


def _plot(panel: Panel, rows: int, low: float, high: float, frame: _Frame) -> list[str]:
    canvas = Canvas(frame.columns, rows, unicode=frame.unicode)
    for part in without_gaps(panel.lines[0].points):
        canvas.draw(_dots(part, canvas, low, high, frame.end_s))
    labels = {0: panel.label(high), rows - 1: panel.label(low)}
    if rows > _SENSOR_ROWS:
        middle = (rows - 1) // 2
        labels[middle] = panel.label(high - (high - low) * middle / (rows - 1))
    return [
        frame.row(labels.get(row, ""), canvas.row(row), is_labelled=row in labels)
        for row in range(rows)
    ]


def _dots(
    points: Points, canvas: Canvas, low: float, high: float, end_s: float
) -> list[tuple[int, int]]:
    edges = [end_s * i / canvas.wide for i in range(canvas.wide + 1)]
    found = []
    for x, values in sorted(binned(points, edges).items()):
        value = min(max(statistics.median(values), low), high)
        found.append((x, round((canvas.tall - 1) * (high - value) / (high - low))))
    return found


def _spans(row: FlagRow, frame: _Frame) -> str:
    cells = [" "] * frame.columns
    for span in row.spans:
        for column in range(frame.column(span.start_s), frame.column(span.end_s) + 1):
            cells[column] = "▀" if frame.unicode else "#"
    return "".join(cells)


def _axis(frame: _Frame) -> list[str]:
    """Return the axis, its labels, and what the mark is."""
    rule, corner, tick = ("─", "└", "┴") if frame.unicode else ("-", "+", "+")
    left = frame.margin + 2
    cells, names = [rule] * frame.columns, [" "] * (frame.columns + left)
    free = 0
    for time_s in time_ticks(frame.end_s, max(1, frame.columns // _TICK_COLUMNS)):
        column, name = frame.column(time_s), tick_moment(time_s)
        cells[column] = tick
        start = min(max(free, left + column - len(name) // 2), len(names) - len(name))
        if start >= free:
            names[start : start + len(name)] = name
            free = start + len(name) + 1
    lines = [" " * (left - 1) + corner + "".join(cells), "".join(names).rstrip()]
    if frame.onset_s is not None:
        lines.append(_onset_line(frame, frame.onset_s))
    return lines


def _onset_line(frame: _Frame, onset_s: float) -> str:
    arrow = "▲" if frame.unicode else "^"
    text, column = f"slower from {format_moment(onset_s)} on", frame.column(onset_s)
    if column + len(text) + 2 <= frame.columns:
        return frame.indented(" " * column + f"{arrow} {text}")
    return " " * max(0, frame.margin + 1 + column - len(text)) + f"{text} {arrow}"


def _plain(line: str) -> str:
    """Write in ASCII, and no longer: what else a sensor's name holds becomes a question mark."""
    return line.translate(str.maketrans("°µ…", " u-")).encode("ascii", "replace").decode()
