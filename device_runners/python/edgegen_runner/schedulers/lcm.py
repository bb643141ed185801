"""Latent consistency models (arXiv 2310.04378)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Optional

import numpy as np

from . import float32 as f32
from .base import Array, Noise, Timestep
from .betas import alphas_cumprod, noised
from .cursor import StepCursor
from .options import (
    COMMON_BETA_SCHEDULES,
    TIMESTEP_SPACINGS,
    ClipOptions,
    NoiseOptions,
    read_options,
)
from .prediction import limited, original_from
from .timesteps import Integers, check_request, distilled_timesteps

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


class LCMScheduler:
    """Jump to the original sample, and add noise for the next jump at every step but the last."""

    name = "LCMScheduler"
    order = 1
    init_noise_sigma = 1.0
    sigmas: Optional[Array] = None

    def __init__(self, options: LCMOptions) -> None:
        self.options = options
        self.timesteps: Integers = np.zeros(0, dtype=np.int64)
        self._products = alphas_cumprod(options)
        self._cursor = StepCursor(self.timesteps)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> LCMScheduler:
        """Make the scheduler of a ``scheduler_config.json``.

        Raises:
            UnsupportedScheduler: An option has a value that the runner does not support.
        """
        return cls(read_options(LCMOptions, config))

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

    def set_begin_index(self, begin_index: int) -> None:
        """Start at this call instead of the first; after `set_timesteps`."""
        self._cursor.begin = begin_index

    def can_start_at(self, timestep: Timestep) -> bool:
        """Return whether a prediction gives the original: not noise alone at zero SNR."""
        return self.options.prediction_type != "epsilon" or self._products[int(timestep)] > 0

    def scale_model_input(self, sample: Array, timestep: Timestep) -> Array:
        """Return the sample itself."""
        return sample

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

    def add_noise(self, original: Array, noise: Array, timestep: Timestep) -> Array:
        """Return the original as it looks at this training timestep."""
        return noised(self._products[int(timestep)], original, noise)

    def _boundary_scalings(self, timestep: int) -> tuple[np.float32, np.float32]:
        """Return c_skip and c_out, which make the model the identity at timestep 0."""
        scaled = np.float32(timestep) * np.float32(self.options.timestep_scaling)
        variance = scaled * scaled + _DATA_VARIANCE
        return _DATA_VARIANCE / variance, scaled / f32.sqrt(variance)
