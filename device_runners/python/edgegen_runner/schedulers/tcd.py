"""Trajectory consistency distillation (arXiv 2402.19159)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Optional

import numpy as np

from . import float32 as f32
from .base import Array, Noise, Timestep
from .cursor import StepCursor
from .options import (
    COMMON_BETA_SCHEDULES,
    TIMESTEP_SPACINGS,
    ClipOptions,
    NoiseOptions,
)
from .prediction import noise_from, original_from
from .timesteps import check_request, distilled_timesteps
from .training_timesteps import DistilledScheduler


@dataclass(frozen=True)
class TCDOptions(ClipOptions, NoiseOptions):
    """Options of diffusers' ``TCDScheduler``.

    The spacing, the offset, the limits on the original sample, ``set_alpha_to_one`` and
    ``timestep_scaling`` change nothing, here as there.
    """

    beta_start: float = 0.00085
    beta_end: float = 0.012
    beta_schedule: str = "scaled_linear"
    timestep_spacing: str = "leading"
    clip_sample: bool = False
    original_inference_steps: int = 50
    set_alpha_to_one: bool = True
    timestep_scaling: float = 10.0
    rescale_betas_zero_snr: bool = False

    scheduler: ClassVar[str] = "TCDScheduler"
    choices: ClassVar[Mapping[str, Sequence[object]]] = {
        "beta_schedule": COMMON_BETA_SCHEDULES,
        "prediction_type": ("epsilon", "sample", "v_prediction"),
        "timestep_spacing": TIMESTEP_SPACINGS,
    }


class TCDScheduler(DistilledScheduler[TCDOptions]):
    """Jump below the next timestep, and add noise up to it: none at ``eta`` 0, all at 1."""

    options_class = TCDOptions

    def __init__(self, options: TCDOptions) -> None:
        super().__init__(options)
        self.eta = 0.3
        """Share of the jump that is stochastic (gamma of the paper)."""

    def set_timesteps(
        self,
        num_inference_steps: int,
        *,
        mu: Optional[float] = None,
        sigmas: Optional[Sequence[float]] = None,
    ) -> None:
        """Plan a trajectory; see `Scheduler.set_timesteps`.

        Raises:
            ValueError: There are more steps than timesteps of the distillation.
        """
        check_request(self.name, num_inference_steps, mu, sigmas)
        self.timesteps = distilled_timesteps(
            self.name,
            num_inference_steps,
            self.options.original_inference_steps,
            self.options.num_train_timesteps,
        )
        self._cursor = StepCursor(self.timesteps)

    def step(self, model_output: Array, timestep: Timestep, sample: Array, noise: Noise) -> Array:
        """Return the sample of the next timestep; see `Scheduler.step`.

        Draws noise at every step but the last, unless ``eta`` is 0.
        """
        if not 0 <= self.eta <= 1:
            raise ValueError(f"{self.name} takes an eta of 0 to 1, not {self.eta:g}.")
        kind, index = self.options.prediction_type, self._cursor.at(timestep)
        is_last = index == len(self.timesteps) - 1
        following = 0 if is_last else int(self.timesteps[index + 1])
        below = math.floor(np.float32(1 - self.eta) * np.float32(following))
        product, target = self._products[int(timestep)], self._products[below]
        alpha, sigma = f32.sqrt(product), f32.sqrt(f32.ONE - product)
        original = original_from(kind, model_output, sample, alpha, sigma)
        estimate = noise_from(kind, model_output, sample, alpha, sigma)
        jumped = f32.weighted_sum(
            (f32.sqrt(target), original), (f32.sqrt(f32.ONE - target), estimate)
        )
        self._cursor.advance()
        if self.eta == 0 or is_last:
            return jumped
        share = self._products[following] / target
        return f32.weighted_sum(
            (f32.sqrt(share), jumped), (f32.sqrt(f32.ONE - share), noise(model_output.shape))
        )
