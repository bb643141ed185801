"""Euler's method over noise levels (arXiv 2206.00364, algorithm 2 without churn)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Optional

import numpy as np

from . import float32 as f32
from .base import Array, Noise, Timestep
from .noise_levels import KDiffusionScheduler
from .options import (
    COMMON_BETA_SCHEDULES,
    FINAL_SIGMAS_TYPES,
    TIMESTEP_SPACINGS,
    NoiseOptions,
    SigmaOptions,
    check_one_sigma_rule,
)
from .prediction import original_at_sigma
from .sigmas import (
    ruled,
    timesteps_of,
    with_last,
)
from .timesteps import check_request, fractional_timesteps


@dataclass(frozen=True)
class EulerDiscreteOptions(SigmaOptions, NoiseOptions):
    """Options of diffusers' ``EulerDiscreteScheduler``."""

    interpolation_type: str = "linear"
    timestep_type: str = "discrete"
    rescale_betas_zero_snr: bool = False
    final_sigmas_type: str = "zero"

    scheduler: ClassVar[str] = "EulerDiscreteScheduler"
    choices: ClassVar[Mapping[str, Sequence[object]]] = {
        "beta_schedule": COMMON_BETA_SCHEDULES,
        "prediction_type": ("epsilon", "sample", "original_sample", "v_prediction"),
        "timestep_spacing": TIMESTEP_SPACINGS,
        "interpolation_type": ("linear", "log_linear"),
        "timestep_type": ("discrete", "continuous"),
        "final_sigmas_type": FINAL_SIGMAS_TYPES,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_sigma_rule(self)


class EulerDiscreteScheduler(KDiffusionScheduler[EulerDiscreteOptions]):
    """Follow the derivative at each noise level straight to the next."""

    options_class = EulerDiscreteOptions
    finite_sigma = True

    def set_timesteps(
        self,
        num_inference_steps: int,
        *,
        mu: Optional[float] = None,
        sigmas: Optional[Sequence[float]] = None,
    ) -> None:
        """Plan a trajectory; see `Scheduler.set_timesteps`."""
        check_request(self.name, num_inference_steps, mu, sigmas)
        options, training = self.options, self._training_sigmas
        timesteps: Any = fractional_timesteps(options, num_inference_steps)
        levels: Any
        if options.interpolation_type == "linear":
            levels = np.interp(timesteps, np.arange(len(training)), training)
        else:
            ends = np.log(training[[-1, 0]])
            levels = np.exp(f32.linspace(ends[0], ends[1], num_inference_steps + 1))
        placed = ruled(options, levels, num_inference_steps)
        if placed is not None:
            levels, timesteps = placed, timesteps_of(placed, np.log(training))
        last = 0.0 if options.final_sigmas_type == "zero" else float(training[0])
        levels_to_last = with_last(levels, last)
        if options.timestep_type == "continuous" and options.prediction_type == "v_prediction":
            timesteps = [0.25 * math.log(sigma) for sigma in levels_to_last[:-1]]
        self._start(levels_to_last, np.asarray(timesteps, dtype=np.float32))

    def step(self, model_output: Array, timestep: Timestep, sample: Array, noise: Noise) -> Array:
        """Return the sample of the next timestep; see `Scheduler.step`. Draws no noise."""
        index = self._cursor.at(timestep)
        sigma, sigma_next = self.sigmas[index], self.sigmas[index + 1]
        derivative = sample - original_at_sigma(
            self.options.prediction_type, model_output, sample, sigma
        )
        derivative /= sigma
        derivative *= sigma_next - sigma
        derivative += sample
        self._cursor.advance()
        return derivative
