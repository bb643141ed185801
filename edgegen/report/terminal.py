"""A measurement as text: tables, a plot of the series, and what must be said with them."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import fill

from edgegen.core.measurement import Environment, Measurement
from edgegen.core.units import MISSING, format_bytes, format_decibels, format_latency
from edgegen.report.plot import plot_series
from edgegen.report.sustained import energy_table, sustained_table, verdict_sentence
from edgegen.report.table import Table
from edgegen.report.time_plot import draw_timeline
from edgegen.report.timeline import timeline
from edgegen.statistics.analysis import Analysis
from edgegen.statistics.energy import ImageEnergy
from edgegen.statistics.series import PhaseShare, Series, SeriesName
from edgegen.statistics.sustained import Sustained, outermost


def tables(analysis: Analysis) -> tuple[Table, ...]:
    """Return the tables of a measurement: sustained runs, latencies, phases, energy and memory."""
    found = [_memory(analysis.measurement)]
    timings = analysis.timings
    if timings is not None:
        start = analysis.measurement.start_temperature
        found = [
            *(sustained_table(each, start, timings.energies) for each in timings.sustained),
            latency_table(timings.series),
            _phases(timings.phases),
            *([] if timings.sustained else [energy_table(outermost(timings.energies))]),
            *found,
        ]
    return tuple(table for table in found if table.rows)


def headline(measurement: Measurement) -> str:
    """Return one line that says what was measured, and on what."""
    package, work = measurement.package, measurement.workload
    cut = "INTERRUPTED: " if measurement.interrupted is not None else ""
    what = f"{cut}{package.model} · {package.target}-{package.recipe} · {work.width}×{work.height}"
    computed = "" if work.arithmetic is None else f", in {work.arithmetic}"
    with_loras = "".join(f", with {lora}" for lora in work.loras)
    how = f"{work.steps} steps{with_loras}, {work.scheduler}{computed}"
    return f"{what}, {how} on {device_name(measurement.environment)}"


def device_name(device: Environment) -> str:
    """Name a device: model, processor, address unless it is local, and what it is not."""
    names = [name for name in (device.model, device.processor) if name]
    text = ", ".join(dict.fromkeys(names)) or device.machine
    if device.device != "local":
        text += f" at {device.device}"
    if device.virtual_machine:
        text += " (virtual machine)"
    return text + (" (EMULATED)" if device.emulated else "")


def verdicts(analysis: Analysis) -> tuple[str, ...]:
    """Return what each sustained run shows, in plain sentences."""
    if analysis.timings is None:
        return tuple(
            f"EMULATED: {len(run.images)} images were made in one process. Nothing was timed."
            for run in analysis.measurement.of_kind("sustained")
        )
    return tuple(verdict_sentence(each) for each in analysis.timings.sustained)


def plot(analysis: Analysis, *, width: int = 80, unicode: bool = True) -> str:
    """Return the plots: sustained runs over time, and the steps or images of the restarts."""
    timings = analysis.timings
    if timings is None:
        return ""
    blocks = [_sustained_plot(each, timings.energies, width, unicode) for each in timings.sustained]
    chosen = timings.series.get("step") or timings.series.get("steady_image")
    if chosen is not None:
        lines = plot_series(chosen.restarts, label=format_latency, width=width, unicode=unicode)
        caption = f"{chosen.title}, each of {len(chosen.values)} in the order measured"
        blocks.append("\n".join([fill(caption, width), "", *lines]))
    return "\n\n".join(block for block in blocks if block)


def golden_line(measurement: Measurement) -> str | None:
    """Return one line on the golden case, or None where the package has none."""
    if not measurement.golden:
        return None
    image = next((check for check in measurement.golden if check.layer == "image"), None)
    passed = sum(check.passed for check in measurement.golden)
    text = f"Golden case: {passed} of {len(measurement.golden)} checks passed"
    if image is not None:
        text += f"; image {format_decibels(image.psnr_db)} (at least {image.threshold_db:g} dB)"
    return text + "."


def interval_text(series: Series) -> str:
    """Write the 95 % interval of the median: `4.10 … 4.35 s`, or a dash."""
    interval = series.summary.interval
    if interval is None:
        return MISSING
    low, high = format_latency(interval.low), format_latency(interval.high)
    number, _, unit = low.rpartition(" ")
    return f"{number} … {high}" if high.endswith(f" {unit}") else f"{low} … {high}"


def _sustained_plot(
    sustained: Sustained, energies: tuple[ImageEnergy, ...], width: int, unicode: bool
) -> str:
    drawn = timeline(sustained, energies)
    if drawn is None:
        return ""
    names = ["step latency", *(panel.title for panel in drawn.sensors)]
    lines = draw_timeline(drawn, width=width, unicode=unicode)
    caption = f"Sustained: {', '.join(names)}; time 0 is the first image"
    return "\n".join([fill(caption, width), "", *lines])


def latency_table(found: Mapping[SeriesName, Series]) -> Table:
    """Return the table of all series; without a p99 where no series is long enough for one."""
    columns = ["", "n", "median", "95 % interval", "p90", "p99", "min", "max", "MAD"]
    rows = []
    for series in found.values():
        summary = series.summary
        row = [
            series.title,
            str(summary.count),
            format_latency(summary.median),
            interval_text(series),
        ]
        row += [format_latency(summary.p90), format_latency(summary.p99)]
        if summary.count > 1:
            spread = f"{100 * summary.spread:.1f} %"
            row += [format_latency(summary.minimum), format_latency(summary.maximum), spread]
        else:
            row += [MISSING, MISSING, MISSING]
        rows.append(row)
    if all(series.summary.p99 is None for series in found.values()):
        place = columns.index("p99")
        for row in (columns, *rows):
            del row[place]
    return Table(title="Latency", columns=tuple(columns), rows=tuple(map(tuple, rows)))


def _phases(shares: tuple[PhaseShare, ...]) -> Table:
    total = sum(share.median_s for share in shares)
    rows = tuple(
        (share.title, format_latency(share.median_s), f"{100 * share.median_s / total:.1f} %")
        for share in shares
        if total > 0
    )
    return Table(title="A steady image", columns=("", "median", "share"), rows=rows)


def sizes(measurement: Measurement) -> list[tuple[str, int | None]]:
    """Return the sizes on disk and in memory, by name; None for what the device could not tell."""
    found: list[tuple[str, int | None]] = [("Package on disk", measurement.package.package_bytes)]
    for run in measurement.of_kind("memory"):
        if run.memory is None:
            continue
        found.append(("Peak memory (PSS, file pages included)", run.memory.peak_pss_bytes))
        if run.memory.peak_gpu_bytes is not None:  # most devices cannot tell it
            found.append(("Peak GPU memory (in no PSS)", run.memory.peak_gpu_bytes))
        found.append(("Peak anonymous memory", run.memory.peak_anonymous_bytes))
        found.append(("Peak file pages", run.memory.peak_file_bytes))
        found.append(("Read from storage", run.memory.read_bytes))
    return found


def _memory(measurement: Measurement) -> Table:
    rows = tuple((name, format_bytes(value)) for name, value in sizes(measurement))
    return Table(title="Memory", columns=("", "size"), rows=rows)
