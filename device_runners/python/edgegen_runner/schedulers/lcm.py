"""Latent consistency models (arXiv 2310.04378)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Optional

import numpy as np

from . import float32 as f32
from .base import Array, Noise, Timestep
from .betas import noised
from .cursor import StepCursor
from .options import (
    COMMON_BETA_SCHEDULES,
    TIMESTEP_SPACINGS,
    ClipOptions,
    NoiseOptions,
)
from .prediction import limited, original_from
from .timesteps import check_request, distilled_timesteps
from .training_timesteps import DistilledScheduler

_DATA_VARIANCE = np.float32(0.5**2)


@dataclass(frozen=True)
class LCMOptions(ClipOptions, NoiseOptions):
    """Options of diffusers' ``LCMScheduler``.

    ``timestep_spacing``, ``steps_offset`` and ``set_alpha_to_one`` change nothing, here as there.
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

    scheduler: ClassVar[str] = "LCMScheduler"
    choices: ClassVar[Mapping[str, Sequence[object]]] = {
        "beta_schedule": COMMON_BETA_SCHEDULES,
        "prediction_type": ("epsilon", "sample", "v_prediction"),
        "timestep_spacing": TIMESTEP_SPACINGS,
    }


class LCMScheduler(DistilledScheduler[LCMOptions]):
    """Jump to the original sample, and add noise for the next jump at every step but the last."""

    options_class = LCMOptions

    def set_timesteps(
        self,
        num_inference_steps: int,
        *,
        mu: Optional[float] = None,
        sigmas: Optional[Sequence[float]] = None,
        original_inference_steps: Optional[int] = None,
        strength: float = 1.0,
    ) -> None:
        """Plan a trajectory through some of the timesteps that the model was distilled at.

        Args:
            num_inference_steps: How many steps.
            mu: Not taken.
            sigmas: Not taken.
            original_inference_steps: Steps of the distillation; the option's if not given.
            strength: Share of the distillation's timesteps to use, for image-to-image.

        Raises:
            ValueError: There are more steps than timesteps of the distillation.
        """
        check_request(self.name, num_inference_steps, mu, sigmas)
        self.timesteps = distilled_timesteps(
            self.name,
            num_inference_steps,
            original_inference_steps or self.options.original_inference_steps,
            self.options.num_train_timesteps,
            strength,
        )
        self._cursor = StepCursor(self.timesteps)

    def step(self, model_output: Array, timestep: Timestep, sample: Array, noise: Noise) -> Array:
        """Return the sample of the next timestep; see `Scheduler.step`.

        Draws noise at every step but the last.
        """
        index = self._cursor.at(timestep)
        product = self._products[int(timestep)]
        original = original_from(
            self.options.prediction_type,
            model_output,
            sample,
            f32.sqrt(product),
            f32.sqrt(f32.ONE - product),
        )
        skip, out = self._boundary_scalings(int(timestep))
        denoised = f32.weighted_sum((out, limited(original, self.options)), (skip, sample))
        self._cursor.advance()
        if index == len(self.timesteps) - 1:
            return denoised
        following = self._products[self.timesteps[index + 1]]
        return noised(following, denoised, noise(model_output.shape))

    def _boundary_scalings(self, timestep: int) -> tuple[np.float32, np.float32]:
        """Return c_skip and c_out, which make the model the identity at timestep 0."""
        scaled = np.float32(timestep) * np.float32(self.options.timestep_scaling)
        variance = scaled * scaled + _DATA_VARIANCE
        return _DATA_VARIANCE / variance, scaled / f32.sqrt(variance)
