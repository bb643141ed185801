"""Euler's method over noise levels (arXiv 2206.00364, algorithm 2 without churn)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Optional

import numpy as np

from . import float32 as f32
from .base import Array, Noise, Timestep
from .betas import alphas_cumprod, training_sigmas
from .cursor import StepCursor
from .options import (
    COMMON_BETA_SCHEDULES,
    FINAL_SIGMAS_TYPES,
    TIMESTEP_SPACINGS,
    NoiseOptions,
    SigmaOptions,
    check_one_sigma_rule,
    read_options,
)
from .prediction import original_at_sigma
from .sigmas import (
    first_deviation,
    ruled,
    scaled_to_unit_data,
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


class EulerDiscreteScheduler:
    """Follow the derivative at each noise level straight to the next."""

    name = "EulerDiscreteScheduler"
    order = 1

    def __init__(self, options: EulerDiscreteOptions) -> None:
        self.options = options
        self.timesteps: Array = np.zeros(0, dtype=np.float32)
        self.sigmas: Array = np.zeros(1, dtype=np.float32)
        self._training_sigmas = training_sigmas(alphas_cumprod(options, finite_sigma=True))
        self._cursor = StepCursor(self.timesteps)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> EulerDiscreteScheduler:
        """Make the scheduler of a ``scheduler_config.json``.

        Raises:
            UnsupportedScheduler: An option has a value that the runner does not support.
        """
        return cls(read_options(EulerDiscreteOptions, config))

    @property
    def init_noise_sigma(self) -> float:
        """Return the standard deviation of the first sample."""
        return first_deviation(self.sigmas, self.options.timestep_spacing)

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
        self.sigmas = with_last(levels, last)
        if options.timestep_type == "continuous" and options.prediction_type == "v_prediction":
            timesteps = [0.25 * math.log(sigma) for sigma in self.sigmas[:-1]]
        self.timesteps = np.asarray(timesteps, dtype=np.float32)
        self._cursor = StepCursor(self.timesteps)

    def set_begin_index(self, begin_index: int) -> None:
        """Start at this call instead of the first; after `set_timesteps`."""
        self._cursor.begin = begin_index

    def scale_model_input(self, sample: Array, timestep: Timestep) -> Array:
        """Return the sample divided to the deviation that the model was trained with."""
        return scaled_to_unit_data(sample, self.sigmas[self._cursor.at(timestep)])

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

    def add_noise(self, original: Array, noise: Array, timestep: Timestep) -> Array:
        """Return ``original + sigma * noise`` at this timestep."""
        sigma = self.sigmas[self._cursor.noise_index(timestep)]
        return f32.weighted_sum((f32.ONE, original), (sigma, noise))
