"""The verdict on one array of the golden case.

The rule is that of the parity gate on the host (``edgegen/parity/compare.py``), so that a device
passes what the host passes and nothing else; a test holds one against the other.
"""

from __future__ import annotations

import math
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_BLOCK = 1 << 20


def compare(
    expected: Array, value: Array, threshold_db: float, *, peak: Optional[float] = None
) -> dict[str, Any]:
    """Return the fields of a ``check``: the PSNR, the verdict, and why it failed.

    The PSNR is the lowest of the samples of the batch, over ``peak`` or the range of what is
    expected. ``psnr_db`` is None where both are equal, or nothing could be measured.
    """
    if value.shape != expected.shape:
        return failed(f"the shape is {value.shape}, not {expected.shape}", threshold_db)
    if value.dtype != expected.dtype:
        return failed(f"the type is {value.dtype}, not {expected.dtype}", threshold_db)
    if not np.isfinite(value).all():
        count = int((~np.isfinite(value)).sum())
        return failed(f"{count:,} of {value.size:,} values are not finite", threshold_db)
    if not np.isfinite(expected).all():
        return failed("the reference is not finite", threshold_db)
    psnr_db = _worst_psnr_db(expected, value, peak)
    why = ""
    if _is_constant(value) and not _is_constant(expected):
        why = "the output is constant"
    elif psnr_db == -math.inf:
        why = "the reference has no range to measure by, and the output is not equal to it"
    elif psnr_db < threshold_db:
        why = f"{psnr_db:.1f} dB is below {threshold_db:g} dB"
    return {
        "psnr_db": psnr_db if math.isfinite(psnr_db) else None,
        "threshold_db": threshold_db,
        "max_abs_error": _max_abs_error(expected, value),
        "passed": not why,
        "why": why,
    }


def failed(why: str, threshold_db: float) -> dict[str, Any]:
    """Return the fields of a ``check`` that failed before anything could be measured."""
    return {
        "psnr_db": None,
        "threshold_db": threshold_db,
        "max_abs_error": None,
        "passed": False,
        "why": why,
    }


def _worst_psnr_db(expected: Array, value: Array, peak: Optional[float]) -> float:
    if expected.ndim < 2:
        return _psnr_db(expected, value, peak)
    samples = (_psnr_db(left, right, peak) for left, right in zip(expected, value))
    return min(samples, default=-math.inf)


def _psnr_db(expected: Array, value: Array, peak: Optional[float]) -> float:
    error = _mean_square_error(expected, value)
    if error == 0:
        return math.inf
    signal = float(expected.max()) - float(expected.min()) if peak is None else peak
    if signal <= 0 or not math.isfinite(error) or not math.isfinite(signal):
        return -math.inf
    return 20 * math.log10(signal) - 10 * math.log10(error)


def _mean_square_error(expected: Array, value: Array) -> float:
    total = 0.0
    left, right = expected.reshape(-1), value.reshape(-1)
    for start in range(0, left.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        difference = left[block].astype(np.float64) - right[block]
        total += float(np.dot(difference, difference))
    return total / max(left.size, 1)


def _max_abs_error(expected: Array, value: Array) -> float:
    if not expected.size:
        return 0.0
    return float(np.abs(expected.astype(np.float64) - value).max())


def _is_constant(value: Array) -> bool:
    return value.size == 0 or bool(value.min() == value.max())
