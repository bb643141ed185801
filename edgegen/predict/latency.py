"""How long an image takes on a device, from what was measured there."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from edgegen.core.measurement import ImageSample, Measurement
from edgegen.predict.work import Work

Origin = Literal["same package", "same target", "same device"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A measurement, and what its package computes; None where nobody traced it."""

    measurement: Measurement
    work: Work | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyPrediction:
    """The seconds of a steady image: the interval in which its median should lie.

    `from_` says what it was scaled from.
    """

    low_s: float
    median_s: float
    high_s: float
    from_: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The image whose time is wanted, and the package that draws it."""

    weights_sha256: str | None
    target: str
    recipe: str
    work: Work


def predict_latency(wanted: Wanted, known: Sequence[Known]) -> LatencyPrediction | None:
    """Return the latency of an image, None where no measurement says anything of it.

    `known` are measurements of the same device with the same settings. One of the same package
    counts most, else one of the same target and recipe, else any; each is scaled by what is
    computed.
    """
    for origin, width in (("same package", 1.1), ("same target", 1.5), ("same device", 3.0)):
        found = [
            scaled
            for it in known
            if _origin(wanted, it) == origin and (scaled := _scaled(wanted, it)) is not None
        ]
        if found:
            middle = statistics.median(found)
            return LatencyPrediction(
                low_s=min(found) / width,
                median_s=middle,
                high_s=max(found) * width,
                from_=origin,  # type: ignore[arg-type]
            )
    return None


def _origin(wanted: Wanted, known: Known) -> Origin:
    package = known.measurement.package
    if (package.target, package.recipe) != (wanted.target, wanted.recipe):
        return "same device"
    same = wanted.weights_sha256 == package.weights_sha256
    return "same package" if same else "same target"


def _scaled(wanted: Wanted, known: Known) -> float | None:
    latencies = [image.latency_s for image in _steady(known.measurement)]
    if not latencies or known.work is None or known.work.operations <= 0:
        return None
    return statistics.median(latencies) * wanted.work.operations / known.work.operations


def _steady(measurement: Measurement) -> Iterator[ImageSample]:
    for run in measurement.of_kind("steady"):
        yield from (image for image in run.images if not image.warmup)
