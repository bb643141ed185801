"""What both schedulers of EDM models share (arXiv 2206.00364, table 1): preconditioning, levels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from . import float32 as f32
from .base import Array
from .options import (
    FINAL_SIGMAS_TYPES,
    CheckedOptions,
    check_sigma_range,
    check_train_timesteps,
)


@dataclass(frozen=True)
class EDMOptions(CheckedOptions):
    """Options of both EDM schedulers of diffusers."""

    sigma_min: float = 0.002
    sigma_max: float = 80.0
    sigma_data: float = 0.5
    sigma_schedule: str = "karras"
    num_train_timesteps: int = 1000
    prediction_type: str = "epsilon"
    rho: float = 7.0
    final_sigmas_type: str = "zero"

    choices: ClassVar[Mapping[str, Sequence[object]]] = {
        "sigma_schedule": ("karras", "exponential"),
        "prediction_type": ("epsilon", "v_prediction"),
        "final_sigmas_type": FINAL_SIGMAS_TYPES,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_train_timesteps(self, self.num_train_timesteps)
        check_sigma_range(self, self.sigma_min, self.sigma_max)
        if self.rho <= 0:
            raise self.refuse("rho", "it must be above 0.")


def levels_of(options: EDMOptions, steps: int) -> Array:
    """Return the falling noise levels of a trajectory, computed in float64: (steps,)."""
    if options.sigma_schedule == "exponential":
        return _exponential_levels(options, steps)
    return _karras_levels(options, np.linspace(0, 1, steps)).astype(np.float32)


def float32_levels_of(options: EDMOptions, steps: int) -> Array:
    """Return the falling noise levels of a trajectory, computed in float32: (steps,)."""
    if options.sigma_schedule == "exponential":
        return _exponential_levels(options, steps)
    return _karras_levels(options, f32.linspace(0.0, 1.0, steps))


def _exponential_levels(options: EDMOptions, steps: int) -> Array:
    logs = f32.linspace(math.log(options.sigma_min), math.log(options.sigma_max), steps)
    return np.exp(logs.astype(np.float64)).astype(np.float32)[::-1].copy()


def _karras_levels(options: EDMOptions, ramp: npt.NDArray[Any]) -> npt.NDArray[Any]:
    most, least = (end ** (1 / options.rho) for end in (options.sigma_max, options.sigma_min))
    dtype = ramp.dtype.type
    roots = dtype(most) + ramp * dtype(least - most)
    levels: npt.NDArray[Any] = (roots.astype(np.float64) ** options.rho).astype(ramp.dtype)
    return levels


def timesteps_of_levels(levels: Array) -> Array:
    """Return c_noise, which the model takes as its timestep: log(sigma) / 4."""
    return f32.log(levels) * np.float32(0.25)


def first_deviation(options: EDMOptions) -> float:
    """Return the deviation of the first sample."""
    return float((options.sigma_max**2 + 1) ** 0.5)


def scaled_to_unit_deviation(options: EDMOptions, sample: Array, sigma: np.float32) -> Array:
    """Return the sample times c_in."""
    variance = sigma * sigma + np.float32(options.sigma_data**2)
    return sample * (f32.ONE / f32.sqrt(variance))


def denoised(options: EDMOptions, model_output: Array, sample: Array, sigma: np.float32) -> Array:
    """Return the original sample: c_skip times the sample plus c_out times the prediction."""
    variance = np.float32(options.sigma_data**2)
    both = sigma * sigma + variance
    out = sigma * np.float32(options.sigma_data) / f32.sqrt(both)
    if options.prediction_type == "v_prediction":
        out = -out
    return f32.weighted_sum((variance / both, sample), (out, model_output))
