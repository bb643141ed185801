"""Denoising diffusion implicit models (arXiv 2010.02502)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Optional

import numpy as np

from . import float32 as f32
from .base import Array, Noise, Timestep
from .options import (
    COMMON_BETA_SCHEDULES,
    TIMESTEP_SPACINGS,
    ClipOptions,
    NoiseOptions,
)
from .prediction import limited, noise_from, original_from
from .timesteps import check_request, whole_timesteps
from .training_timesteps import TrainingTimestepScheduler


@dataclass(frozen=True)
class DDIMOptions(ClipOptions, NoiseOptions):
    """Options of diffusers' ``DDIMScheduler``."""

    timestep_spacing: str = "leading"
    set_alpha_to_one: bool = True
    rescale_betas_zero_snr: bool = False

    scheduler: ClassVar[str] = "DDIMScheduler"
    choices: ClassVar[Mapping[str, Sequence[object]]] = {
        "beta_schedule": COMMON_BETA_SCHEDULES,
        "prediction_type": ("epsilon", "sample", "v_prediction"),
        "timestep_spacing": TIMESTEP_SPACINGS,
    }


class DDIMScheduler(TrainingTimestepScheduler[DDIMOptions]):
    """Step along the implicit trajectory; deterministic at ``eta`` 0, as random as DDPM at 1."""

    options_class = DDIMOptions

    def __init__(self, options: DDIMOptions) -> None:
        super().__init__(options)
        self.eta = 0.0
        """Share of DDPM's noise, for the calls of `step` that give none."""
        self._final_product = f32.ONE if options.set_alpha_to_one else self._products[0]
        self._stride = 0

    def set_timesteps(
        self,
        num_inference_steps: int,
        *,
        mu: Optional[float] = None,
        sigmas: Optional[Sequence[float]] = None,
    ) -> None:
        """Plan a trajectory; see `Scheduler.set_timesteps`."""
        total = self.options.num_train_timesteps
        check_request(self.name, num_inference_steps, mu, sigmas, at_most=total)
        self.timesteps = whole_timesteps(self.options, num_inference_steps)
        self._stride = total // num_inference_steps

    def step(
        self,
        model_output: Array,
        timestep: Timestep,
        sample: Array,
        noise: Noise,
        eta: Optional[float] = None,
        use_clipped_model_output: bool = False,
    ) -> Array:
        """Return the sample of the next timestep (equation 12).

        Args:
            model_output: Prediction at ``timestep``: (batch, channels, height, width), float32.
            timestep: An element of ``timesteps``.
            sample: The sample at ``timestep``.
            noise: Draws normals if ``eta`` is above 0.
            eta: Share of DDPM's noise; the scheduler's own if not given.
            use_clipped_model_output: Derive the noise from the clipped original sample (Glide).
        """
        kind = self.options.prediction_type
        now = int(timestep)
        before = now - self._stride
        product = self._products[now]
        product_before = self._products[before] if before >= 0 else self._final_product
        alpha, sigma = f32.sqrt(product), f32.sqrt(f32.ONE - product)

        original = limited(original_from(kind, model_output, sample, alpha, sigma), self.options)
        if use_clipped_model_output:
            estimate = noise_from("sample", original, sample, alpha, sigma)
        else:
            estimate = noise_from(kind, model_output, sample, alpha, sigma)

        share = np.float32(self.eta if eta is None else eta)
        deviation = f32.ZERO
        if share > 0:
            deviation = share * f32.sqrt(_variance(product, product_before))
        direction = f32.sqrt(f32.ONE - product_before - deviation * deviation)
        previous = f32.weighted_sum((f32.sqrt(product_before), original), (direction, estimate))
        if share > 0:
            previous += deviation * noise(model_output.shape)
        return previous


def _variance(product: np.float32, product_before: np.float32) -> np.float32:
    """Return sigma_t squared at eta 1 (equation 16)."""
    return ((f32.ONE - product_before) / (f32.ONE - product)) * (f32.ONE - product / product_before)


@dataclass(frozen=True)
class DDIMParallelOptions(DDIMOptions):
    """Options of diffusers' ``DDIMParallelScheduler``."""

    scheduler: ClassVar[str] = "DDIMParallelScheduler"


class DDIMParallelScheduler(DDIMScheduler):
    """Step as DDIM does: what diffusers adds to it is for training."""

    options_class = DDIMParallelOptions
