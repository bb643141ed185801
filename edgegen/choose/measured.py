"""The figures of a package from what was measured of it: each with its interval and its source."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from edgegen_runner.scheduler_names import calls_of

from edgegen.core.figures import UNKNOWN, Figure, exact
from edgegen.core.measurement import Measurement
from edgegen.statistics.energy import image_energies, whole
from edgegen.statistics.quantiles import p90_interval
from edgegen.statistics.series import all_series, steady_images
from edgegen.statistics.student import student_t
from edgegen.statistics.throttling import judge

LOOK_LOW, LOOK_HIGH = 0.8, 1.6
"""How far the p90 of many images may lie below the fastest and above the slowest of a few."""


def figures_of(measurement: Measurement) -> dict[str, Figure]:
    """Return latency, memory and energy of a measurement with restarts; a missing one is unknown.

    An emulated device's latency and energy mean nothing, and are unknown.
    """
    source = _source(measurement)
    found = {"memory": _memory(measurement, source)}
    if not measurement.environment.emulated:
        found["latency"] = _latency(measurement, source)
        found["energy"] = _energy(measurement, source)
    return {name: figure for name, figure in found.items() if figure.value is not None}


def glimpse_of(measurement: Measurement) -> dict[str, Figure]:
    """Return wide bounds of the latency, from the few images of a quick measurement."""
    values = [value for series in _steady(measurement) for value in series]
    if not values or measurement.environment.emulated:
        return {}
    return {
        "latency": Figure(
            value=statistics.median(values),
            low=min(values) * LOOK_LOW,
            high=max(values) * LOOK_HIGH,
            origin="predicted",
            source=f"{len(values)} images, {_source(measurement)}",
        )
    }


def slowdown_of(measurement: Measurement) -> Figure:
    """Return how much longer the last images of a sustained run took than the first.

    Unknown where the run was too short to say, or the device was held back from the beginning.
    """
    runs = measurement.of_kind("sustained")
    if not runs:
        return UNKNOWN
    judged = judge(runs[-1])
    start, end = judged.start_images_per_minute, judged.end_images_per_minute
    if judged.verdict in ("unknown", "held_back") or not start or not end:
        return UNKNOWN
    return exact(max(1.0, start / end), source=f"sustained, {_source(measurement)}")


def step_of(measurement: Measurement) -> Figure:
    """Return the median time of a step of steady images; its bounds hold four fifths of them.

    A step of some schedulers is two of what is measured, calls of the denoiser.
    """
    series = all_series(measurement).get("step")
    if series is None:
        return UNKNOWN
    values = sorted(series.values)
    tenth = len(values) // 10
    workload = measurement.workload
    calls = calls_of(workload.scheduler, workload.steps) / workload.steps
    return Figure(
        value=series.summary.median * calls,
        low=values[tenth] * calls,
        high=values[-1 - tenth] * calls,
        origin="measured",
        source=_source(measurement),
    )


def _latency(measurement: Measurement, source: str) -> Figure:
    interval = p90_interval(_steady(measurement))
    if interval is None:
        return UNKNOWN
    return Figure(
        value=interval.value,
        low=interval.low,
        high=interval.high,
        origin="measured",
        source=source,
    )


def _steady(measurement: Measurement) -> list[list[float]]:
    return [
        [image.latency_s for image in steady_images(run)] for run in measurement.of_kind("steady")
    ]


def _memory(measurement: Measurement, source: str) -> Figure:
    peaks = [
        run.memory.peak_pss_bytes
        for run in measurement.of_kind("memory")
        if run.memory is not None and run.memory.peak_pss_bytes is not None
    ]
    return exact(float(max(peaks)), source=source) if peaks else UNKNOWN


def _energy(measurement: Measurement, source: str) -> Figure:
    energy = whole(image_energies(measurement))
    if energy is None:
        return UNKNOWN
    low, high = _interval(energy.restarts_j)
    return Figure(
        value=energy.image_j,
        low=min(low, energy.image_j),
        high=max(high, energy.image_j),
        origin="measured",
        source=f"{energy.sensor}, {source}",
    )


def _interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % interval of the mean of few independent values."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, mean
    half = student_t(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return mean - half, mean + half


def _source(measurement: Measurement) -> str:
    environment = measurement.environment
    name = environment.model or environment.processor or environment.device
    return f"{name}, {environment.started_at[:16].replace('T', ' ')}"


def elsewhere(figures: Mapping[str, Figure]) -> dict[str, Figure]:
    """Return figures that were measured on another device of the same kind."""
    return {
        name: Figure(
            value=figure.value,
            low=figure.low,
            high=figure.high,
            origin="measured elsewhere",
            source=figure.source,
        )
        for name, figure in figures.items()
    }
