"""Student's t distribution, for any degrees of freedom: what an interval's width is made of."""

from __future__ import annotations

import math
from functools import lru_cache

_TINY = 1e-300
_LONGEST = 500


@lru_cache(maxsize=256)
def student_t(freedom: float, confidence: float = 0.95) -> float:
    """Return how many standard errors an interval of this confidence reaches to either side.

    Fewer than one degree of freedom counts as one.

    >>> round(student_t(2), 4), round(student_t(4, 0.99), 4)
    (4.3027, 4.6041)
    """
    freedom = max(freedom, 1.0)
    low, high = 0.0, 1.0
    while two_sided_p(high, freedom) > 1 - confidence:
        low, high = high, 2 * high
    while high - low > 1e-10 * high:
        middle = (low + high) / 2
        if two_sided_p(middle, freedom) > 1 - confidence:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def two_sided_p(t: float, freedom: float) -> float:
    """Return how probable it is that |T| exceeds |t|.

    It is the regularised incomplete beta function at freedom / (freedom + t²), by the continued
    fraction of the NIST Digital Library of Mathematical Functions, 8.17.22, summed by Lentz's
    method.
    """
    if t == 0:
        return 1.0
    x = freedom / (freedom + t * t)
    a, b = freedom / 2, 0.5
    if x > (a + 1) / (a + b + 2):  # the fraction converges slowly there
        return 1.0 - _incomplete_beta(1 - x, b, a)
    return _incomplete_beta(x, a, b)


def _incomplete_beta(x: float, a: float, b: float) -> float:
    if x <= 0:
        return 0.0
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(log_front + a * math.log(x) + b * math.log1p(-x)) / a
    fraction, c, d = 1.0, 1.0, 0.0
    for i in range(_LONGEST):
        m = i // 2
        if i == 0:
            term = 1.0
        elif i % 2 == 0:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        else:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1 / _not_zero(1 + term * d)
        c = _not_zero(1 + term / c)
        fraction *= c * d
        if abs(1 - c * d) < 1e-14:
            break
    return front * (fraction - 1)


def _not_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
