"""Judges one array against its reference; whatever cannot be judged has failed."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from edgegen.core.package import ParityCheck
from edgegen.parity.metrics import (
    IMAGE_PEAK,
    Array,
    cosine,
    is_constant,
    max_abs_error,
    psnr_db,
)

Layer = Literal["component", "trajectory", "image"]

_LEAST_BATCH_COSINE = 0.5


def compare(
    layer: Layer, name: str, reference: Array, value: Array, *, threshold_db: float
) -> ParityCheck:
    """Compare an output with what torch computed; the runner's `compare.py` has the same rule.

    The PSNR is the lowest of the samples of the batch. It fails where the shape is another; where a
    value is not finite; where the output is constant and the reference is not; and where the PSNR
    is below `threshold_db`. An image has the peak 2 (−1…1), everything else the range of its
    reference.
    """
    if value.shape != reference.shape:
        why = f"the shape is {value.shape}, not {reference.shape}"
        return failed(layer, name, why, threshold_db=threshold_db)
    if value.dtype != reference.dtype:
        why = f"the type is {value.dtype}, not {reference.dtype}"
        return failed(layer, name, why, threshold_db=threshold_db)
    if not np.isfinite(value).all():
        count = int((~np.isfinite(value)).sum())
        why = f"{count:,} of {value.size:,} values are not finite"
        return failed(layer, name, why, threshold_db=threshold_db)
    if not np.isfinite(reference).all():
        return failed(layer, name, "the reference is not finite", threshold_db=threshold_db)
    ratio_db = worst_psnr_db(reference, value, peak=IMAGE_PEAK if layer == "image" else None)
    why = ""
    if is_constant(value) and not is_constant(reference):
        why = "the output is constant"
    elif ratio_db == -math.inf:
        why = "the reference has no range to measure by, and the output is not equal to it"
    elif ratio_db < threshold_db:
        mixed = ", and the samples of the batch are mixed up" if _is_mixed(reference, value) else ""
        why = f"{ratio_db:.1f} dB is below {threshold_db:g} dB{mixed}"
    return ParityCheck(
        layer=layer,
        name=name,
        psnr_db=ratio_db if math.isfinite(ratio_db) else None,
        threshold_db=threshold_db,
        max_abs_error=max_abs_error(reference, value),
        passed=not why,
        why=why,
    )


def failed(layer: Layer, name: str, why: str, *, threshold_db: float) -> ParityCheck:
    """Return a check that failed before anything could be measured."""
    return ParityCheck(
        layer=layer,
        name=name,
        psnr_db=None,
        threshold_db=threshold_db,
        max_abs_error=None,
        passed=False,
        why=why,
    )


def worst_psnr_db(reference: Array, value: Array, *, peak: float | None = None) -> float:
    """Return the lowest PSNR of the samples of a batch, its first axis."""
    if reference.ndim < 2:
        return psnr_db(reference, value, peak=peak)
    pairs = zip(reference, value, strict=True)
    return min((psnr_db(left, right, peak=peak) for left, right in pairs), default=-math.inf)


def _is_mixed(reference: Array, value: Array) -> bool:
    """Say whether two samples differ in another way than those of the reference do."""
    if reference.ndim < 2 or len(reference) < 2:
        return False
    alike = cosine(reference[0] - reference[1], value[0] - value[1])
    return alike < _LEAST_BATCH_COSINE
