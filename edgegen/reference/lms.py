"""diffusers' LMSDiscreteScheduler without scipy, which it integrates four polynomials with.

Imported in the reference's own process only.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

_NODES = 5
"""Of Gauss and Legendre's rule, which then is exact up to degree 9; the polynomials have 3."""


def lms_class() -> Any:
    """Return the class; it is diffusers' own but for the integral.

    Without scipy diffusers leaves the class out of its names, but not out of its module.
    """
    module = importlib.import_module("diffusers.schedulers.scheduling_lms_discrete")
    name = "LMSDiscreteScheduler"
    return type(name, (getattr(module, name),), {"get_lms_coefficient": _coefficient})


def _coefficient(scheduler: Any, order: int, t: int, current_order: int) -> float:
    """Return the integral, from one noise level to the next, of a Lagrange polynomial."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    sigmas = [float(sigma) for sigma in scheduler.sigmas]
    start, end = sigmas[t], sigmas[t + 1]
    points = (start + end) / 2 + (end - start) / 2 * nodes
    values = np.ones_like(points)
    for other in range(order):
        if other != current_order:
            own, away = sigmas[t - current_order], sigmas[t - other]
            values *= (points - away) / (own - away)
    return float((end - start) / 2 * (weights @ values))
