"""Denoising diffusion probabilistic models (arXiv 2006.11239)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Optional

import numpy as np

from . import float32 as f32
from .base import Array, Noise, Timestep
from .options import (
    COMMON_BETA_SCHEDULES,
    TIMESTEP_SPACINGS,
    ClipOptions,
    NoiseOptions,
)
from .prediction import limited, original_from
from .timesteps import check_request, whole_timesteps
from .training_timesteps import TrainingTimestepScheduler

_LEAST_VARIANCE = np.float32(1e-20)
_LEARNED = ("learned", "learned_range")


@dataclass(frozen=True)
class DDPMOptions(ClipOptions, NoiseOptions):
    """Options of diffusers' ``DDPMScheduler``."""

    timestep_spacing: str = "leading"
    variance_type: Optional[str] = "fixed_small"
    rescale_betas_zero_snr: bool = False

    scheduler: ClassVar[str] = "DDPMScheduler"
    choices: ClassVar[Mapping[str, Sequence[object]]] = {
        "beta_schedule": (*COMMON_BETA_SCHEDULES, "sigmoid", "laplace"),
        "prediction_type": ("epsilon", "sample", "v_prediction"),
        "timestep_spacing": TIMESTEP_SPACINGS,
        # fixed_large_log is not among them: diffusers takes the root of a negative logarithm.
        # None, which DPM-Solver's configs have, is diffusers' fixed_small.
        "variance_type": ("fixed_small", "fixed_small_log", "fixed_large", *_LEARNED, None),
    }


class DDPMScheduler(TrainingTimestepScheduler[DDPMOptions]):
    """Step along the ancestral trajectory, with new noise at every step but the last."""

    options_class = DDPMOptions

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

    def step(self, model_output: Array, timestep: Timestep, sample: Array, noise: Noise) -> Array:
        """Return the sample of the next timestep (equations 6 and 7).

        Args:
            model_output: Prediction at ``timestep``: (batch, channels, height, width), float32;
                twice the channels where the model predicts the variance too.
            timestep: An element of ``timesteps``.
            sample: The sample at ``timestep``.
            noise: Draws normals unless ``timestep`` is 0.
        """
        channels = sample.shape[1]
        predicted: Optional[Array] = None
        if self.options.variance_type in _LEARNED and model_output.shape[1] == 2 * channels:
            model_output, predicted = model_output[:, :channels], model_output[:, channels:]

        now = int(timestep)
        product, product_before = self._products[now], self._product_before(now)
        alpha_step = product / product_before
        beta, beta_before = f32.ONE - product, f32.ONE - product_before
        beta_step = f32.ONE - alpha_step

        original = original_from(
            self.options.prediction_type, model_output, sample, f32.sqrt(product), f32.sqrt(beta)
        )
        previous = f32.weighted_sum(
            (f32.sqrt(product_before) * beta_step / beta, limited(original, self.options)),
            (f32.sqrt(alpha_step) * beta_before / beta, sample),
        )
        if now > 0:
            variance = max(beta_before / beta * beta_step, _LEAST_VARIANCE)
            previous += self._deviation(variance, beta_step, predicted) * noise(model_output.shape)
        return previous

    def _product_before(self, timestep: int) -> np.float32:
        (places,) = np.nonzero(self.timesteps == timestep)
        if places.size == 0:
            raise ValueError(
                f"{timestep} is not a timestep of this schedule. Call set_timesteps first."
            )
        following = int(places[0]) + 1
        if following == len(self.timesteps):
            return f32.ONE
        return np.float32(self._products[self.timesteps[following]])

    def _deviation(
        self, variance: np.float32, beta_step: np.float32, predicted: Optional[Array]
    ) -> Any:
        """Return the factor of the noise: a float32 scalar, or an array where it is learned."""
        kind = self.options.variance_type
        if kind not in _LEARNED:
            return f32.sqrt(beta_step if kind == "fixed_large" else variance)
        if predicted is None:
            raise ValueError(f"variance_type {kind!r} needs a model with twice the channels.")
        if kind == "learned":
            return np.sqrt(predicted)
        # learned_range of improved DDPM: arXiv 2102.09672, equation 15
        ends = f32.log(np.array([variance, beta_step], dtype=np.float32))
        share = (predicted + 1) / 2
        return np.exp(0.5 * (share * ends[1] + (1 - share) * ends[0]))


@dataclass(frozen=True)
class DDPMParallelOptions(DDPMOptions):
    """Options of diffusers' ``DDPMParallelScheduler``."""

    scheduler: ClassVar[str] = "DDPMParallelScheduler"


class DDPMParallelScheduler(DDPMScheduler):
    """Step as DDPM does: what diffusers adds to it is for training."""

    options_class = DDPMParallelOptions
