"""Several measurements as one self-contained page."""

from __future__ import annotations

from collections.abc import Sequence

from edgegen.core.measurement import Measurement
from edgegen.core.units import format_when
from edgegen.report import blocks
from edgegen.report.blocks import explain, section, table_markup
from edgegen.report.document import document, header
from edgegen.report.measurements import Named, differences, latency_strips, measured_table
from edgegen.report.sustained_page import sustained_section
from edgegen.report.svg import Markup, element
from edgegen.report.terminal import device_name
from edgegen.statistics.analysis import Analysis

_MOST_SUSTAINED = 6


def page(analyses: Sequence[Analysis]) -> str:
    """Return the page of several measurements; ValueError for none."""
    if not analyses:
        raise ValueError("a page of measurements needs one")
    named = names(analyses)
    title = f"{len(named)} measurements"
    body = [
        _header(title, named),
        _warnings(named),
        section("Side by side", table_markup(measured_table(named))),
        _spread(named),
        *_sustained(named),
        *(_facts(name, analysis.measurement) for name, analysis in named),
    ]
    return document(
        f"{title} – edgegen",
        body,
        {"measurements": [analysis.measurement for analysis in analyses]},
        file_name="measurements.json",
        made="Every figure above is computed from the raw samples. Made by edgegen.",
    )


def names(analyses: Sequence[Analysis]) -> list[tuple[str, Analysis]]:
    """Return each with a name; those that would be called the same get a number."""
    titles = []
    for analysis in analyses:
        package = analysis.measurement.package
        model = package.model.removeprefix("builtin:")
        titles.append(f"{model}, {package.target} {package.recipe}")
    return [
        (f"{title} ({place})" if titles.count(title) > 1 else title, analysis)
        for place, (title, analysis) in enumerate(zip(titles, analyses, strict=True), start=1)
    ]


def _header(title: str, named: Named) -> Markup:
    devices = dict.fromkeys(device_name(it.measurement.environment) for _, it in named)
    started = sorted({it.measurement.environment.started_at for _, it in named})
    when = " to ".join(format_when(it) for it in dict.fromkeys((started[0], started[-1])))
    return header(title, f"{'; '.join(devices)} · {when}", ())


def _warnings(named: Named) -> Markup:
    lines = list(differences(named))
    for name, analysis in named:
        told = [analysis.held_back] if analysis.held_back is not None else []
        told += [finding.text for finding in analysis.findings if finding.weight == "warning"]
        lines += [f"{name}: {text}" for text in told]
    if not lines:
        return Markup("")
    items = [element("li", text, class_="warning") for text in lines]
    return section("What to know", element("ul", *items, class_="notes"), plain=True)


def _spread(named: Named) -> Markup:
    chart = latency_strips(named)
    if chart is None:
        return Markup("")
    said = "Each dot is one image, the box the middle half, the line in it the median."
    return section(
        "Steady images", explain(said), element("div", chart, class_="narrow-chart plots")
    )


def _sustained(named: Named) -> list[Markup]:
    shown = []
    for name, analysis in named:
        if analysis.timings is not None:
            start, energies = analysis.measurement.start_temperature, analysis.timings.energies
            shown += [
                sustained_section(run, start, energies, of=name)
                for run in analysis.timings.sustained
            ]
    return shown[:_MOST_SUSTAINED]


def _facts(name: str, measurement: Measurement) -> Markup:
    work, device, package = measurement.workload, measurement.environment, measurement.package
    versions = ", ".join(f"{key} {value}" for key, value in device.versions.items())
    rows = [
        ("Workload", f"{work.width}×{work.height}, {work.drawn}, {work.scheduler}"),
        ("Device", f"{device_name(device)}; {device.operating_system}"),
        ("Started", device.started_at),
        ("Manifest SHA-256", package.manifest_sha256),
        ("Weights SHA-256", package.weights_sha256),
        ("Versions", versions),
    ]
    return section(f"Where it is from: {name}", blocks.facts(rows))
