"""Scalar arithmetic in float32, the precision that diffusers keeps its coefficients in.

An expression of ``np.float32`` scalars stays float32 under numpy 1 and 2 alike only if its
constants are ``np.float32`` too. The functions round the float64 result, so that every machine
agrees; numpy's own float32 exp and log differ in the last places from one processor to the next.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from .base import Array

ZERO = np.float32(0.0)
HALF = np.float32(0.5)
ONE = np.float32(1.0)
TWO = np.float32(2.0)


def sqrt(value: np.float32) -> np.float32:
    """Return the square root; NaN of a negative number is a warning, as in numpy."""
    return np.float32(np.sqrt(value))


def exp(value: np.float32) -> np.float32:
    """Return e**value, correctly rounded."""
    return np.float32(math.exp(value))


def expm1(value: np.float32) -> np.float32:
    """Return e**value - 1, correctly rounded."""
    return np.float32(math.expm1(value))


def log(values: Array) -> Array:
    """Return the natural logarithms, correctly rounded; log 0 is -inf, without a warning."""
    with np.errstate(divide="ignore"):
        return np.log(values.astype(np.float64)).astype(np.float32)


def linspace(start: float, end: float, count: int) -> Array:
    """Return ``torch.linspace`` in float32: steps from both ends, with one rounding each."""
    first, last = np.float32(start), np.float32(end)
    if count == 1:
        return np.array([first], dtype=np.float32)
    step = float((last - first) / np.float32(count - 1))
    index = np.arange(count)
    from_start = float(first) + step * index
    from_end = float(last) - step * (count - 1 - index)
    return np.where(index < count // 2, from_start, from_end).astype(np.float32)


def weighted_sum(*terms: tuple[np.float32, Array]) -> Array:
    """Return the sum of coefficient * array over the terms, from left to right, in a new array."""
    (coefficient, array), *rest = terms
    total: npt.NDArray[np.float32] = coefficient * array
    for coefficient, array in rest:
        total += coefficient * array
    return total
