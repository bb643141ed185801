"""Euler's method for EDM models (arXiv 2206.00364, algorithm 2 without churn)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Optional

import numpy as np

from . import float32 as f32
from .base import Array, Noise, Timestep
from .cursor import StepCursor
from .edm import (
    EDMOptions,
    denoised,
    first_deviation,
    levels_of,
    scaled_to_unit_deviation,
    timesteps_of_levels,
)
from .options import read_options
from .sigmas import with_last
from .timesteps import check_request


@dataclass(frozen=True)
class EDMEulerOptions(EDMOptions):
    """Options of diffusers' ``EDMEulerScheduler``."""

    scheduler: ClassVar[str] = "EDMEulerScheduler"


class EDMEulerScheduler:
    """Follow the derivative at each noise level straight to the next."""

    name = "EDMEulerScheduler"
    order = 1

    def __init__(self, options: EDMEulerOptions) -> None:
        self.options = options
        self.init_noise_sigma = first_deviation(options)
        self.timesteps: Array = np.zeros(0, dtype=np.float32)
        self.sigmas: Array = np.zeros(1, dtype=np.float32)
        self._cursor = StepCursor(self.timesteps)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> EDMEulerScheduler:
        """Make the scheduler of a ``scheduler_config.json``.

        Raises:
            UnsupportedScheduler: An option has a value that the runner does not support.
        """
        return cls(read_options(EDMEulerOptions, config))

    def set_timesteps(
        self,
        num_inference_steps: int,
        *,
        mu: Optional[float] = None,
        sigmas: Optional[Sequence[float]] = None,
    ) -> None:
        """Plan a trajectory; see `Scheduler.set_timesteps`."""
        check_request(self.name, num_inference_steps, mu, sigmas)
        levels = levels_of(self.options, num_inference_steps)
        ends_clean = self.options.final_sigmas_type == "zero"
        self.sigmas = with_last(levels, 0.0 if ends_clean else float(levels[-1]))
        self.timesteps = timesteps_of_levels(levels)
        self._cursor = StepCursor(self.timesteps)

    def set_begin_index(self, begin_index: int) -> None:
        """Start at this call instead of the first; after `set_timesteps`."""
        self._cursor.begin = begin_index

    def scale_model_input(self, sample: Array, timestep: Timestep) -> Array:
        """Return the sample scaled to the deviation that the model was trained with."""
        sigma = self.sigmas[self._cursor.at(timestep)]
        return scaled_to_unit_deviation(self.options, sample, sigma)

    def step(self, model_output: Array, timestep: Timestep, sample: Array, noise: Noise) -> Array:
        """Return the sample of the next timestep; see `Scheduler.step`. Draws no noise."""
        index = self._cursor.at(timestep)
        sigma = self.sigmas[index]
        derivative = sample - denoised(self.options, model_output, sample, sigma)
        derivative /= sigma
        derivative *= self.sigmas[index + 1] - sigma
        derivative += sample
        self._cursor.advance()
        return derivative

    def add_noise(self, original: Array, noise: Array, timestep: Timestep) -> Array:
        """Return ``original + sigma * noise`` at this timestep."""
        sigma = self.sigmas[self._cursor.noise_index(timestep)]
        return f32.weighted_sum((f32.ONE, original), (sigma, noise))
