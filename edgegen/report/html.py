"""A measurement as one self-contained page: it loads nothing, and works without scripts.

Whatever comes from a package or a prompt is text, never markup: `svg.element` escapes it.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgegen.core.measurement import Measurement
from edgegen.core.units import format_bytes, format_latency
from edgegen.report import charts, details
from edgegen.report.blocks import cards, explain, pair, section, table_markup, wide
from edgegen.report.details import Picture
from edgegen.report.document import document, header
from edgegen.report.sustained import VERDICTS
from edgegen.report.sustained_page import (
    emulated_section,
    energy_cards,
    energy_section,
    sustained_section,
)
from edgegen.report.svg import Markup, element
from edgegen.report.terminal import (
    device_name,
    golden_line,
    interval_text,
    latency_table,
    verdicts,
)
from edgegen.statistics.analysis import Analysis
from edgegen.statistics.series import SeriesName, first_images, load_s, steady_images
from edgegen.statistics.timings import Timings


def page(analysis: Analysis, pictures: Sequence[Picture] = ()) -> str:
    measurement, timings = analysis.measurement, analysis.timings
    package = measurement.package
    title = f"{package.model} · {package.target}-{package.recipe}"
    body = [
        _header(analysis, title),
        _opening(analysis),
        *_sustained(analysis),
        _cards(analysis),
        _notes(analysis),
        *([] if timings is None else _latency_charts(measurement, timings)),
        energy_section(() if timings is None else timings.energies),
        pair(details.memory(measurement), details.pictures(measurement, pictures)),
        details.sensors(analysis),
        _latencies(timings),
        details.processes(measurement, is_timed=timings is not None),
        details.facts(measurement),
    ]
    return document(
        f"{title} – edgegen bench",
        body,
        measurement,
        file_name="measurement.json",
        made="Made by edgegen bench. Every figure above is computed from the raw samples.",
    )


def _header(analysis: Analysis, title: str) -> Markup:
    measurement, timings = analysis.measurement, analysis.timings
    work, device = measurement.workload, measurement.environment
    badges = [
        ("", f"{work.width} × {work.height}"),
        ("", f"{work.steps} steps"),
        ("", work.scheduler),
    ]
    if measurement.golden:
        badges.append(("good", "same image as the reference"))
    if device.emulated:
        badges.append(("warn", "EMULATED"))
    if device.virtual_machine:
        badges.append(("warn", "virtual machine"))
    if analysis.held_back is not None:
        badges.append(("warn", "held back"))
    if measurement.interrupted is not None:
        badges.append(("warn", "interrupted"))
    if measurement.quick:
        badges.append(("warn", "quick: not for comparison"))
    for each in () if timings is None else timings.sustained:
        verdict = each.judgement.verdict
        badges.append(("good" if verdict == "steady" else "warn", VERDICTS[verdict].lower()))
    where = f"{device_name(device)} · {device.operating_system}"
    return header(title, f"{where} · {device.started_at}", badges)


def _opening(analysis: Analysis) -> Markup:
    if analysis.held_back is None:
        return Markup("")
    return element("p", analysis.held_back, class_="verdict warn opening")


def _sustained(analysis: Analysis) -> list[Markup]:
    timings = analysis.timings
    if timings is None:
        told = verdicts(analysis)
        return [emulated_section(told)] if told else []
    start = analysis.measurement.start_temperature
    return [sustained_section(each, start, timings.energies) for each in timings.sustained]


def _cards(analysis: Analysis) -> Markup:
    shown = [] if analysis.timings is None else _timing_cards(analysis.timings)
    for run in analysis.measurement.of_kind("memory"):
        if run.memory is not None and run.memory.peak_pss_bytes is not None:
            anonymous = format_bytes(run.memory.peak_anonymous_bytes)
            detail = f"PSS, file pages included; anonymous {anonymous}"
            shown.append(("Peak memory", format_bytes(run.memory.peak_pss_bytes), detail))
        if run.memory is not None and run.memory.peak_gpu_bytes is not None:
            shown.append(("Peak GPU memory", format_bytes(run.memory.peak_gpu_bytes), "in no PSS"))
    shown.append(("Package", format_bytes(analysis.measurement.package.package_bytes), "on disk"))
    return element("section", cards(shown))


def _timing_cards(timings: Timings) -> list[tuple[str, str, str]]:
    shown = []
    chosen: tuple[SeriesName, ...] = (
        "steady_image",
        "step",
        "first_image",
        "warm_load",
        "cold_load",
    )
    for name in chosen:
        one = timings.series.get(name)
        if one is None:
            continue
        if one.summary.interval is not None:
            detail = f"median; 95 % interval {interval_text(one)}"
        elif one.summary.count == 1:
            detail = "measured once"
        else:
            detail = f"median of {one.summary.count}"
        shown.append((one.title, format_latency(one.summary.median), detail))
    return shown if timings.sustained else [*shown, *energy_cards(timings.energies)]


def _notes(analysis: Analysis) -> Markup:
    lines = [(finding.weight, finding.text) for finding in analysis.findings]
    golden = golden_line(analysis.measurement)
    if golden is not None:
        lines.append(("note", golden))
    if not lines:
        return Markup("")
    return section(
        "What to know",
        element("ul", *(element("li", text, class_=kind) for kind, text in lines), class_="notes"),
        plain=True,
    )


def _latency_charts(measurement: Measurement, timings: Timings) -> list[Markup]:
    drawn, series = [], timings.series
    if "steady_image" in series:
        drawn.append(
            section(
                "Steady images",
                explain(
                    "Each dot is one image: text, all steps, decode. Boxes hold the middle half of "
                    "a restart, the dashed line is the median, the band its 95 % interval."
                ),
                wide(charts.strip_chart(series["steady_image"])),
            )
        )
    if "step" in series:
        counts = [len(steady_images(run)) for run in measurement.of_kind("steady")]
        drawn.append(
            section(
                "Steps",
                explain("Every denoising step of the steady images, in the order measured."),
                wide(charts.time_series(series["step"], images=counts)),
            )
        )
    starts = _starts(measurement)
    if starts and series:
        drawn.append(
            section(
                "From start to the first image",
                explain(
                    "Process start is the interpreter and its imports. "
                    "Cold: the package's files were evicted from the page cache first."
                ),
                wide(charts.stacked_bars(starts, title="Start, load and first image")),
            )
        )
    if series and timings.phases:
        parts = [(share.title, share.median_s) for share in timings.phases]
        drawn.append(
            section(
                "A steady image",
                explain("The median of each part; 'between' is what no part accounts for."),
                wide(charts.stacked_bars([("one image", parts)], title="Parts of an image")),
            )
        )
    return drawn


def _starts(measurement: Measurement) -> list[tuple[str, list[tuple[str, float]]]]:
    rows = []
    for name, run in details.named_runs(measurement):
        load, first = load_s(run), first_images(run)
        if run.kind in ("cold", "steady", "sustained") and load is not None and first:
            parts = [("Process start", run.launch_s), ("Load", load), ("First image", first[0])]
            rows.append((name, parts))
    return rows


def _latencies(timings: Timings | None) -> Markup:
    """Return the table of latencies; the page draws what the terminal's other tables say."""
    if timings is None or not timings.series:
        return Markup("")
    table = latency_table(timings.series)
    return section(table.title, table_markup(table))
