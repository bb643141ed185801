"""A measurement as text: tables, a plot of the series, and what must be said with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgegen.bench.findings import Finding, findings, latencies_mean_something
from edgegen.bench.series import Series, all_series, phase_shares
from edgegen.core.measurement import Measurement
from edgegen.report.figures import MISSING, decibels, seconds, size
from edgegen.report.plot import plot_series


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of texts; all columns but the first are figures, aligned on the right."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(measurement: Measurement) -> tuple[Table, ...]:
    """Return the tables of a measurement: the latencies, the phases and the memory.

    An emulated processor's latencies are left out.
    """
    found = [_memory(measurement)]
    if latencies_mean_something(measurement):
        found = [_latencies(measurement), _phases(measurement), *found]
    return tuple(table for table in found if table.rows)


def headline(measurement: Measurement) -> str:
    """Return one line that says what was measured, and on what."""
    package, work, device = measurement.package, measurement.workload, measurement.environment
    what = f"{package.model} · {package.target}-{package.recipe} · {work.width}×{work.height}"
    return (
        f"{what}, {work.steps} steps, {work.scheduler} on {device.processor or device.machine}"
        f"{' (virtual machine)' if device.virtual_machine else ''}"
        f"{' (EMULATED)' if device.emulated else ''}"
    )


def plot(measurement: Measurement, *, width: int = 80, unicode: bool = True) -> str:
    """Return the plot of the steps' latencies, or of the images' where there are no steps."""
    series = all_series(measurement)
    chosen = series.get("step") or series.get("steady_image")
    if chosen is None or not latencies_mean_something(measurement):
        return ""
    lines = plot_series(chosen.restarts, label=seconds, width=width, unicode=unicode)
    count = len(chosen.values)
    return "\n".join([f"{chosen.title}, each of {count} in the order measured", "", *lines])


def notes(measurement: Measurement) -> tuple[Finding, ...]:
    """Return the sentences that belong to the figures."""
    return findings(measurement)


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
                ("Peak anonymous memory", size(run.memory.peak_anonymous_bytes)),
                ("Peak file pages", size(run.memory.peak_file_bytes)),
                ("Read from storage", size(run.memory.read_bytes)),
            )
        ),
    ]
    return Table(title="Memory", columns=("", "size"), rows=tuple(rows))


def fitted(table: Table, width: int) -> Table:
    """Leave out what is least needed until the table fits a terminal of `width` columns.

    Each column takes three more than its text (padding and a rule). The page and the raw samples
    keep everything.
    """
    for name in ("MAD", "min", "p99"):
        widths = [max(map(len, column)) for column in zip(table.columns, *table.rows, strict=True)]
        if sum(widths) + 3 * len(widths) + 1 <= width or name not in table.columns:
            continue
        place = table.columns.index(name)
        table = Table(
            title=table.title,
            columns=table.columns[:place] + table.columns[place + 1 :],
            rows=tuple(row[:place] + row[place + 1 :] for row in table.rows),
        )
    return table


def aligned(table: Table) -> Sequence[tuple[str, ...]]:
    """Return the rows with their figures padded on the left, so that they line up."""
    widths = [
        max(len(row[i]) for row in (table.columns, *table.rows)) for i in range(len(table.columns))
    ]
    return [
        (row[0], *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)))
        for row in table.rows
    ]
