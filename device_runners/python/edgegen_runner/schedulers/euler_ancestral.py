"""Euler's method with ancestral noise (k-diffusion's ``sample_euler_ancestral``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Optional

import numpy as np

from .base import Array, Noise, Timestep
from .noise_levels import KDiffusionScheduler
from .options import COMMON_BETA_SCHEDULES, TIMESTEP_SPACINGS, NoiseOptions
from .prediction import original_at_sigma
from .sigmas import ups_and_downs, with_last
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


class EulerAncestralDiscreteScheduler(KDiffusionScheduler[EulerAncestralDiscreteOptions]):
    """Step below the next noise level, and add new noise up to it."""

    options_class = EulerAncestralDiscreteOptions
    finite_sigma = True
    _ups: Array
    """The deviation of the noise that each step ends with: (steps,)."""
    _downs: Array
    """The noise level that each step goes down to: (steps,)."""

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
        timesteps = fractional_timesteps(self.options, num_inference_steps)
        levels = with_last(np.interp(timesteps, np.arange(len(training)), training), 0.0)
        self._ups, self._downs = ups_and_downs(self.name, levels)
        self._start(levels, timesteps)

    def step(self, model_output: Array, timestep: Timestep, sample: Array, noise: Noise) -> Array:
        """Return the sample of the next timestep; see `Scheduler.step`. Draws noise every time."""
        index = self._cursor.at(timestep)
        start = self.sigmas[index]
        previous = sample - original_at_sigma(
            self.options.prediction_type, model_output, sample, start
        )
        previous /= start
        previous *= self._downs[index] - start
        previous += sample
        previous += self._ups[index] * noise(model_output.shape)
        self._cursor.advance()
        return previous
