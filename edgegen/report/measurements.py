"""Several measurements beside each other: a table, and how each one's images are spread."""

from __future__ import annotations

from collections.abc import Sequence

from edgegen.core.measurement import Measurement
from edgegen.core.units import MISSING, format_bytes, format_joules, format_latency, format_when
from edgegen.report.plain import CsvCell, csv_text
from edgegen.report.strips import Strip, strips
from edgegen.report.svg import Markup
from edgegen.report.table import Table
from edgegen.report.terminal import device_name, interval_text
from edgegen.statistics.analysis import Analysis
from edgegen.statistics.series import Series
from edgegen.statistics.sustained import outermost

Named = Sequence[tuple[str, Analysis]]


def measured_table(named: Named) -> Table:
    """Return a row for each measurement; columns that none has are left out."""
    rows = [_row(name, analysis) for name, analysis in named]
    columns = (
        *("package", "images", "median", "95 % interval", "p90"),
        *("memory", "energy", "size", "device", "started"),
    )
    kept = [
        place
        for place, name in enumerate(columns)
        if name in ("package", "median") or any(row[place] != MISSING for row in rows)
    ]
    return Table(
        title="Measured: a steady image",
        columns=tuple(columns[place] for place in kept),
        rows=tuple(tuple(row[place] for place in kept) for row in rows),
        words=("device", "started"),
    )


def latency_strips(named: Named) -> Markup | None:
    """Draw each steady image of each measurement; None where no one has any."""
    rows = [
        Strip(
            label=name,
            values=tuple(
                (value, f"{name}, restart {restart}, image {index}: {format_latency(value)}")
                for restart, values in enumerate(steady.restarts, start=1)
                for index, value in enumerate(values, start=1)
            ),
        )
        for name, analysis in named
        if (steady := steady_images(analysis)) is not None
    ]
    if not rows:
        return None
    title = "Latency of each steady image, by package"
    return strips(rows, format_latency, axis="latency of a steady image", title=title)


def steady_images(analysis: Analysis) -> Series | None:
    """Return the series of steady images; None where there is none, or times mean nothing."""
    return None if analysis.timings is None else analysis.timings.series.get("steady_image")


def peak_memory(measurement: Measurement) -> int | None:
    """Return the highest sum of PSS, in bytes; None where it was not measured."""
    peaks = [
        run.memory.peak_pss_bytes
        for run in measurement.of_kind("memory")
        if run.memory is not None and run.memory.peak_pss_bytes is not None
    ]
    return max(peaks, default=None)


def image_energy(analysis: Analysis) -> float | None:
    """Return the joules of an image by the sensor that contains all others; else None."""
    tops = outermost(() if analysis.timings is None else analysis.timings.energies)
    return tops[0].image_j if len(tops) == 1 else None


def differences(named: Named) -> tuple[str, ...]:
    """Return what else than the package differs, so that figures are no comparison."""
    found = [analysis.measurement for _, analysis in named]
    first = found[0]
    said = []
    devices = {device_name(it.environment) for it in found}
    if len(devices) > 1:
        said.append(f"Measured on several devices: {'; '.join(sorted(devices))}.")
    for name in (
        *("width", "height", "steps", "guidance", "cache_interval"),
        *("scheduler", "loras", "threads", "arithmetic", "prompt", "seed"),
    ):
        if any(getattr(it.workload, name) != getattr(first.workload, name) for it in found):
            values = dict.fromkeys(str(getattr(it.workload, name)) for it in found)
            said.append(f"They drew with another {name.replace('_', ' ')}: {', '.join(values)}.")
    if any(it.quick for it in found):
        said.append("Quick measurements are not for comparison.")
    return tuple(said)


def csv(named: Named) -> str:
    """Return a row for each measurement; times are seconds, and keep all their digits."""
    columns = (
        *("package", "model", "target", "recipe", "manifest_sha256", "package_bytes"),
        *("width", "height", "steps", "device", "emulated", "started_at", "images", "median_s"),
        *("interval_low_s", "interval_high_s", "p90_s", "peak_pss_bytes", "image_j"),
    )
    rows = []
    for name, analysis in named:
        measurement, steady = analysis.measurement, steady_images(analysis)
        package, work, device = (
            measurement.package,
            measurement.workload,
            measurement.environment,
        )
        summary = None if steady is None else steady.summary
        interval = None if summary is None else summary.interval
        cells: tuple[CsvCell, ...] = (
            *(name, package.model, package.target, package.recipe, package.manifest_sha256),
            *(package.package_bytes, work.width, work.height, work.steps, device_name(device)),
            *(device.emulated, device.started_at, None if summary is None else summary.count),
            None if summary is None else summary.median,
            None if interval is None else interval.low,
            None if interval is None else interval.high,
            None if summary is None else summary.p90,
            *(peak_memory(measurement), image_energy(analysis)),
        )
        rows.append(cells)
    return csv_text(columns, rows)


def _row(name: str, analysis: Analysis) -> tuple[str, ...]:
    measurement, steady = analysis.measurement, steady_images(analysis)
    return (
        name,
        MISSING if steady is None else str(steady.summary.count),
        format_latency(None if steady is None else steady.summary.median),
        MISSING if steady is None else interval_text(steady),
        format_latency(None if steady is None else steady.summary.p90),
        format_bytes(peak_memory(measurement)),
        format_joules(image_energy(analysis)),
        format_bytes(measurement.package.package_bytes),
        device_name(measurement.environment),
        format_when(measurement.environment.started_at),
    )
