"""The result of `convert_onnx.py`: as a value, in a terminal, and as a page of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from benchmarks.machine import Machine
from edgegen.core.package import StageCost

GB = 10**9
CONVERSION = ("capture", "convert")
"""What the stages of a conversion begin with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goals:
    """What is asked of our side; `cpu_share` is ours over the peer's."""

    cpu_share: float
    peak_bytes: int
    parity_peak_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """One tool's conversion of a whole pipeline; `peak_bytes` is the tree's highest sum of PSS.

    `parts` are its stages or components, where the tool tells them or was started for each.
    """

    tool: str
    command: str
    versions: Mapping[str, str]
    weights: str
    size_bytes: int
    wall_s: float
    cpu_s: float
    peak_bytes: int | None
    parts: tuple[StageCost, ...] = ()

    @property
    def highest_bytes(self) -> int | None:
        """Return the peak of the tree, or of a part where that saw more: each samples by itself."""
        seen = [part.peak_memory_bytes or 0 for part in self.parts]
        return None if self.peak_bytes is None else max([self.peak_bytes, *seen])


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that a run of the benchmark found."""

    model: str
    machine: Machine
    conversions: tuple[Conversion, ...]
    parity: tuple[StageCost, ...] = ()
    goals: Goals | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A figure of each tool; `goal` is the most that ours may be, or its share of the peer's."""

    what: str
    values: tuple[float | None, ...]
    unit: str
    goal: str = ""

    @property
    def share(self) -> float | None:
        """Return the first value over the second."""
        if len(self.values) != 2 or None in self.values or not self.values[1]:
            return None
        return (self.values[0] or 0.0) / self.values[1]


def rows(report: Report) -> Iterator[Row]:
    """Yield the figures of a report."""
    found, goals = report.conversions, report.goals
    cpu_goal = f"≤ {goals.cpu_share:.2f} of the peer's" if goals else ""
    peak_goal = f"≤ {goals.peak_bytes / GB:g} GB" if goals else ""
    yield Row("CPU", tuple(item.cpu_s for item in found), "s", cpu_goal)
    peaks = (item.highest_bytes for item in found)
    yield Row(
        "peak memory", tuple(None if it is None else it / GB for it in peaks), "GB", peak_goal
    )
    yield Row("wall clock", tuple(item.wall_s for item in found), "s")
    yield Row("size", tuple(item.size_bytes / GB for item in found), "GB")


def missed(report: Report) -> list[str]:
    """Return the goals that were not met, as sentences; what was not measured is not judged."""
    goals, found = report.goals, []
    if goals is None:
        return []
    by_name = {row.what: row for row in rows(report)}
    share = by_name["CPU"].share
    if share is not None and share > goals.cpu_share:
        found.append(f"CPU is {share:.2f} of the peer's, more than {goals.cpu_share:.2f}.")
    ours = [item.highest_bytes or 0 for item in report.conversions if item.tool == "edgegen"]
    if ours and ours[0] > goals.peak_bytes:
        found.append(f"The peak is above {goals.peak_bytes / GB:g} GB.")
    peak = parity_peak_bytes(report)
    if peak is not None and peak > goals.parity_peak_bytes:
        found.append(f"Parity's peak is above {goals.parity_peak_bytes / GB:g} GB.")
    return found


def parity_peak_bytes(report: Report) -> int | None:
    """Return the highest memory of the stages that compare with torch."""
    stages = [cost for cost in report.parity if not cost.stage.startswith(CONVERSION)]
    return max((cost.peak_memory_bytes or 0 for cost in stages), default=None)


def table(report: Report) -> str:
    """Return a report for a terminal."""
    lines = [f"{report.model} → ONNX, {report.machine.describe()}"]
    names = "".join(f"{item.tool:>14}" for item in report.conversions)
    lines.append(f"{'':<14}{names}{'ratio':>10}  goal")
    for row in rows(report):
        cells = "".join(f"{_figure(value, row.unit):>14}" for value in row.values)
        share = "" if row.share is None else f"{row.share:.3f}"
        lines.append(f"{row.what:<14}{cells}{share:>10}  {row.goal}")
    lines += [f"  {_stage(cost)}" for cost in report.parity]
    lines += missed(report) or (["All goals are met."] if report.goals else [])
    return "\n".join(lines)


def markdown(report: Report) -> str:
    """Return a report as a page of text."""
    lines = [
        f"# Conversion of {report.model} to ONNX",
        "",
        f"{report.machine.describe()}. {report.note}".strip(),
        "",
        "| | " + " | ".join(item.tool for item in report.conversions) + " | ratio | goal |",
        "|---|" + "---|" * (len(report.conversions) + 2),
    ]
    for row in rows(report):
        cells = " | ".join(_figure(value, row.unit) for value in row.values)
        share = "" if row.share is None else f"{row.share:.3f}"
        lines.append(f"| {row.what} | {cells} | {share} | {row.goal} |")
    lines += [
        "",
        "CPU is that of the whole process tree. Peak memory is the highest sum of PSS over",
    ]
    lines += [
        "the tree, file pages included. Each tool ran once; ratio is ours over the peer's.",
        "",
    ]
    for item in report.conversions:
        versions = ", ".join(f"{name} {version}" for name, version in item.versions.items())
        lines.append(f"- {item.tool}: `{item.command}`; weights in {item.weights}; {versions}.")
    if report.parity:
        lines += ["", "With parity, stage by stage:", ""]
        lines += [f"- {_stage(cost)}" for cost in report.parity]
    lines += ["", *(missed(report) or (["All goals are met."] if report.goals else []))]
    return "\n".join(lines).rstrip() + "\n"


def _stage(cost: StageCost) -> str:
    peak = None if cost.peak_memory_bytes is None else cost.peak_memory_bytes / GB
    return f"{cost.stage}: {cost.cpu_s:.1f} CPU s, {cost.wall_s:.1f} s, {_figure(peak, 'GB')}"


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return "unknown"
    return f"{value:.2f} {unit}" if value < 100 else f"{value:.0f} {unit}"
