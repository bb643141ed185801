"""Metrics of two pictures; a new one is a function and a line of `METRICS`.

Each takes the reference's and the package's picture, uint8 (height, width, 3), and returns a
number, None where the pictures are too small for it.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from edgegen_runner.metrics import psnr_db

from edgegen.core.evaluation import EQUAL_DB, METRIC_TITLES
from edgegen.drawer import Pixels

EXTRA = "evaluate"
"""The extra of `pip install edgegen[...]` that brings the libraries."""

_SSIM_SIGMA = 1.5
_SSIM_LEAST_PX = 11  # of its window: 3.5 sigmas to each side


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A paired metric.

    `library` is the module that computes it, None where none is needed. `equal` is its value for
    equal pictures.
    """

    name: str
    higher_is_better: bool
    equal: float
    compute: Callable[[Pixels, Pixels], float | None]
    library: str | None = None

    @property
    def title(self) -> str:
        """Return what it is called."""
        return METRIC_TITLES[self.name]

    @property
    def is_here(self) -> bool:
        """Return whether its library is installed."""
        return self.library is None or importlib.util.find_spec(self.library) is not None


def _psnr(reference: Pixels, value: Pixels) -> float | None:
    """Return the PSNR in decibels over all channels, None where the pictures are equal."""
    ratio_db = psnr_db(reference, value, peak=255.0)
    return None if math.isinf(ratio_db) else ratio_db


def _ssim(reference: Pixels, value: Pixels) -> float | None:
    """Return the mean SSIM of the channels, with the windows of its authors.

    Source: Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to
    structural similarity", 2004; computed by scikit-image.
    """
    from skimage.metrics import structural_similarity

    if min(reference.shape[:2]) < _SSIM_LEAST_PX:
        return None
    return float(
        structural_similarity(
            reference,
            value,
            channel_axis=2,
            data_range=255,
            gaussian_weights=True,
            sigma=_SSIM_SIGMA,
            use_sample_covariance=False,
        )
    )


def _flip(reference: Pixels, value: Pixels) -> float | None:
    """Return the mean FLIP: 0 for equal pictures, 1 at most; the distance of viewing is default.

    Source: Andersson and others, "FLIP: A Difference Evaluator for Alternating Images", 2020;
    computed by its authors' flip-evaluator.
    """
    import flip_evaluator

    left, right = (pixels.astype(np.float32) / np.float32(255) for pixels in (reference, value))
    _, mean, _ = flip_evaluator.evaluate(left, right, "LDR", applyMagma=False)
    return float(mean)


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(name="psnr", higher_is_better=True, equal=EQUAL_DB, compute=_psnr),
        Metric(
            name="ssim",
            higher_is_better=True,
            equal=1.0,
            compute=_ssim,
            library="skimage",
        ),
        Metric(
            name="flip",
            higher_is_better=False,
            equal=0.0,
            compute=_flip,
            library="flip_evaluator",
        ),
    )
}
"""By name, in the order of tables."""


def higher_is_better(name: str) -> bool:
    """Return whether a metric is better where it is higher; those of `METRICS`, and CLIP's."""
    return METRICS[name].higher_is_better if name in METRICS else True


def missing() -> tuple[Metric, ...]:
    """Return the metrics whose library isn't installed."""
    return tuple(metric for metric in METRICS.values() if not metric.is_here)


def scores(reference: Pixels, value: Pixels) -> Mapping[str, float | None]:
    """Return each metric whose library is here and that the pictures are large enough for.

    psnr is None where the pictures are equal.
    """
    found: dict[str, float | None] = {}
    for metric in METRICS.values():
        if not metric.is_here:
            continue
        score = metric.compute(reference, value)
        if score is not None or metric.name == "psnr":
            found[metric.name] = score
    return found
