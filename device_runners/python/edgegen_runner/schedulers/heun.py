"""Heun's method over noise levels (arXiv 2206.00364, algorithm 1 without churn)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Optional

import numpy as np
import numpy.typing as npt

from . import float32 as f32
from .base import Array, Noise, Timestep
from .noise_levels import KDiffusionScheduler
from .options import (
    COMMON_BETA_SCHEDULES,
    TIMESTEP_SPACINGS,
    NoiseOptions,
    SigmaOptions,
    check_one_sigma_rule,
)
from .prediction import original_at_sigma
from .sigmas import ruled, timesteps_of, with_last
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


class HeunDiscreteScheduler(KDiffusionScheduler[HeunDiscreteOptions]):
    """Go to the next noise level, look at the derivative there, and go with the mean of both.

    Every step but the last, which ends without noise, takes two calls of the model.
    """

    options_class = HeunDiscreteOptions
    order = 2
    _began: Optional[tuple[Array, Array]]
    """Between the calls of a step: the sample that it began with, and the derivative there."""

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
        self._start(with_last(levels[twice], 0.0), timesteps[twice].astype(np.float32))

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

    def _start(self, sigmas: Array, timesteps: npt.NDArray[Any]) -> None:
        super()._start(sigmas, timesteps)
        self._began = None
