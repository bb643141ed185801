"""Improved pseudo linear multistep method over a quarter of a circle (arXiv 2202.09778)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Optional

import numpy as np

from . import float32 as f32
from .base import Array, Noise, Timestep
from .configured import ConfiguredScheduler
from .cursor import StepCursor
from .multistep import MOST, adams_bashforth
from .options import CheckedOptions, check_train_timesteps
from .timesteps import check_request

_LEAST_ALPHA = np.float32(1e-8)


@dataclass(frozen=True)
class IPNDMOptions(CheckedOptions):
    """Options of diffusers' ``IPNDMScheduler``."""

    num_train_timesteps: int = 1000
    trained_betas: Optional[Sequence[float]] = None

    scheduler: ClassVar[str] = "IPNDMScheduler"
    choices: ClassVar[Mapping[str, Sequence[object]]] = {}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_train_timesteps(self, self.num_train_timesteps)
        if self.trained_betas is not None:
            raise self.refuse(
                "trained_betas",
                "diffusers then makes as many steps as there are, not those wanted.",
            )


class IPNDMScheduler(ConfiguredScheduler[IPNDMOptions]):
    """Turn the sample from noise to picture, by a multistep mean of what turns it.

    The model is asked at times from 1 to 0, which are fractions.
    """

    options_class = IPNDMOptions
    adds_noise = False
    init_noise_sigma = 1.0
    sigmas = None
    _turnings: list[Array]
    """What turned the sample, the newest last."""

    def __init__(self, options: IPNDMOptions) -> None:
        super().__init__(options)
        self._start(np.zeros(1, dtype=np.float32))

    def set_timesteps(
        self,
        num_inference_steps: int,
        *,
        mu: Optional[float] = None,
        sigmas: Optional[Sequence[float]] = None,
    ) -> None:
        """Plan a trajectory; see `Scheduler.set_timesteps`."""
        check_request(self.name, num_inference_steps, mu, sigmas)
        parts = f32.linspace(1.0, 0.0, num_inference_steps + 1)
        parts[-1] = f32.ZERO
        angles = parts * np.float32(math.pi) / f32.TWO
        self._start(np.square(np.sin(angles.astype(np.float64)).astype(np.float32)))

    def set_begin_index(self, begin_index: int) -> None:
        """Start at this call instead of the first; after `set_timesteps`."""
        self._cursor.begin = begin_index

    def step(self, model_output: Array, timestep: Timestep, sample: Array, noise: Noise) -> Array:
        """Return the sample of the next timestep; see `Scheduler.step`. Draws no noise."""
        index = self._cursor.at(timestep)
        alpha, beta = self._alphas[index], self._betas[index]
        turning = f32.weighted_sum((beta, sample), (alpha, model_output))
        self._turnings = [*self._turnings[1 - MOST :], turning]
        mean = adams_bashforth(self._turnings)
        original = sample - beta * mean
        original /= max(alpha, _LEAST_ALPHA)
        self._cursor.advance()
        return f32.weighted_sum((self._alphas[index + 1], original), (self._betas[index + 1], mean))

    def add_noise(self, original: Array, noise: Array, timestep: Timestep) -> Array:
        """Raise ValueError: diffusers' class adds no noise to pictures."""
        raise ValueError(f"{self.name} adds no noise to pictures.")

    def _start(self, betas: Array) -> None:
        """Begin a trajectory through these shares of noise: (steps + 1,)."""
        self._betas = betas
        self._alphas: Array = np.sqrt(f32.ONE - np.square(betas))
        angles = np.arctan2(betas.astype(np.float64), self._alphas).astype(np.float32)
        self.timesteps = (angles / np.float32(math.pi) * f32.TWO)[:-1]
        self._cursor = StepCursor(self.timesteps)
        self._turnings = []
