"""How long an image takes on a device, scaled from what was measured there.

An image's time is that of its phases, and what is between them. Phases are scaled one by one by
their arithmetic, so that other steps, another size and another model are the same question with
less and less in common, and a wider and wider interval.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from edgegen.core.measurement import ImageSample, Measurement
from edgegen.predict.work import Work

Origin = Literal["same package", "same format", "same device"]

WIDTHS: Mapping[Origin, float] = {"same package": 1.1, "same format": 1.7, "same device": 4.0}
"""By how much a median may be off, either way, where only steps differ, the model, or the format:
judgement, held against 51 measurements of a busy machine
(docs/decisions/0050-predicting-latency.md)."""
_PER_DOUBLING = 1.1
"""By how much more for each doubling of a phase's arithmetic: kernels are not equally fast at all
sizes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A measurement, and what its package computes in an image."""

    measurement: Measurement
    work: Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The image whose time is wanted, and the package that draws it.

    `weights_sha256` is the model's hash as in `PackageIdentity`; None where it was not computed.
    """

    target: str
    recipe: str
    work: Work
    weights_sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyPrediction:
    """The seconds of a steady image: its p90 should be between `low_s` and `high_s`.

    `median_s` is the likeliest median. `from_` says what it was scaled from, `measurements` from
    how many.
    """

    low_s: float
    median_s: float
    high_s: float
    from_: Origin
    measurements: int


def predict_latency(wanted: Wanted, known: Sequence[Known]) -> LatencyPrediction | None:
    """Return the latency of an image; None where no measurement says anything of it.

    `known` are measurements of the same device, with the same threads, providers and memory mode.
    Those of the same package are taken, or else those of the same target and recipe, or else all.
    """
    for origin in WIDTHS:
        found = [
            scaled
            for it in known
            if _origin(wanted, it) == origin and (scaled := _scaled(wanted, it, origin)) is not None
        ]
        if found:
            return LatencyPrediction(
                low_s=min(it.low_s for it in found),
                median_s=statistics.median(it.median_s for it in found),
                high_s=max(it.high_s for it in found),
                from_=origin,
                measurements=len(found),
            )
    return None


def _origin(wanted: Wanted, known: Known) -> Origin:
    package = known.measurement.package
    if (package.target, package.recipe) != (wanted.target, wanted.recipe):
        return "same device"
    same = wanted.weights_sha256 == package.weights_sha256
    return "same package" if same else "same format"


def _scaled(wanted: Wanted, known: Known, origin: Origin) -> LatencyPrediction | None:
    """Scale one measurement; None where it has no steady image of the same kind."""
    images = list(_steady(known.measurement))
    if not images:
        return None
    latencies = sorted(image.latency_s for image in images)
    between_s = statistics.median(
        image.latency_s - sum(it.end_s - it.start_s for it in image.phases) for image in images
    )
    phases_s = 0.0
    distance = 0.0
    for phase, operations in wanted.work.operations.items():
        before = known.work.operations.get(phase, 0)
        spans = [
            it.end_s - it.start_s for image in images for it in image.phases if it.name == phase
        ]
        if not before or not spans:
            return None
        phases_s += statistics.median(spans) * operations / before
        per_call = operations / _repeats(phase, wanted.work), before / _repeats(phase, known.work)
        distance = max(distance, abs(math.log2(per_call[0] / per_call[1])))
    middle_s = max(0.0, between_s) + phases_s
    spread = latencies[math.ceil(0.9 * len(latencies)) - 1] / statistics.median(latencies)
    width = WIDTHS[origin] * _PER_DOUBLING**distance
    return LatencyPrediction(
        low_s=middle_s / width,
        median_s=middle_s,
        high_s=middle_s * width * spread,
        from_=origin,
        measurements=1,
    )


def _repeats(phase: str, work: Work) -> int:
    return work.calls if phase == "denoise" else 1


def _steady(measurement: Measurement) -> Iterator[ImageSample]:
    """Yield the steady images; those of a sustained run may be slowed down."""
    for run in measurement.of_kind("steady"):
        yield from (image for image in run.images if not image.warmup)
