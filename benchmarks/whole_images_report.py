"""The result of `whole_images.py`: as a value, in a terminal, and as a page of text."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.image_contestants import CLASSES
from benchmarks.machine import Machine
from benchmarks.roof import Roof, describe
from edgegen.statistics.latencies import Summary, compare_interleaved, summarise

_ROOFS = {"float32": "float32", "16 bits": "bfloat16", "8 bits": "int8", "4 bits": "int8"}
"""Which of the machine's rates a class is held against; 4 bits are widened before they multiply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One process: it imported, loaded, warmed up and drew. `peak_…` at the highest sum of PSS."""

    import_s: float
    load_s: float
    start_cpu_s: float
    first_s: float
    image_s: tuple[float, ...]
    image_cpu_s: tuple[float, ...]
    peak_bytes: int | None
    peak_anonymous_bytes: int | None
    step_s: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A contestant's turns. `psnr_db` is None where the image is the first's, or not known."""

    name: str
    precision: str
    ours: bool
    runtime: str | None
    disk_bytes: int | None
    turns: tuple[Drawn, ...]
    psnr_db: float | None
    equal: bool
    failure: str | None
    read_bytes: int | None = None
    """From the disk for one image in a new process, none of its files being in memory."""

    @property
    def image(self) -> Summary | None:
        """Return the wall clock of its images, over all turns."""
        return summarise([turn.image_s for turn in self.turns])

    @property
    def cpu_s(self) -> float:
        """Return the median of its images' processor seconds."""
        return statistics.median(it for turn in self.turns for it in turn.image_cpu_s)

    @property
    def peak_bytes(self) -> int | None:
        """Return the highest memory of its turns."""
        return max((it.peak_bytes for it in self.turns if it.peak_bytes is not None), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that a run found; ratios are over the fastest peer of a class."""

    model: str
    pixels: int
    steps: int
    guidance: float
    machine: Machine
    roof: Roof
    operations: float | None
    reference: str | None
    results: tuple[Result, ...]
    note: str = ""

    def best_peer(self, precision: str) -> Result | None:
        """Return the peer whose images take the least time."""
        drawn = [
            (it.image.median, it)
            for it in self.results
            if it.precision == precision and not it.ours and it.image is not None
        ]
        return min(drawn, key=lambda pair: pair[0])[1] if drawn else None


HEADS = (
    "contestant", "image s", "95 %", "CPU s", "time, of the best peer's", "step s", "first s",
    "start s", "start CPU s", "peak MB", "anonymous MB", "memory, of that peer's", "on disk MB",
    "read MB", "of the roof", "PSNR",
)  # fmt: skip


def rows(report: Report, precision: str) -> Iterator[tuple[str, ...]]:
    """Yield a row of figures for each contestant of a class that drew."""
    peer = report.best_peer(precision)
    for result in report.results:
        image = result.image
        if result.precision != precision or image is None:
            continue
        turns = result.turns
        yield (
            result.name,
            f"{image.median:.3f}",
            "too few"
            if image.interval is None
            else f"{image.interval.low:.3f} … {image.interval.high:.3f}",
            f"{result.cpu_s:.2f}",
            _time_ratio(result, peer),
            _median(it for turn in turns for it in turn.step_s),
            f"{statistics.median(it.first_s for it in turns):.2f}",
            f"{statistics.median(it.import_s + it.load_s for it in turns):.2f}",
            f"{statistics.median(it.start_cpu_s for it in turns):.2f}",
            _mb(result.peak_bytes),
            _mb(max((it.peak_anonymous_bytes or 0 for it in turns), default=0) or None),
            _memory_ratio(result, peer),
            _mb(result.disk_bytes),
            _mb(result.read_bytes),
            _share(report, precision, image.median),
            "equal"
            if result.equal
            else "unknown"
            if result.psnr_db is None
            else f"{result.psnr_db:.1f} dB",
        )


def _time_ratio(result: Result, peer: Result | None) -> str:
    if peer is None or peer is result or len(peer.turns) != len(result.turns):
        return ""
    compared = compare_interleaved(
        [it.image_s for it in peer.turns], [it.image_s for it in result.turns]
    )
    return f"{compared.ratio:.2f}"


def _memory_ratio(result: Result, peer: Result | None) -> str:
    if peer is None or peer is result or not peer.peak_bytes or result.peak_bytes is None:
        return ""
    return f"{result.peak_bytes / peer.peak_bytes:.2f}"


def _share(report: Report, precision: str, image_s: float) -> str:
    highest = report.roof.highest(_ROOFS[precision])
    if highest is None or report.operations is None:
        return "unknown"
    return f"{report.operations / image_s / 1e9 / highest:.0%}"


def _median(values: Iterable[float]) -> str:
    known = list(values)
    return f"{statistics.median(known):.3f}" if known else "unknown"


def _mb(value: int | None) -> str:
    return "unknown" if value is None else f"{value / 1e6:.0f}"


def table(report: Report) -> str:
    """Return a report for a terminal."""
    lines = [_what(report), report.machine.describe(), describe(report.roof)]
    for precision in CLASSES:
        cells = [HEADS, *rows(report, precision)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(HEADS))]
        lines += ["", precision]
        lines += [
            "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
            for row in cells
        ]
    return "\n".join([*lines, *_failures(report)])


def markdown(report: Report) -> str:
    """Return a report as a page of text."""
    counts = [(len(it.turns), len(it.turns[0].image_s)) for it in report.results if it.turns]
    turns, images = counts[0] if counts else (0, 0)
    lines = [
        "# Whole images, beside every peer",
        "",
        f"{_what(report)} {report.machine.describe()}. {report.note}".strip(),
        "",
        f"The machine: {describe(report.roof)} (`benchmarks/roof.py`).",
    ]
    for precision in CLASSES:
        found = list(rows(report, precision))
        if found:
            lines += [
                "",
                f"## {precision[0].upper()}{precision[1:]}",
                "",
                "| " + " | ".join(HEADS) + " |",
                "|---" * len(HEADS) + "|",
                *("| " + " | ".join(row) + " |" for row in found),
            ]
    lines += [
        "",
        f"Medians of {turns} turns of {images} images, a process a turn, one at a time, in turns.",
        "A class is that of the weights, or of the arithmetic where that is narrower. *Start* is",
        "importing and loading, with the files in the page cache. *Step* is from the end of one to",
        "that of the next. Memory is the highest sum of PSS, file pages included, until the first",
        "image is drawn, and in the last; nobody asks for it while images are timed. *Read* is",
        "what a new process reads from the disk for an image. *Of the roof*: its operations",
        "over its time, as a share of the machine's own best in the class's type (4 bits: int8).",
        f"PSNR is against {report.reference or 'nothing: no reference drew'}.",
    ]
    return "\n".join([*lines, *_failures(report)]) + "\n"


def _what(report: Report) -> str:
    operations = "" if report.operations is None else f", {report.operations / 1e9:.0f} GFLOP"
    return (
        f"{report.model}, {report.pixels} × {report.pixels} pixels, {report.steps} steps, "
        f"guidance {report.guidance:g}{operations} an image."
    )


def _failures(report: Report) -> Sequence[str]:
    lost = [f"- {it.name} did not draw: {it.failure}" for it in report.results if it.failure]
    return ["", *lost] if lost else []
