"""The runner's verdict on one array, as a check of the parity gate."""

from __future__ import annotations

from typing import Literal

from edgegen_runner.compare import Verdict
from edgegen_runner.compare import compare as compare_arrays
from edgegen_runner.metrics import IMAGE_PEAK, Array

from edgegen.core.package import ParityCheck

Layer = Literal["component", "trajectory", "image"]


def compare(
    layer: Layer, name: str, reference: Array, value: Array, *, threshold_db: float
) -> ParityCheck:
    """Compare an output with what torch computed.

    An image has the peak 2 (−1…1), everything else the range of its reference.
    """
    peak = IMAGE_PEAK if layer == "image" else None
    return _check(layer, name, compare_arrays(reference, value, threshold_db, peak=peak))


def failed(layer: Layer, name: str, why: str, *, threshold_db: float) -> ParityCheck:
    """Return a check that failed before anything could be measured."""
    return _check(layer, name, Verdict(threshold_db, why))


def _check(layer: Layer, name: str, verdict: Verdict) -> ParityCheck:
    return ParityCheck(
        layer=layer,
        name=name,
        psnr_db=verdict.psnr_db,
        threshold_db=verdict.threshold_db,
        max_abs_error=verdict.max_abs_error,
        passed=verdict.passed,
        why=verdict.why,
    )
