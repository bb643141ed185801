"""The weights of one multistep DPM-Solver step, as scalars.

Orders 1 to 3 of arXiv 2206.00927 and 2211.01095, and their stochastic counterparts. Every update is
a weighted sum of the sample, of D0 (the newest prediction), of its divided differences D1 and D2,
and of noise; here the differences are resolved into the predictions themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Callable

import numpy as np

from . import float32 as f32
from .base import Array


@dataclass(frozen=True)
class Interval:
    """The step from one noise level to the next, in the log-SNR, and the steps before it."""

    alpha_start: np.float32
    alpha_end: np.float32
    sigma_start: np.float32
    sigma_end: np.float32
    h: np.float32
    """Growth of half the log-SNR over this step; infinite where the step ends without noise."""
    earlier: tuple[np.float32, ...]
    """The growth over the step before, and over the one before that, as far as there are."""

    @classmethod
    def of(cls, alphas: Array, sigmas: Array, lambdas: Array, index: int) -> Interval:
        """Return the step that starts at noise level ``index``; arrays are (levels,)."""
        return cls(
            alpha_start=alphas[index],
            alpha_end=alphas[index + 1],
            sigma_start=sigmas[index],
            sigma_end=sigmas[index + 1],
            h=lambdas[index + 1] - lambdas[index],
            earlier=tuple(
                lambdas[index - back] - lambdas[index - back - 1] for back in range(min(index, 2))
            ),
        )


@dataclass(frozen=True)
class UpdateWeights:
    """What to multiply the sample, the predictions (the newest first) and the noise by."""

    sample: np.float32
    predictions: tuple[np.float32, ...]
    noise: np.float32


def update_weights(
    algorithm_type: str, solver_type: str, step: Interval, order: int
) -> UpdateWeights:
    """Return the weights of one step.

    Args:
        algorithm_type: ``dpmsolver++``, ``dpmsolver``, or either with ``sde-``.
        solver_type: ``midpoint`` or ``heun``, which differ at order 2 only.
        step: Where the step starts and ends.
        order: How many predictions to use, 1 to 3.
    """
    sample, differences, noise = terms_of(algorithm_type, solver_type, step, order)
    with np.errstate(divide="ignore"):  # a last step of no length
        return UpdateWeights(sample, _over_predictions(differences, step), noise)


Terms = tuple[np.float32, tuple[np.float32, ...], np.float32]
"""Weights of the sample, of D0, D1 and D2 as far as the order goes, and of the noise."""


def terms_of(algorithm_type: str, solver_type: str, step: Interval, order: int) -> Terms:
    """Return the weights of one step over the differences; see `update_weights`."""
    return _FORMULAS[algorithm_type](step, order, solver_type == "midpoint")


def _plus_plus(step: Interval, order: int, midpoint: bool) -> Terms:
    h, alpha = step.h, step.alpha_end
    phi = f32.exp(-h) - f32.ONE
    differences = [-(alpha * phi)]
    if order == 2 and midpoint:
        differences.append(-(f32.HALF * (alpha * phi)))
    elif order >= 2:
        differences.append(alpha * (phi / h + f32.ONE))
    if order == 3:
        differences.append(-(alpha * ((phi + h) / (h * h) - f32.HALF)))
    return step.sigma_end / step.sigma_start, tuple(differences), f32.ZERO


def _original(step: Interval, order: int, midpoint: bool) -> Terms:
    h, sigma = step.h, step.sigma_end
    phi = f32.exp(h) - f32.ONE
    differences = [-(sigma * phi)]
    if order == 2 and midpoint:
        differences.append(-(f32.HALF * (sigma * phi)))
    elif order >= 2:
        differences.append(-(sigma * (phi / h - f32.ONE)))
    if order == 3:
        differences.append(-(sigma * ((phi - h) / (h * h) - f32.HALF)))
    return step.alpha_end / step.alpha_start, tuple(differences), f32.ZERO


def _stochastic_plus_plus(step: Interval, order: int, midpoint: bool) -> Terms:
    h, alpha = step.h, step.alpha_end
    double = f32.TWO * h
    phi = f32.ONE - f32.exp(-double)
    differences = [alpha * phi]
    if order == 2 and midpoint:
        differences.append(f32.HALF * (alpha * phi))
    elif order >= 2:
        differences.append(alpha * (phi / -double + f32.ONE))
    if order == 3:
        differences.append(alpha * ((phi - double) / (double * double) - f32.HALF))
    sample = step.sigma_end / step.sigma_start * f32.exp(-h)
    return sample, tuple(differences), step.sigma_end * f32.sqrt(phi)


def _stochastic_original(step: Interval, order: int, midpoint: bool) -> Terms:
    h, sigma = step.h, step.sigma_end
    phi = f32.exp(h) - f32.ONE
    differences = [-(f32.TWO * (sigma * phi))]
    if order == 2 and midpoint:
        differences.append(-(sigma * phi))
    elif order == 2:
        differences.append(-(f32.TWO * (sigma * (phi / h - f32.ONE))))
    noise = sigma * f32.sqrt(f32.exp(f32.TWO * h) - f32.ONE)
    return step.alpha_end / step.alpha_start, tuple(differences), noise


_FORMULAS: Mapping[str, Callable[[Interval, int, bool], Terms]] = {
    "dpmsolver++": _plus_plus,
    "dpmsolver": _original,
    "sde-dpmsolver++": _stochastic_plus_plus,
    "sde-dpmsolver": _stochastic_original,
}


def _over_predictions(
    differences: tuple[np.float32, ...], step: Interval
) -> tuple[np.float32, ...]:
    """Return the weights of the predictions m0, m1, m2 from those of D0, D1, D2.

    With r0 and r1 the earlier steps over this one, D1 of order 2 is (m0 - m1) / r0. Order 3 has
    d = (m0 - m1) / r0 and e = (m1 - m2) / r1, then D2 = (d - e) / (r0 + r1) and D1 = d + r0 * D2.
    """
    if len(differences) == 1:
        return differences
    r0 = step.earlier[0] / step.h
    if len(differences) == 2:
        newer = differences[1] / r0
        return differences[0] + newer, -newer
    r1 = step.earlier[1] / step.h
    across = (r0 * differences[1] + differences[2]) / (r0 + r1)
    newer, older = (differences[1] + across) / r0, across / r1
    return differences[0] + newer, -(newer + older), older
