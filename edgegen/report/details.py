"""The later parts of the page: memory, pictures, sensors, processes, environment."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgegen.core.measurement import Measurement, Run
from edgegen.core.units import (
    MISSING,
    format_bytes,
    format_decibels,
    format_latency,
    format_moment,
    three_digits,
)
from edgegen.report import blocks, charts
from edgegen.report.blocks import explain, section, table_markup
from edgegen.report.sensor_names import sensor_name
from edgegen.report.svg import Markup, element
from edgegen.report.table import Table
from edgegen.report.terminal import device_name, sizes
from edgegen.statistics.analysis import Analysis
from edgegen.statistics.held_back import limits_at_start
from edgegen.statistics.series import load_s

_SMALL_WIDTH = 192
"""Images narrower than this are shown enlarged, with their pixels as squares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An image that was made during the measurement, as the bytes of a PNG file."""

    png: bytes
    caption: str


def pictures_in(folder: Path, measurement: Measurement) -> tuple[Picture, ...]:
    """Return the PNG files of a folder, with captions that say what they are."""
    work = measurement.workload
    caption = f"{work.width}×{work.height}, {work.steps} steps, made on this device"
    return tuple(
        Picture(png=path.read_bytes(), caption=caption) for path in sorted(folder.glob("*.png"))
    )


def memory(measurement: Measurement) -> Markup:
    rows = [(name, value) for name, value in sizes(measurement) if value is not None]
    peaks = [run.memory for run in measurement.of_kind("memory") if run.memory is not None]
    trees = [peak.processes for peak in peaks if peak.processes is not None]
    how = "Measured in a run of its own; each figure is its own highest."
    if len(rows) == 1:
        how = "What it takes in memory was not measured."
    elif trees:
        how += f" The runner had {max(trees)} {'process' if max(trees) == 1 else 'processes'}."
    return section(
        "Memory",
        explain(how),
        element("div", charts.size_bars(rows, label="Sizes in bytes"), class_="narrow"),
    )


def pictures(measurement: Measurement, pictures: Sequence[Picture]) -> Markup:
    if not pictures:
        return Markup("")
    work = measurement.workload
    figures = [
        element(
            "figure",
            element(
                "img",
                src="data:image/png;base64," + base64.b64encode(picture.png).decode(),
                alt=picture.caption,
            ),
            element("figcaption", picture.caption),
            class_="pixels" if work.width < _SMALL_WIDTH else None,
        )
        for picture in pictures
    ]
    prompt = work.prompt if work.prompt is not None else "(unconditional)"
    return section(
        "What it made",
        explain(f"{prompt} · seed {work.seed} · guidance {work.guidance:g}"),
        element("div", *figures, class_="pictures"),
    )


def sensors(analysis: Analysis) -> Markup:
    """Return a chart for each sensor that changed, what reading them took, and what was unseen."""
    measurement, timings = analysis.measurement, analysis.timings
    drawn = [
        (name, chart)
        for name, chart in charts.sensor_charts(measurement.runs)
        if timings is not None or not name.startswith(("power_w", "energy_j"))
    ]
    said = []
    cost = None if timings is None else timings.sampling
    if cost is not None:
        said.append(
            f"Reading the sensors took {format_latency(cost.reading_s)} each time, together "
            f"{three_digits(100 * cost.core_share)} % of one core at most."
        )
    if drawn and measurement.unseen:
        said.append(f"Not seen on this device: {', '.join(measurement.unseen)}.")
    if not drawn and not said:
        return Markup("")
    return section(
        "Sensors",
        *([explain(" ".join(said))] if said else []),
        element(
            "div",
            *(
                element("div", element("div", sensor_name(name).title, class_="label"), chart)
                for name, chart in drawn
            ),
            class_="sensors",
        ),
    )


def processes(measurement: Measurement, *, is_timed: bool) -> Markup:
    rows = []
    for name, run in named_runs(measurement):
        providers = sorted({provider for load in run.loads for provider in load.providers})
        cache = run.page_cache
        cached = (
            MISSING
            if cache is None or cache.resident_bytes is None
            else f"{100 * cache.resident_bytes / max(1, cache.file_bytes):.0f} %"
        )
        times = (run.started_s, run.launch_s, load_s(run))
        rows.append(
            (
                name,
                *(format_latency(value if is_timed else None) for value in times),
                str(len(run.images)),
                cached,
                ", ".join(provider.removesuffix("ExecutionProvider") for provider in providers)
                or MISSING,
            )
        )
    columns = ("", "at", "process start", "load", "images", "files in memory before", "ran on")
    return section(
        "Processes", table_markup(Table(title="Processes", columns=columns, rows=tuple(rows)))
    )


def facts(measurement: Measurement) -> Markup:
    """Return what is needed to judge the figures, or to measure them again."""
    package, work, device = measurement.package, measurement.workload, measurement.environment
    load = device.load_average
    unknown = {True: "yes", False: "no", None: MISSING}
    rows = [
        ("Model", f"{package.model}{f' @ {package.revision}' if package.revision else ''}"),
        ("Package", f"{package.target}, {package.recipe}, for {package.profile or 'any device'}"),
        ("Manifest SHA-256", package.manifest_sha256),
        ("Weights SHA-256", package.weights_sha256),
        ("Prompt", work.prompt or MISSING),
        ("Negative prompt", work.negative_prompt or MISSING),
        ("Steps", work.drawn),
        ("Guidance, seed", f"{work.guidance:g}, {work.seed}"),
        ("Providers", ", ".join(work.providers) or MISSING),
        ("Threads", _threads(measurement)),
        ("Arithmetic", _arithmetic(measurement)),
        ("Residency, memory", f"{work.residency}, {work.memory}"),
        ("Device", f"{device_name(device)}; {device.machine}"),
        ("Profile", device.profile or MISSING),
        ("Operating system", device.operating_system),
        ("Processor", f"{device.processor or MISSING}, {device.cores or MISSING} cores"),
        ("CPU quota", f"{device.cpu_quota:g} cores' time" if device.cpu_quota else "none"),
        ("Memory", format_bytes(device.memory_bytes)),
        (
            "Memory limit",
            format_bytes(device.memory_limit_bytes) if device.memory_limit_bytes else "none",
        ),
        *_limits(measurement),
        ("Frequency governor", device.governor or MISSING),
        ("Virtual machine", device.hypervisor or unknown[device.virtual_machine]),
        ("Emulated", unknown[device.emulated]),
        ("Start temperature", _start_temperature(measurement)),
        ("Load average at start", " ".join(f"{value:.2f}" for value in load) if load else MISSING),
        ("Versions", ", ".join(f"{name} {value}" for name, value in device.versions.items())),
        *(
            (
                f"Golden: {check.layer} {check.name}".strip(),
                f"{format_decibels(check.psnr_db)}, at least {check.threshold_db:g} dB",
            )
            for check in measurement.golden
        ),
    ]
    return section("Environment", blocks.facts(rows))


def _arithmetic(measurement: Measurement) -> str:
    types = {load.arithmetic for run in measurement.runs for load in run.loads if load.arithmetic}
    return " and ".join(sorted(types)) or MISSING


def _threads(measurement: Measurement) -> str:
    if measurement.workload.threads:
        return str(measurement.workload.threads)
    if measurement.environment.cpu_quota:
        return "as many as the CPU quota feeds"
    return "the runtime's own choice"


def _limits(measurement: Measurement) -> list[tuple[str, str]]:
    if not measurement.environment.limits:
        return [("Held back at the start", "no sensor here can report it")]
    now, since_boot = limits_at_start(measurement)
    return [
        ("Held back at the start", ", ".join(now) or "no"),
        ("Held back since its boot", ", ".join(since_boot) or "no, as far as it keeps count"),
    ]


def _start_temperature(measurement: Measurement) -> str:
    start = measurement.start_temperature
    if start is None:
        return "not awaited"
    waited = format_moment(start.waited_s)
    told = f"{start.first_c:.1f} °C, {start.last_c:.1f} °C after a wait of {waited}"
    reached = "" if start.reached else ", not reached"
    return f"{sensor_name(start.sensor).title}: {told}{reached}"


def named_runs(measurement: Measurement) -> list[tuple[str, Run]]:
    """Return the runs with the names that charts and tables give them."""
    names, restarts = [], 0
    for run in measurement.runs:
        if run.kind == "steady":
            restarts += 1
            names.append((f"restart {restarts}", run))
        else:
            names.append((run.kind, run))
    return names
