"""What the sustained runs of a measurement show; judging them can take seconds."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edgegen.core.limits import shows_throttling
from edgegen.core.measurement import ImageSample, Measurement, Run, SensorSample
from edgegen.statistics.energy import ImageEnergy
from edgegen.statistics.series import steady_images
from edgegen.statistics.throttling import Judgement, first_and_last, judge, usable_steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Sustained:
    """A sustained run and its judgement.

    `zero_s` is the start of the first image, warm-up included: from then on the device worked.
    """

    run: Run
    judgement: Judgement
    zero_s: float

    @property
    def images(self) -> tuple[ImageSample, ...]:
        """Return the images after the warm-up."""
        return steady_images(self.run)

    @property
    def duration_s(self) -> float:
        """Return the seconds from the start of the first of them to the end of the last."""
        images = self.images
        return images[-1].end_s - images[0].start_s if images else 0.0

    @property
    def tells_throttling(self) -> bool:
        """Return whether a flag, a state or a counter of throttling ever answered."""
        return any(
            value is not None and shows_throttling(name)
            for sample in self.run.sensors
            for name, value in sample.values.items()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PartLatency:
    """Median latencies of a sustained run: of the `whole`, or of its `start` and of its `end`."""

    part: Literal["start", "end", "whole"]
    images: int
    steps: int
    image_s: float
    step_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingCost:
    """What reading the sensors took: the mean of one reading, and the share of one core."""

    reading_s: float
    core_share: float


def sustained_runs(measurement: Measurement) -> tuple[Sustained, ...]:
    """Judge each sustained run that made an image."""
    return tuple(
        Sustained(run=run, judgement=judge(run), zero_s=run.images[0].start_s)
        for run in measurement.of_kind("sustained")
        if run.images
    )


def part_latencies(sustained: Sustained) -> tuple[PartLatency, ...]:
    """Return the median latency of an image and of a step, at the start and at the end.

    Where the run is too short for both, it is that of all of them; nothing without images.
    """
    images = sustained.images
    parts = first_and_last(images)
    if parts is None:
        return (_part_latency("whole", images),) if images else ()
    return (_part_latency("start", parts[0]), _part_latency("end", parts[1]))


def _part_latency(
    part: Literal["start", "end", "whole"], images: Sequence[ImageSample]
) -> PartLatency:
    steps = usable_steps([step for image in images for step in image.steps])
    return PartLatency(
        part=part,
        images=len(images),
        steps=len(steps),
        image_s=statistics.median(image.latency_s - image.load_s for image in images),
        step_s=statistics.median(step.end_s - step.start_s for step in steps) if steps else None,
    )


def outermost(energies: Sequence[ImageEnergy]) -> tuple[ImageEnergy, ...]:
    """Return the sensors that are part of no other: one where it contains all others."""
    return tuple(each for each in energies if not each.within)


def sampling_cost(measurement: Measurement) -> SamplingCost | None:
    """Return what reading the sensors took, over all runs; None where no run says it."""
    costs: list[float] = []
    spent_s = spanned_s = 0.0
    for run in measurement.runs:
        timed: list[SensorSample] = [each for each in run.sensors if each.cost_s is not None]
        costs += [each.cost_s for each in timed if each.cost_s is not None]
        for sample, following in itertools.pairwise(timed):
            spent_s += sample.cost_s or 0.0
            spanned_s += following.time_s - sample.time_s
    if not costs or spanned_s <= 0:
        return None
    return SamplingCost(reading_s=sum(costs) / len(costs), core_share=spent_s / spanned_s)
