"""DPM-Solver-2 with ancestral noise (k-diffusion's ``sample_dpm_2_ancestral``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Optional

import numpy as np
import numpy.typing as npt

from . import float32 as f32
from .base import Array, Noise, Timestep
from .betas import alphas_cumprod, training_sigmas
from .cursor import StepCursor
from .kdpm2_plan import KDPM2Options, plan_of
from .options import read_options
from .prediction import original_at_sigma
from .sigmas import first_deviation, scaled_to_unit_data, up_and_down


@dataclass(frozen=True)
class KDPM2AncestralDiscreteOptions(KDPM2Options):
    """Options of diffusers' ``KDPM2AncestralDiscreteScheduler``."""

    scheduler: ClassVar[str] = "KDPM2AncestralDiscreteScheduler"


class KDPM2AncestralDiscreteScheduler:
    """Go below the next noise level with the derivative of the middle, and add noise up to it.

    Every step but the last, which ends without noise, takes two calls of the model.
    """

    name = "KDPM2AncestralDiscreteScheduler"
    order = 2
    _began: Optional[Array]
    """Between the calls of a step: the sample that it began with."""

    def __init__(self, options: KDPM2AncestralDiscreteOptions) -> None:
        self.options = options
        self.timesteps: npt.NDArray[Any] = np.zeros(0, dtype=np.float32)
        self.sigmas: Array = np.zeros(1, dtype=np.float32)
        self._training_sigmas = training_sigmas(alphas_cumprod(options))
        self._cursor = StepCursor(self.timesteps)
        self._middles: Array = np.zeros(0, dtype=np.float32)
        self._ends: list[tuple[np.float32, np.float32]] = []
        self._began = None

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> KDPM2AncestralDiscreteScheduler:
        """Make the scheduler of a ``scheduler_config.json``.

        Raises:
            UnsupportedScheduler: An option has a value that the runner does not support.
        """
        return cls(read_options(KDPM2AncestralDiscreteOptions, config))

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
        plan = plan_of(self.options, self._training_sigmas, num_inference_steps, mu, sigmas)
        with np.errstate(invalid="ignore"):
            ends = [up_and_down(*pair) for pair in zip(plan.levels, plan.levels[1:])]
        if not np.isfinite(ends).all():
            raise ValueError(
                f"{self.name} cannot make {num_inference_steps} steps of these noise levels: "
                "diffusers computes what is not a number."
            )
        self._ends = ends
        self._middles = plan.middles(np.array([down for _, down in ends], dtype=np.float32))
        self.sigmas = plan.sigmas
        self.timesteps = plan.timesteps(self._middles)
        self._cursor = StepCursor(self.timesteps)
        self._began = None

    def set_begin_index(self, begin_index: int) -> None:
        """Start at this call instead of the first; after `set_timesteps`."""
        self._cursor.begin = begin_index

    def scale_model_input(self, sample: Array, timestep: Timestep) -> Array:
        """Return the sample divided to the deviation that the model was trained with."""
        return scaled_to_unit_data(sample, self._level(self._cursor.at(timestep)))

    def step(self, model_output: Array, timestep: Timestep, sample: Array, noise: Noise) -> Array:
        """Return the sample of the next timestep; see `Scheduler.step`.

        Draws noise in the second call of each step.
        """
        index = self._cursor.at(timestep)
        here = self._level(index)
        original = original_at_sigma(self.options.prediction_type, model_output, sample, here)
        derivative = (sample - original) / here
        self._cursor.advance()
        if self._began is None:
            self._began = sample
            derivative *= self._middles[index // 2] - here
            derivative += sample
            return derivative
        sample, self._began = self._began, None
        up, down = self._ends[index // 2]
        derivative *= down - self.sigmas[index - 1]
        derivative += sample
        derivative += noise(model_output.shape) * up
        return derivative

    def add_noise(self, original: Array, noise: Array, timestep: Timestep) -> Array:
        """Return ``original + sigma * noise`` at this timestep."""
        sigma = self.sigmas[self._cursor.noise_index(timestep)]
        return f32.weighted_sum((f32.ONE, original), (sigma, noise))

    def _level(self, index: int) -> np.float32:
        """Return the noise level that the model is asked at in a call."""
        level: np.float32 = self.sigmas[index] if self._began is None else self._middles[index // 2]
        return level
