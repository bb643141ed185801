"""Denoising diffusion implicit models (arXiv 2010.02502)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Optional

import numpy as np

from . import float32 as f32
from .base import Array, Noise, Timestep
from .betas import alphas_cumprod, noised
from .options import (
    COMMON_BETA_SCHEDULES,
    TIMESTEP_SPACINGS,
    ClipOptions,
    NoiseOptions,
    read_options,
)
from .prediction import limited, noise_from, original_from
from .timesteps import Integers, check_request, whole_timesteps


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


class DDIMScheduler:
    """Step along the implicit trajectory; deterministic at ``eta`` 0, as random as DDPM at 1."""

    options_class: ClassVar[type[DDIMOptions]] = DDIMOptions
    name = "DDIMScheduler"
    order = 1
    init_noise_sigma = 1.0
    sigmas: Optional[Array] = None

    def __init__(self, options: DDIMOptions) -> None:
        self.options = options
        self.eta = 0.0
        """Share of DDPM's noise, for the calls of `step` that give none."""
        self.timesteps: Integers = np.zeros(0, dtype=np.int64)
        self._products = alphas_cumprod(options)
        self._final_product = f32.ONE if options.set_alpha_to_one else self._products[0]
        self._stride = 0

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> DDIMScheduler:
        """Make the scheduler of a ``scheduler_config.json``.

        Raises:
            UnsupportedScheduler: An option has a value that the runner does not support.
        """
        return cls(read_options(cls.options_class, config))

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

    def set_begin_index(self, begin_index: int) -> None:
        """Do nothing: a step depends on its timestep alone."""

    def can_start_at(self, timestep: Timestep) -> bool:
        """Return whether a prediction gives the original: not noise alone at zero SNR."""
        return self.options.prediction_type != "epsilon" or self._products[int(timestep)] > 0

    def scale_model_input(self, sample: Array, timestep: Timestep) -> Array:
        """Return the sample itself."""
        return sample

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

    def add_noise(self, original: Array, noise: Array, timestep: Timestep) -> Array:
        """Return the original as it looks at this training timestep."""
        return noised(self._products[int(timestep)], original, noise)


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
    name = "DDIMParallelScheduler"
