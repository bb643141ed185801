"""A calibrated range as the scale and the zero point of integers."""

from __future__ import annotations


def evenly_spaced(low: float, high: float, lowest: int, highest: int) -> tuple[float, int]:
    """Return the scale and zero point of the integers from `lowest` to `highest` for a range.

    The range is widened to hold 0. Where it is nothing but 0 the scale is 1.

    >>> evenly_spaced(-1.0, 1.55, -128, 127)
    (0.01, -28)
    >>> evenly_spaced(-1.0, 1.55, 0, 255)
    (0.01, 100)
    """
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / (highest - lowest) or 1.0
    return scale, round(lowest - low / scale)
