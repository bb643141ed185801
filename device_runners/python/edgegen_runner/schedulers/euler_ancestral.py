"""Euler's method with ancestral noise (k-diffusion's ``sample_euler_ancestral``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Optional

import numpy as np

from . import float32 as f32
from .base import Array, Noise, Timestep
from .betas import alphas_cumprod, training_sigmas
from .cursor import StepCursor
from .options import COMMON_BETA_SCHEDULES, TIMESTEP_SPACINGS, NoiseOptions, read_options
from .prediction import original_at_sigma
from .sigmas import first_deviation, scaled_to_unit_data, up_and_down, with_last
from .timesteps import check_request, fractional_timesteps


@dataclass(frozen=True)
class EulerAncestralDiscreteOptions(NoiseOptions):
    """Options of diffusers' ``EulerAncestralDiscreteScheduler``."""

    rescale_betas_zero_snr: bool = False

    scheduler: ClassVar[str] = "EulerAncestralDiscreteScheduler"
    choices: ClassVar[Mapping[str, Sequence[object]]] = {
        "beta_schedule": COMMON_BETA_SCHEDULES,
        "prediction_type": ("epsilon", "v_prediction"),
        "timestep_spacing": TIMESTEP_SPACINGS,
    }


class EulerAncestralDiscreteScheduler:
    """Step below the next noise level, and add new noise up to it."""

    name = "EulerAncestralDiscreteScheduler"
    order = 1

    def __init__(self, options: EulerAncestralDiscreteOptions) -> None:
        self.options = options
        self.timesteps: Array = np.zeros(0, dtype=np.float32)
        self.sigmas: Array = np.zeros(1, dtype=np.float32)
        self._training_sigmas = training_sigmas(alphas_cumprod(options, finite_sigma=True))
        self._cursor = StepCursor(self.timesteps)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> EulerAncestralDiscreteScheduler:
        """Make the scheduler of a ``scheduler_config.json``.

        Raises:
            UnsupportedScheduler: An option has a value that the runner does not support.
        """
        return cls(read_options(EulerAncestralDiscreteOptions, config))

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
        """Plan a trajectory; see `Scheduler.set_timesteps`.

        Raises:
            ValueError: A step is so long that rounding leaves no noise level to step down to.
        """
        check_request(self.name, num_inference_steps, mu, sigmas)
        training = self._training_sigmas
        self.timesteps = fractional_timesteps(self.options, num_inference_steps)
        levels = np.interp(self.timesteps, np.arange(len(training)), training)
        self.sigmas = with_last(levels, 0.0)
        with np.errstate(invalid="ignore"):
            ends = [up_and_down(*pair) for pair in zip(self.sigmas, self.sigmas[1:])]
        if not np.isfinite(ends).all():
            raise ValueError(
                f"{self.name} cannot make {num_inference_steps} steps of these noise levels: "
                "diffusers computes what is not a number."
            )
        self._cursor = StepCursor(self.timesteps)

    def set_begin_index(self, begin_index: int) -> None:
        """Start at this call instead of the first; after `set_timesteps`."""
        self._cursor.begin = begin_index

    def scale_model_input(self, sample: Array, timestep: Timestep) -> Array:
        """Return the sample divided to the deviation that the model was trained with."""
        return scaled_to_unit_data(sample, self.sigmas[self._cursor.at(timestep)])

    def step(self, model_output: Array, timestep: Timestep, sample: Array, noise: Noise) -> Array:
        """Return the sample of the next timestep; see `Scheduler.step`. Draws noise every time."""
        index = self._cursor.at(timestep)
        start = self.sigmas[index]
        up, down = up_and_down(start, self.sigmas[index + 1])
        previous = sample - original_at_sigma(
            self.options.prediction_type, model_output, sample, start
        )
        previous /= start
        previous *= down - start
        previous += sample
        previous += up * noise(model_output.shape)
        self._cursor.advance()
        return previous

    def add_noise(self, original: Array, noise: Array, timestep: Timestep) -> Array:
        """Return ``original + sigma * noise`` at this timestep."""
        sigma = self.sigmas[self._cursor.noise_index(timestep)]
        return f32.weighted_sum((f32.ONE, original), (sigma, noise))
