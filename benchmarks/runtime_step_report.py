"""The result of `runtime_step.py`: as a value, in a terminal, and as a page of text."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.machine import Machine
from edgegen.statistics.latencies import Comparison, Summary, compare_interleaved, summarise


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One process: it loaded the denoiser, warmed up, and made steps.

    `loaded_…` is right after loading, `peak_…` at the moment of the highest sum of PSS.
    """

    load_s: float
    load_cpu_s: float
    warmup_s: tuple[float, ...]
    step_s: tuple[float, ...]
    step_cpu_s: tuple[float, ...]
    loaded_bytes: int | None
    loaded_anonymous_bytes: int | None
    peak_bytes: int | None
    peak_anonymous_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantResult:
    """A package's turns. `psnr_db` is None where the output is the reference's, or not known."""

    name: str
    runtime: str | None
    calls_per_step: int | None
    turns: tuple[Turn, ...]
    psnr_db: float | None
    equal: bool
    failure: str | None

    @property
    def wall(self) -> Summary | None:
        """Return the wall clock of its steps, over all turns."""
        return summarise([turn.step_s for turn in self.turns])

    @property
    def cpu(self) -> Summary | None:
        """Return the processor seconds of its steps, over all turns."""
        return summarise([turn.step_cpu_s for turn in self.turns])

    def ratio(self, first: VariantResult) -> Comparison | None:
        """Return its steps' wall clock over the first's, turn by turn; None where one failed."""
        ours, others = self.turns, first.turns
        if not ours or len(ours) != len(others):
            return None
        return compare_interleaved([it.step_s for it in others], [it.step_s for it in ours])


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that a run found; ratios are over the first variant."""

    model: str
    machine: Machine
    threads: int
    reference: str | None
    variants: tuple[VariantResult, ...]
    failures: tuple[str, ...] = ()
    note: str = ""


HEADS = (
    "package", "runtime", "calls", "load s", "load CPU s", "step s", "95 %", "CPU s a step", "95 %",
    "ratio", "loaded MB", "peak MB", "anonymous MB", "PSNR",
)  # fmt: skip


def rows(report: Report) -> Iterator[tuple[str, ...]]:
    """Yield a row of figures for each package that ran."""
    for variant in report.variants:
        wall, cpu = variant.wall, variant.cpu
        if wall is None or cpu is None:
            continue
        turns = variant.turns
        compared = variant.ratio(report.variants[0])
        yield (
            variant.name,
            variant.runtime or "unknown",
            str(variant.calls_per_step),
            f"{statistics.median(it.load_s for it in turns):.2f}",
            f"{statistics.median(it.load_cpu_s for it in turns):.2f}",
            f"{wall.median:.3f}",
            _interval(wall),
            f"{cpu.median:.3f}",
            _interval(cpu),
            "" if compared is None else f"{compared.ratio:.3f}",
            _highest_mb([it.loaded_bytes for it in turns]),
            _highest_mb([it.peak_bytes for it in turns]),
            _highest_mb([it.peak_anonymous_bytes for it in turns]),
            _distance(variant),
        )


def table(report: Report) -> str:
    """Return a report for a terminal."""
    cells = [HEADS, *rows(report)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADS))]
    lines = [f"{report.model}, {report.threads} threads, {report.machine.describe()}"]
    for row in cells:
        padded = (f"{cell:>{width}}" for cell, width in zip(row[2:], widths[2:], strict=True))
        lines.append("  ".join((f"{row[0]:<{widths[0]}}", f"{row[1]:<{widths[1]}}", *padded)))
    return "\n".join([*lines, *_failures(report)])


def markdown(report: Report) -> str:
    """Return a report as a page of text."""
    counts = [(len(it.turns), len(it.turns[0].step_s)) for it in report.variants if it.turns]
    turns, steps = counts[0] if counts else (0, 0)
    lines = [
        f"# A guided denoiser step on each runtime: {report.model}",
        "",
        f"{report.machine.describe()}. {report.threads} threads. {report.note}".strip(),
        "",
        "| " + " | ".join(HEADS) + " |",
        "|---" * len(HEADS) + "|",
        *("| " + " | ".join(row) + " |" for row in rows(report)),
        "",
        f"Medians of {turns} turns of {steps} steps each, a process a turn, one at a time and in",
        "turns; the raw samples are in the JSON file. Calls are those of the runtime that a guided",
        "step takes. Loading comes after the runtime's import, with the files in the page cache.",
        "The ratio is that of step s over the first row's, turn by turn. Memory is the highest sum",
        "of PSS over all turns, file pages included, and its anonymous part at that moment. PSNR:",
        f"the prediction's, against {report.reference or 'nothing: no reference was given'}.",
    ]
    return "\n".join([*lines, *_failures(report)]) + "\n"


def _failures(report: Report) -> list[str]:
    return [f"- {text}" for text in report.failures] + [
        f"- {it.name} failed: {it.failure}" for it in report.variants if it.failure
    ]


def _interval(summary: Summary) -> str:
    if summary.interval is None:
        return "too few"
    return f"{summary.interval.low:.3f}–{summary.interval.high:.3f}"


def _highest_mb(values: Sequence[int | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{max(known) / 1e6:.0f}" if known else "unknown"


def _distance(variant: VariantResult) -> str:
    if variant.equal:
        return "equal"
    return "unknown" if variant.psnr_db is None else f"{variant.psnr_db:.1f} dB"
