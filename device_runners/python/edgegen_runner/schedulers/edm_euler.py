"""Euler's method for EDM models (arXiv 2206.00364, algorithm 2 without churn)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Optional

from .base import Array, Noise, Timestep
from .edm import (
    EDMOptions,
    denoised,
    first_deviation,
    levels_of,
    scaled_to_unit_deviation,
    timesteps_of_levels,
)
from .noise_levels import NoiseLevelScheduler
from .sigmas import with_last
from .timesteps import check_request


@dataclass(frozen=True)
class EDMEulerOptions(EDMOptions):
    """Options of diffusers' ``EDMEulerScheduler``."""

    scheduler: ClassVar[str] = "EDMEulerScheduler"


class EDMEulerScheduler(NoiseLevelScheduler[EDMEulerOptions]):
    """Follow the derivative at each noise level straight to the next."""

    options_class = EDMEulerOptions

    def __init__(self, options: EDMEulerOptions) -> None:
        super().__init__(options)
        self.init_noise_sigma = first_deviation(options)

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
        last = 0.0 if ends_clean else float(levels[-1])
        self._start(with_last(levels, last), timesteps_of_levels(levels))

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
