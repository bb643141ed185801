"""Names the series of a measurement, and summarises them.

Cold load, warm load, first image, steady image and step are different numbers, and are told apart.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from edgegen.core.measurement import ImageSample, Measurement, Run
from edgegen.statistics.latencies import Restarts, Summary, summarise

SeriesName = Literal[
    "launch",
    "cold_load",
    "warm_load",
    "cold_first_image",
    "first_image",
    "steady_image",
    "step",
    "outside_runtime",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Values of one kind in seconds, one tuple for each process, and what they say."""

    name: str
    title: str
    restarts: tuple[tuple[float, ...], ...]
    summary: Summary

    @property
    def values(self) -> tuple[float, ...]:
        """Return all values in the order in which they were measured."""
        return tuple(value for values in self.restarts for value in values)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseShare:
    """The median time that a part of a steady image takes."""

    name: str
    title: str
    median_s: float


_TITLES: dict[SeriesName, str] = {
    "launch": "Process start",
    "cold_load": "Cold load",
    "warm_load": "Warm load",
    "cold_first_image": "First image, cold",
    "first_image": "First image",
    "steady_image": "Steady image",
    "step": "Step",
    "outside_runtime": "Outside runtime",
}

_PHASE_TITLES = {
    "text_encoder": "Text",
    "vae_encoder": "Encode",
    "denoise": "Denoise",
    "vae_decoder": "Decode",
}


def all_series(measurement: Measurement) -> dict[SeriesName, Series]:
    """Return the series that a measurement holds, in the order of the report.

    A sustained run adds its start, load and first image. Its other images and its steps are no
    series: a median over a run that may throttle would mislead (see `throttling.py`).
    """
    cold, steady = measurement.of_kind("cold"), measurement.of_kind("steady")
    warm = steady + measurement.of_kind("sustained")
    restarts: dict[SeriesName, Restarts] = {
        "launch": _single(cold + warm, lambda run: run.launch_s),
        "cold_load": _single(tuple(filter(_was_cold, cold)), load_s),
        "warm_load": _single(warm, load_s),
        "cold_first_image": [first_images(run) for run in cold if _was_cold(run)],
        "first_image": [first_images(run) for run in warm],
        "steady_image": [[image.latency_s for image in steady_images(run)] for run in steady],
        "step": [
            [step.end_s - step.start_s for image in steady_images(run) for step in image.steps]
            for run in steady
        ],
        "outside_runtime": [
            [outside for image in steady_images(run) if (outside := _outside_s(image)) is not None]
            for run in steady
        ],
    }
    found: dict[SeriesName, Series] = {}
    for name, values in restarts.items():
        summary = summarise(values)
        if summary is not None:
            found[name] = Series(
                name=name,
                title=_TITLES[name],
                restarts=tuple(tuple(part) for part in values if part),
                summary=summary,
            )
    return found


def phase_shares(measurement: Measurement) -> tuple[PhaseShare, ...]:
    """Return the median time of each phase of the steady images, and of what lies between them."""
    images = [image for run in measurement.of_kind("steady") for image in steady_images(run)]
    times: dict[str, list[float]] = {}
    for image in images:
        for phase in image.phases:
            times.setdefault(phase.name, []).append(phase.end_s - phase.start_s)
        if image.load_s:
            times.setdefault("load", []).append(image.load_s)
        inside = sum(phase.end_s - phase.start_s for phase in image.phases) + image.load_s
        times.setdefault("between", []).append(max(0.0, image.latency_s - inside))
    titles = {**_PHASE_TITLES, "load": "Load", "between": "Between"}
    order = [*_PHASE_TITLES, "load", "between"]
    return tuple(
        PhaseShare(name=name, title=titles.get(name, name), median_s=statistics.median(values))
        for name, values in sorted(
            times.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order)
        )
    )


def steady_images(run: Run) -> tuple[ImageSample, ...]:
    """Return the images of a run that are not warm-ups."""
    return tuple(image for image in run.images if not image.warmup)


def timed_images(measurement: Measurement) -> list[ImageSample]:
    """Return the images of the steady and sustained runs that are not warm-ups."""
    runs = measurement.of_kind("steady") + measurement.of_kind("sustained")
    return [image for run in runs for image in steady_images(run)]


def first_images(run: Run) -> list[float]:
    """Return the latency of the first image of a process, in a list of one or none."""
    return [run.images[0].latency_s] if run.images else []


def load_s(run: Run) -> float | None:
    """Return the seconds that the first load of each component took, summed; None without any."""
    first: dict[str, float] = {}
    for load in run.loads:
        first.setdefault(load.component, load.end_s - load.start_s)
    return sum(first.values()) if first else None


def outside_share(measurement: Measurement) -> float | None:
    """Return the share of an image's time that was spent outside the runtime's calls.

    Steady and sustained images count, warm-ups do not.
    """
    images = timed_images(measurement)
    outside = [_outside_s(image) for image in images]
    total = sum(image.latency_s - image.load_s for image in images)
    if not images or total <= 0 or any(value is None for value in outside):
        return None
    return sum(value for value in outside if value is not None) / total


def _outside_s(image: ImageSample) -> float | None:
    if image.runtime_s is None:
        return None
    return max(0.0, image.latency_s - image.load_s - image.runtime_s)


def _single(runs: tuple[Run, ...], value_of: Callable[[Run], float | None]) -> list[list[float]]:
    return [[value] for run in runs if (value := value_of(run)) is not None]


def _was_cold(run: Run) -> bool:
    return run.page_cache is not None and run.page_cache.is_cold
