"""Rules that place noise levels, and the way from a noise level back to a timestep."""

from __future__ import annotations

import math
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from . import float32 as f32
from .base import Array
from .beta_quantile import beta_quantile
from .options import SigmaOptions

Doubles = npt.NDArray[np.float64]
Levels = npt.NDArray[Any]
"""Noise levels in float32 or float64, which each rule keeps: (levels,)."""

_KARRAS_RHO = 7.0
_BETA_SHAPE = 0.6  # both parameters, as in diffusers


def karras(sigma_max: float, sigma_min: float, steps: int) -> Doubles:
    """Return falling noise levels that are even in sigma**(1/7) (arXiv 2206.00364, eq. 5)."""
    least, most = sigma_min ** (1 / _KARRAS_RHO), sigma_max ** (1 / _KARRAS_RHO)
    levels: Doubles = (most + np.linspace(0, 1, steps) * (least - most)) ** _KARRAS_RHO
    return levels


def exponential(sigma_max: float, sigma_min: float, steps: int) -> Doubles:
    """Return falling noise levels that are even in log sigma."""
    return np.exp(np.linspace(math.log(sigma_max), math.log(sigma_min), steps))


def beta(sigma_max: float, sigma_min: float, steps: int) -> Doubles:
    """Return falling noise levels that crowd at both ends (Beta Sampling, arXiv 2407.12173)."""
    shares = 1 - np.linspace(0, 1, steps)
    places = [beta_quantile(float(share), _BETA_SHAPE, _BETA_SHAPE) for share in shares]
    return np.array([sigma_min + place * (sigma_max - sigma_min) for place in places])


def ruled(options: SigmaOptions, falling: Levels, steps: int) -> Optional[Doubles]:
    """Return noise levels by the options' rule; None where they follow the timesteps: (steps,).

    Args:
        options: Name the rule (Karras', exponential or beta) and, if they differ, its ends.
        falling: Noise levels whose first and last are the ends by default.
        steps: How many.
    """
    for rule, chosen in (
        (karras, options.use_karras_sigmas),
        (exponential, options.use_exponential_sigmas),
        (beta, options.use_beta_sigmas),
    ):
        if chosen:
            return rule(*sigma_range(options, falling), steps)
    return None


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


def ups_and_downs(scheduler: str, levels: Array) -> tuple[Array, Array]:
    """Return the noise that ancestral steps add, and the noise levels that they step down to.

    Args:
        scheduler: What an error names.
        levels: Falling noise levels: (steps + 1,). Both results are (steps,).

    Raises:
        ValueError: A step is so long that rounding leaves no noise level to step down to.
    """
    starts, ends = np.square(levels[:-1]), np.square(levels[1:])
    with np.errstate(invalid="ignore"):
        ups: Array = np.sqrt(ends * (starts - ends) / starts)
        downs: Array = np.sqrt(ends - ups * ups)
    if not np.isfinite([ups, downs]).all():
        raise ValueError(
            f"{scheduler} cannot make {len(ups)} steps of these noise levels: "
            "diffusers computes what is not a number."
        )
    return ups, downs


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


def flow_levels(steps: int, total: int, shift: float) -> Doubles:
    """Return a flow's falling noise levels for a solver of diffusion models: (steps,)."""
    noise = 1.0 - np.linspace(1, 1 / total, steps + 1)
    levels: Doubles = static_shift(noise, shift)[:0:-1]
    return levels


def solver_levels(
    options: SigmaOptions,
    training: Array,
    timesteps: npt.NDArray[np.int64],
    steps: int,
    flow_shift: Optional[float],
) -> tuple[Array, npt.NDArray[np.int64]]:
    """Return noise levels, (steps + 1,), and timesteps of the solvers that end with noise.

    The last level is that of the first training timestep, or by a rule the one before again.

    Args:
        options: Name the rule.
        training: The rising noise levels of training.
        timesteps: Where the levels follow the timesteps: (steps,).
        steps: How many.
        flow_shift: Of a flow's noise levels; None for those of diffusion.
    """
    levels: Any = ruled(options, training[::-1], steps)
    if levels is not None:
        found = timesteps_of(levels, np.log(training))
        found = found.round() if options.use_karras_sigmas else found
    elif flow_shift is not None:
        levels = flow_levels(steps, len(training), flow_shift)
        found = levels * len(training)
    else:
        levels = np.interp(timesteps, np.arange(len(training)), training)
        return with_last(levels, float(training[0])), timesteps
    return with_last(levels, levels[-1]), found.astype(np.int64)


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
