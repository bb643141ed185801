"""Schedulers that count in noise levels: ``sample = original + sigma * noise``."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from . import float32 as f32
from .base import Array, Timestep
from .betas import alphas_cumprod, training_sigmas
from .configured import ConfiguredScheduler
from .cursor import StepCursor
from .options import CheckedOptions, NoiseOptions
from .sigmas import first_deviation, scaled_to_unit_data

L = TypeVar("L", bound=CheckedOptions)
N = TypeVar("N", bound=NoiseOptions)


class NoiseLevelScheduler(ConfiguredScheduler[L]):
    """Go from noise level to noise level, call by call."""

    def __init__(self, options: L) -> None:
        super().__init__(options)
        self._start(np.zeros(1, dtype=np.float32), np.zeros(0, dtype=np.float32))

    def set_begin_index(self, begin_index: int) -> None:
        """Start at this call instead of the first; after `set_timesteps`."""
        self._cursor.begin = begin_index

    def add_noise(self, original: Array, noise: Array, timestep: Timestep) -> Array:
        """Return ``original + sigma * noise`` at this timestep."""
        sigma = self.sigmas[self._cursor.noise_index(timestep)]
        return f32.weighted_sum((f32.ONE, original), (sigma, noise))

    def _start(self, sigmas: Array, timesteps: npt.NDArray[Any]) -> None:
        """Begin a trajectory through these noise levels, (calls + 1,), and timesteps, (calls,)."""
        self.sigmas = sigmas
        self.timesteps = timesteps
        self._cursor = StepCursor(timesteps)


class KDiffusionScheduler(NoiseLevelScheduler[N]):
    """Go through the noise levels of a model that was trained at timesteps, as k-diffusion does.

    Where ``finite_sigma`` is set, a training that ends in noise alone ends at a large noise level.
    """

    finite_sigma = False

    def __init__(self, options: N) -> None:
        super().__init__(options)
        products = alphas_cumprod(options, finite_sigma=self.finite_sigma)
        self._training_sigmas = training_sigmas(products)

    @property
    def init_noise_sigma(self) -> float:
        """Return the standard deviation of the first sample."""
        return first_deviation(self.sigmas, self.options.timestep_spacing)

    def scale_model_input(self, sample: Array, timestep: Timestep) -> Array:
        """Return the sample divided to the deviation that the model was trained with."""
        return scaled_to_unit_data(sample, self._level(self._cursor.at(timestep)))

    def _level(self, index: int) -> np.float32:
        """Return the noise level that the model is asked at in a call."""
        level: np.float32 = self.sigmas[index]
        return level
