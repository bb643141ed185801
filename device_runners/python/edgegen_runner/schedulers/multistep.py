"""The linear multistep method of both PNDM classes (arXiv 2202.09778, equation 12)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from . import float32 as f32
from .base import Array

MOST = 4
"""How many estimates count."""
_WEIGHTS = {
    2: ((3, -1), 2),
    3: ((23, -16, 5), 12),
    4: ((55, -59, 37, -9), 24),
}
"""Adams and Bashforth's: weights of the estimates, the newest first, and their divisor."""


def adams_bashforth(estimates: Sequence[Array]) -> Array:
    """Return the mean of one to four estimates, the newest last, that goes furthest with them."""
    if len(estimates) == 1:
        return estimates[0]
    weights, divisor = _WEIGHTS[len(estimates)]
    terms = [(np.float32(weight), each) for weight, each in zip(weights, estimates[::-1])]
    mean = f32.weighted_sum(*terms)
    mean /= np.float32(divisor)
    return mean
