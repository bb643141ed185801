"""The result of `convert_recipes.py`: as a value, in a terminal, and as a page of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from benchmarks.machine import Machine
from edgegen.core.package import StageCost

GB = 10**9
GOAL_PEAK_BYTES = 3 * GB // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """A recipe by edgegen: from the model's folder to files.

    `stages` are those of the package, a calibration that several packages share as a whole.
    `overhead_cpu_s` is what the command took beside all stages, `tree_peak_bytes` the highest sum
    of PSS over its process tree. `denoiser_bytes` is the size of the denoiser's folder.
    """

    stages: tuple[StageCost, ...]
    overhead_cpu_s: float
    tree_peak_bytes: int | None
    package_bytes: int
    denoiser_bytes: int
    load_average: float

    @property
    def cpu_s(self) -> float:
        """Return the processor seconds of the whole pipeline."""
        return self.overhead_cpu_s + sum(stage.cpu_s for stage in self.stages)

    def denoiser_cpu_s(self, denoiser: str) -> float:
        """Return what making the denoiser's file took, and what every file needs once.

        A calibration counts whole, and importing the toolkits, too.
        """
        others = [
            stage
            for stage in self.stages
            if stage.stage.startswith(("capture ", "convert ")) and denoiser not in stage.stage
        ]
        return self.cpu_s - sum(stage.cpu_s for stage in others)

    def compression_cpu_s(self, denoiser: str) -> float:
        """Return what writing the denoiser's file took, a calibration included: a peer's part."""
        own = ("calibration", f"convert {denoiser}")
        return sum(stage.cpu_s for stage in self.stages if stage.stage in own)

    @property
    def peak_bytes(self) -> int:
        """Return the highest memory that anything saw."""
        seen = [stage.peak_memory_bytes or 0 for stage in self.stages]
        return max(self.tree_peak_bytes or 0, *seen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Theirs:
    """The denoiser's file by a peer: from edgegen's float file to a compressed one."""

    way: str
    cpu_s: float
    wall_s: float
    peak_bytes: int | None
    denoiser_bytes: int
    load_average: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeRow:
    """One recipe of one target; `failure` is the last line of a peer that gave up."""

    recipe: str
    ours: Ours | None = None
    theirs: Theirs | None = None
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRows:
    """The recipes of a target, the peer that was held beside them, and its versions."""

    target: str
    peer: str
    versions: Mapping[str, str]
    rows: tuple[RecipeRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that a run found."""

    model: str
    denoiser: str
    machine: Machine
    targets: tuple[TargetRows, ...]
    note: str = ""


HEADS = (
    "recipe", "CPU s", "peak GB", "size GB", "its denoiser: CPU s", "writing it", "GB", "peer",
    "CPU s", "peak GB", "GB", "CPU ratio", "peak ratio",
)  # fmt: skip
"""The CPU ratio is edgegen's writing of the denoiser over the peer's compression."""


def cells(report: Report, rows: TargetRows) -> Iterator[tuple[str, ...]]:
    """Yield a line of figures for each recipe."""
    for row in rows.rows:
        ours, theirs = row.ours, row.theirs
        mine = ours.compression_cpu_s(report.denoiser) if ours else None
        yield (
            row.recipe,
            *(
                ("failed", "", "", "", "", "")
                if ours is None or mine is None
                else (
                    f"{ours.cpu_s:.0f}",
                    f"{ours.peak_bytes / GB:.2f}",
                    f"{ours.package_bytes / GB:.2f}",
                    f"{ours.denoiser_cpu_s(report.denoiser):.0f}",
                    f"{mine:.0f}",
                    f"{ours.denoiser_bytes / GB:.2f}",
                )
            ),
            *(
                (row.failure or "–", "", "", "", "", "")
                if theirs is None
                else (
                    f"`{theirs.way}`",
                    f"{theirs.cpu_s:.0f}",
                    _gigabytes(theirs.peak_bytes),
                    f"{theirs.denoiser_bytes / GB:.2f}",
                    "" if mine is None else f"{mine / theirs.cpu_s:.2f}",
                    _share(ours, theirs),
                )
            ),
        )


def missed(report: Report) -> list[str]:
    """Return the recipes whose peak is above the goal, as sentences."""
    return [
        f"{rows.target} {row.recipe} took {row.ours.peak_bytes / GB:.2f} GB, more than "
        f"{GOAL_PEAK_BYTES / GB:g}."
        for rows in report.targets
        for row in rows.rows
        if row.ours is not None and row.ours.peak_bytes > GOAL_PEAK_BYTES
    ]


def table(report: Report) -> str:
    """Return a report for a terminal."""
    lines = [f"{report.model}, {report.machine.describe()}"]
    for rows in report.targets:
        lines.append(f"{rows.target}, beside {rows.peer}")
        lines += [" | ".join(line) for line in (HEADS, *cells(report, rows))]
    return "\n".join([*lines, *missed(report)])


def markdown(report: Report) -> str:
    """Return a report as a page of text."""
    loads = [
        side.load_average
        for rows in report.targets
        for row in rows.rows
        for side in (row.ours, row.theirs)
        if side is not None
    ]
    lines = [
        f"# Every recipe beside the peers: {report.model}",
        "",
        f"{report.machine.describe()}. {report.note}".strip(),
    ]
    for rows in report.targets:
        named = ", ".join(f"{name} {version}" for name, version in rows.versions.items())
        lines += ["", f"## {rows.target}, beside {rows.peer}", "", f"Versions: {named}.", ""]
        lines += ["| " + " | ".join(HEADS) + " |", "|---" * len(HEADS) + "|"]
        lines += ["| " + " | ".join(line) + " |" for line in cells(report, rows)]
    lines += [
        "",
        "CPU is that of the whole process tree, edgegen's from the model's folder to the package,",
        "calibration included. The peer compresses one file, the denoiser, which edgegen made in",
        "float and which it reads; what exporting that file with other tools takes is not in its",
        "figure. The CPU ratio is edgegen's writing of that file (reading and encoding weights,",
        "calibration included) over the peer's compression. Each ran once, in its own process,",
        "one after the other; the load average at their starts was "
        f"{min(loads, default=0):.1f} to {max(loads, default=0):.1f}.",
        "Peak memory is the highest sum of PSS over the tree, file pages included.",
    ]
    return "\n".join([*lines, "", *missed(report)]).rstrip() + "\n"


def _gigabytes(value: int | None) -> str:
    return "unknown" if value is None else f"{value / GB:.2f}"


def _share(ours: Ours | None, theirs: Theirs) -> str:
    if ours is None or not theirs.peak_bytes:
        return ""
    return f"{ours.peak_bytes / theirs.peak_bytes:.2f}"
