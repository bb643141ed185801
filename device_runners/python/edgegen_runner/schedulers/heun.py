"""Heun's method over noise levels (arXiv 2206.00364, algorithm 1 without churn)."""

from __future__ import annotations

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
    TIMESTEP_SPACINGS,
    NoiseOptions,
    SigmaOptions,
    check_one_sigma_rule,
    read_options,
)
from .prediction import original_at_sigma
from .sigmas import first_deviation, ruled, scaled_to_unit_data, timesteps_of, with_last
from .timesteps import check_request, fractional_timesteps


@dataclass(frozen=True)
class HeunDiscreteOptions(SigmaOptions, NoiseOptions):
    """Options of diffusers' ``HeunDiscreteScheduler``."""

    beta_start: float = 0.00085
    beta_end: float = 0.012
    clip_sample: bool = False
    clip_sample_range: float = 1.0

    scheduler: ClassVar[str] = "HeunDiscreteScheduler"
    choices: ClassVar[Mapping[str, Sequence[object]]] = {
        "beta_schedule": (*COMMON_BETA_SCHEDULES, "exp"),
        "prediction_type": ("epsilon", "sample", "v_prediction"),
        "timestep_spacing": TIMESTEP_SPACINGS,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_sigma_rule(self)


class HeunDiscreteScheduler:
    """Go to the next noise level, look at the derivative there, and go with the mean of both.

    Every step but the last, which ends without noise, takes two calls of the model.
    """

    name = "HeunDiscreteScheduler"
    order = 2
    _began: Optional[tuple[Array, Array]]
    """Between the calls of a step: the sample that it began with, and the derivative there."""

    def __init__(self, options: HeunDiscreteOptions) -> None:
        self.options = options
        self.timesteps: Array = np.zeros(0, dtype=np.float32)
        self.sigmas: Array = np.zeros(1, dtype=np.float32)
        self._training_sigmas = training_sigmas(alphas_cumprod(options))
        self._cursor = StepCursor(self.timesteps)
        self._began = None

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> HeunDiscreteScheduler:
        """Make the scheduler of a ``scheduler_config.json``.

        Raises:
            UnsupportedScheduler: An option has a value that the runner does not support.
        """
        return cls(read_options(HeunDiscreteOptions, config))

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
        training = self._training_sigmas
        timesteps: Any = fractional_timesteps(self.options, num_inference_steps)
        levels: Any = np.interp(timesteps, np.arange(len(training)), training)
        placed = ruled(self.options, levels, num_inference_steps)
        if placed is not None:
            levels, timesteps = placed, timesteps_of(placed, np.log(training))
        twice = np.repeat(np.arange(len(levels)), 2)[1:]
        self.sigmas = with_last(levels[twice], 0.0)
        self.timesteps = timesteps[twice].astype(np.float32)
        self._cursor = StepCursor(self.timesteps)
        self._began = None

    def set_begin_index(self, begin_index: int) -> None:
        """Start at this call instead of the first; after `set_timesteps`."""
        self._cursor.begin = begin_index

    def scale_model_input(self, sample: Array, timestep: Timestep) -> Array:
        """Return the sample divided to the deviation that the model was trained with."""
        return scaled_to_unit_data(sample, self.sigmas[self._cursor.at(timestep)])

    def step(self, model_output: Array, timestep: Timestep, sample: Array, noise: Noise) -> Array:
        """Return the sample of the next timestep; see `Scheduler.step`. Draws no noise."""
        options, index = self.options, self._cursor.at(timestep)
        here = self.sigmas[index]
        original = original_at_sigma(options.prediction_type, model_output, sample, here)
        if options.clip_sample:
            bound = np.float32(options.clip_sample_range)
            original = np.clip(original, -bound, bound)
        derivative = (sample - original) / here
        self._cursor.advance()
        if self._began is None:
            self._began = sample, derivative
            length = self.sigmas[index + 1] - here
        else:
            sample, earlier = self._began
            derivative = (earlier + derivative) / f32.TWO
            self._began = None
            length = here - self.sigmas[index - 1]
        moved: Array = derivative * length
        moved += sample
        return moved

    def add_noise(self, original: Array, noise: Array, timestep: Timestep) -> Array:
        """Return ``original + sigma * noise`` at this timestep."""
        sigma = self.sigmas[self._cursor.noise_index(timestep)]
        return f32.weighted_sum((f32.ONE, original), (sigma, noise))
