"""The verdict on one array: the host's parity gate and a device's golden case give it here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from .metrics import Array, cosine, is_constant, max_abs_error, worst_psnr_db

_LEAST_BATCH_COSINE = 0.5


@dataclass(frozen=True)
class Verdict:
    """What a comparison found; it passed where ``why`` is empty.

    ``psnr_db`` is None where both arrays are equal, and where nothing could be measured.
    """

    threshold_db: float
    why: str = ""
    psnr_db: Optional[float] = None
    max_abs_error: Optional[float] = None

    @property
    def passed(self) -> bool:
        """Return whether there is nothing against the array."""
        return not self.why

    def fields(self) -> dict[str, Any]:
        """Return the fields of a ``check`` event."""
        return {
            "psnr_db": self.psnr_db,
            "threshold_db": self.threshold_db,
            "max_abs_error": self.max_abs_error,
            "passed": self.passed,
            "why": self.why,
        }


def compare(
    reference: Array, value: Array, threshold_db: float, *, peak: Optional[float] = None
) -> Verdict:
    """Compare an output with what torch computed; whatever cannot be compared has failed.

    The PSNR is the lowest of the samples of the batch, over ``peak`` or the range of the reference.
    It fails where the shape or the type is another; where a value is not finite; where the output
    is constant and the reference is not; and where the PSNR is below ``threshold_db``.
    """
    if value.shape != reference.shape:
        return Verdict(threshold_db, f"the shape is {value.shape}, not {reference.shape}")
    if value.dtype != reference.dtype:
        return Verdict(threshold_db, f"the type is {value.dtype}, not {reference.dtype}")
    if not np.isfinite(value).all():
        count = int((~np.isfinite(value)).sum())
        return Verdict(threshold_db, f"{count:,} of {value.size:,} values are not finite")
    if not np.isfinite(reference).all():
        return Verdict(threshold_db, "the reference is not finite")
    ratio_db = worst_psnr_db(reference, value, peak=peak)
    why = ""
    if is_constant(value) and not is_constant(reference):
        why = "the output is constant"
    elif ratio_db == -math.inf:
        why = "the reference has no range to measure by, and the output is not equal to it"
    elif ratio_db < threshold_db:
        mixed = ", and the samples of the batch are mixed up" if _is_mixed(reference, value) else ""
        why = f"{_below(ratio_db, threshold_db)} dB is below {threshold_db:g} dB{mixed}"
    return Verdict(
        threshold_db,
        why,
        psnr_db=ratio_db if math.isfinite(ratio_db) else None,
        max_abs_error=max_abs_error(reference, value),
    )


def _below(ratio_db: float, threshold_db: float) -> str:
    """Return a ratio with as many decimals as show that it is below; none is rounded up to it.

    >>> _below(12.34, 16.0), _below(15.98, 16.0), _below(15.9999, 16.0)
    ('12.3', '15.98', '15.9999')
    """
    for decimals in range(1, 6):
        text = f"{ratio_db:.{decimals}f}"
        if float(text) < threshold_db:
            return text
    return f"{ratio_db}"


def _is_mixed(reference: Array, value: Array) -> bool:
    """Return whether two samples differ in another way than those of the reference do."""
    if reference.ndim < 2 or len(reference) < 2:
        return False
    alike = cosine(reference[0] - reference[1], value[0] - value[1])
    return alike < _LEAST_BATCH_COSINE
