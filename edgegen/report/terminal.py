"""A measurement as text: tables, a plot of the series, and what must be said with them."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill

from edgegen.core.measurement import Environment, Measurement, MemoryPeak
from edgegen.report.figures import MISSING, decibels, seconds, size
from edgegen.report.plot import plot_series
from edgegen.report.sustained import energy_table, sustained_table, verdict_sentence
from edgegen.report.table import Table
from edgegen.report.time_plot import draw_timeline
from edgegen.report.timeline import timeline
from edgegen.statistics.findings import Finding, findings
from edgegen.statistics.held_back import held_back_sentence
from edgegen.statistics.series import Series, all_series, latencies_mean_something, phase_shares
from edgegen.statistics.sustained import Sustained, outermost, shown_energies, sustained_runs


def tables(
    measurement: Measurement, sustained: Sequence[Sustained] | None = None
) -> tuple[Table, ...]:
    """Return the tables of a measurement: sustained runs, latencies, phases, energy and memory.

    An emulated processor's times, rates and energy are left out. `sustained` are the sustained
    runs where they have been judged already.
    """
    found = [_memory(measurement)]
    if latencies_mean_something(measurement):
        judged = sustained_runs(measurement) if sustained is None else sustained
        energies = shown_energies(measurement)
        start = measurement.start_temperature
        found = [
            *(sustained_table(each, start, energies) for each in judged),
            _latencies(measurement),
            _phases(measurement),
            *([] if judged else [energy_table(outermost(energies))]),
            *found,
        ]
    return tuple(table for table in found if table.rows)


def opening(measurement: Measurement) -> str | None:
    """Return what must be said before any figure: that the device was held back, and what to do.

    None where no sensor said so.
    """
    return held_back_sentence(measurement)


def headline(measurement: Measurement) -> str:
    """Return one line that says what was measured, and on what."""
    package, work = measurement.package, measurement.workload
    cut = "INTERRUPTED: " if measurement.interrupted is not None else ""
    what = f"{cut}{package.model} · {package.target}-{package.recipe} · {work.width}×{work.height}"
    return f"{what}, {work.steps} steps, {work.scheduler} on {device_name(measurement.environment)}"


def device_name(device: Environment) -> str:
    """Name a device: model, processor, address unless it is local, and what it is not."""
    names = [name for name in (device.model, device.processor) if name]
    text = ", ".join(dict.fromkeys(names)) or device.machine
    if device.device != "local":
        text += f" at {device.device}"
    if device.virtual_machine:
        text += " (virtual machine)"
    return text + (" (EMULATED)" if device.emulated else "")


def verdicts(
    measurement: Measurement, sustained: Sequence[Sustained] | None = None
) -> tuple[str, ...]:
    """Return what each sustained run shows, in plain sentences.

    Of an emulated processor it is only told that images were made.
    """
    if not latencies_mean_something(measurement):
        return tuple(
            f"EMULATED: {len(run.images)} images were made in one process. Nothing was timed."
            for run in measurement.of_kind("sustained")
        )
    judged = sustained_runs(measurement) if sustained is None else sustained
    return tuple(verdict_sentence(each) for each in judged)


def plot(
    measurement: Measurement,
    sustained: Sequence[Sustained] | None = None,
    *,
    width: int = 80,
    unicode: bool = True,
) -> str:
    """Return the plots: sustained runs over time, and the steps or images of the restarts."""
    if not latencies_mean_something(measurement):
        return ""
    judged = sustained_runs(measurement) if sustained is None else sustained
    blocks = [_sustained_plot(measurement, each, width, unicode) for each in judged]
    series = all_series(measurement)
    chosen = series.get("step") or series.get("steady_image")
    if chosen is not None:
        lines = plot_series(chosen.restarts, label=seconds, width=width, unicode=unicode)
        caption = f"{chosen.title}, each of {len(chosen.values)} in the order measured"
        blocks.append("\n".join([fill(caption, width), "", *lines]))
    return "\n\n".join(block for block in blocks if block)


def notes(
    measurement: Measurement, sustained: Sequence[Sustained] | None = None
) -> tuple[Finding, ...]:
    """Return the sentences that belong to the figures; what opens the report is not repeated."""
    first = opening(measurement)
    return tuple(each for each in findings(measurement, sustained) if each.text != first)


def golden_line(measurement: Measurement) -> str | None:
    """Return one line on the golden case, or None where the package has none."""
    if not measurement.golden:
        return None
    image = next((check for check in measurement.golden if check.layer == "image"), None)
    passed = sum(check.passed for check in measurement.golden)
    text = f"Golden case: {passed} of {len(measurement.golden)} checks passed"
    if image is not None:
        text += f"; image {decibels(image.psnr_db)} (at least {image.threshold_db:g} dB)"
    return text + "."


def interval_text(series: Series) -> str:
    """Write the 95 % interval of the median: `4.10 … 4.35 s`, or a dash."""
    interval = series.summary.interval
    if interval is None:
        return MISSING
    low, high = seconds(interval.low), seconds(interval.high)
    number, _, unit = low.rpartition(" ")
    return f"{number} … {high}" if high.endswith(f" {unit}") else f"{low} … {high}"


def _sustained_plot(
    measurement: Measurement, sustained: Sustained, width: int, unicode: bool
) -> str:
    drawn = timeline(sustained, shown_energies(measurement))
    if drawn is None:
        return ""
    names = ["step latency", *(panel.title for panel in drawn.sensors)]
    lines = draw_timeline(drawn, width=width, unicode=unicode)
    caption = f"Sustained: {', '.join(names)}; time 0 is the first image"
    return "\n".join([fill(caption, width), "", *lines])


def _latencies(measurement: Measurement) -> Table:
    found = all_series(measurement).values()
    columns = ["", "n", "median", "95 % interval", "p90", "p99", "min", "max", "MAD"]
    rows = []
    for series in found:
        summary = series.summary
        row = [series.title, str(summary.count), seconds(summary.median), interval_text(series)]
        row += [seconds(summary.p90), seconds(summary.p99)]
        if summary.count > 1:
            spread = f"{100 * summary.spread:.1f} %"
            row += [seconds(summary.minimum), seconds(summary.maximum), spread]
        else:
            row += [MISSING, MISSING, MISSING]
        rows.append(row)
    if all(series.summary.p99 is None for series in found):
        place = columns.index("p99")
        for row in (columns, *rows):
            del row[place]
    return Table(title="Latency", columns=tuple(columns), rows=tuple(map(tuple, rows)))


def _phases(measurement: Measurement) -> Table:
    shares = phase_shares(measurement)
    total = sum(share.median_s for share in shares)
    rows = tuple(
        (share.title, seconds(share.median_s), f"{100 * share.median_s / total:.1f} %")
        for share in shares
        if total > 0
    )
    return Table(title="A steady image", columns=("", "median", "share"), rows=rows)


def _memory(measurement: Measurement) -> Table:
    rows = [
        ("Package on disk", size(measurement.package.package_bytes)),
        *(
            row
            for run in measurement.of_kind("memory")
            if run.memory is not None
            for row in (
                ("Peak memory (PSS, file pages included)", size(run.memory.peak_pss_bytes)),
                *_gpu_row(run.memory),
                ("Peak anonymous memory", size(run.memory.peak_anonymous_bytes)),
                ("Peak file pages", size(run.memory.peak_file_bytes)),
                ("Read from storage", size(run.memory.read_bytes)),
            )
        ),
    ]
    return Table(title="Memory", columns=("", "size"), rows=tuple(rows))


def _gpu_row(memory: MemoryPeak) -> list[tuple[str, str]]:
    """Return the memory that a driver gave for the GPU; most devices cannot tell it."""
    if memory.peak_gpu_bytes is None:
        return []
    return [("Peak GPU memory (in no PSS)", size(memory.peak_gpu_bytes))]
