"""Rules that place noise levels, and the way from a noise level back to a timestep."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from . import float32 as f32
from .base import Array
from .options import SigmaOptions

Doubles = npt.NDArray[np.float64]
Levels = npt.NDArray[Any]
"""Noise levels in float32 or float64, which each rule keeps: (levels,)."""

_KARRAS_RHO = 7.0


def karras(sigma_max: float, sigma_min: float, steps: int) -> Doubles:
    """Return falling noise levels that are even in sigma**(1/7) (arXiv 2206.00364, eq. 5)."""
    least, most = sigma_min ** (1 / _KARRAS_RHO), sigma_max ** (1 / _KARRAS_RHO)
    levels: Doubles = (most + np.linspace(0, 1, steps) * (least - most)) ** _KARRAS_RHO
    return levels


def exponential(sigma_max: float, sigma_min: float, steps: int) -> Doubles:
    """Return falling noise levels that are even in log sigma."""
    return np.exp(np.linspace(math.log(sigma_max), math.log(sigma_min), steps))


def lu(log_sigma_max: float, log_sigma_min: float, steps: int) -> Doubles:
    """Return falling noise levels that are even in the log-SNR (DPM-Solver, arXiv 2211.01095)."""
    ramp = np.linspace(0, 1, steps)
    return np.exp(log_sigma_max + ramp * (log_sigma_min - log_sigma_max))


def sigma_range(options: SigmaOptions, falling: Levels) -> tuple[float, float]:
    """Return the largest and the smallest noise level: the options', or the ends of the array's."""
    most, least = options.sigma_max, options.sigma_min
    return (
        float(falling[0]) if most is None else most,
        float(falling[-1]) if least is None else least,
    )


def timesteps_of(sigmas: Doubles, log_training_sigmas: Array) -> Doubles:
    """Return the fractional training timestep of each noise level, even in log sigma: (levels,).

    Args:
        sigmas: Noise levels; those outside of the training's are clipped to its ends.
        log_training_sigmas: Logarithms of the rising noise levels of training.
    """
    log_sigmas = np.log(np.maximum(sigmas, 1e-10))
    table = log_training_sigmas.astype(np.float64)
    low = np.searchsorted(table, log_sigmas, side="right") - 1
    low = np.clip(low, 0, len(table) - 2)
    gaps = (log_training_sigmas[low] - log_training_sigmas[low + 1]).astype(np.float64)
    weights = np.clip((table[low] - log_sigmas) / gaps, 0.0, 1.0)
    return (1 - weights) * low + weights * (low + 1)


def with_last(sigmas: Levels, last: float) -> Array:
    """Return the noise levels and the one that the last step ends at: (levels + 1,)."""
    return np.append(sigmas, last).astype(np.float32)


def first_deviation(sigmas: Array, timestep_spacing: str) -> float:
    """Return the deviation of the first sample of a scheduler that counts in sigmas."""
    largest = sigmas.max()
    if timestep_spacing in ("linspace", "trailing"):
        return float(largest)
    return float(f32.sqrt(largest * largest + f32.ONE))


def scaled_to_unit_data(sample: Array, sigma: np.float32) -> Array:
    """Return ``sample / sqrt(sigma**2 + 1)``."""
    scaled = sample.copy()
    scaled /= f32.sqrt(sigma * sigma + f32.ONE)
    return scaled


def time_shift(sigmas: Levels, mu: float, kind: str) -> Levels:
    """Return flow-matching noise levels shifted by mu, ``exponential`` or ``linear``."""
    factor = math.exp(mu) if kind == "exponential" else mu
    return factor / (factor + (1 / sigmas - 1))


def static_shift(sigmas: Levels, shift: float) -> Levels:
    """Return flow-matching noise levels shifted for a resolution (arXiv 2403.03206, eq. 23)."""
    return shift * sigmas / (1 + (shift - 1) * sigmas)


def stretch_to_terminal(sigmas: Levels, terminal: float) -> Levels:
    """Return the noise levels stretched so that the last is ``terminal`` (LTX-Video)."""
    clean = 1 - sigmas
    if clean[-1] == 0:
        raise ValueError("shift_terminal needs at least 2 steps: pure noise cannot be stretched.")
    stretched: Levels = 1 - clean / (clean[-1:] / (1 - terminal))
    return stretched


def signal_and_noise(sigmas: Array, *, flow: bool) -> tuple[Array, Array, Array]:
    """Return alpha, sigma and half the log-SNR of each noise level: three of (levels,).

    Args:
        sigmas: Noise levels, noise over signal; or the share of noise, if ``flow``.
        flow: The sample is (1 - sigma) * signal + sigma * noise.
    """
    alphas = 1 - sigmas if flow else 1 / np.sqrt(np.square(sigmas) + 1)
    parts = sigmas if flow else sigmas * alphas
    return alphas, parts, f32.log(alphas) - f32.log(parts)
