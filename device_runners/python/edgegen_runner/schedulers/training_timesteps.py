"""Schedulers that count in timesteps of the training, at which signal and noise have variance 1."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from .base import Array, Timestep
from .betas import alphas_cumprod, noised
from .configured import ConfiguredScheduler
from .cursor import StepCursor
from .options import BetaOptions
from .timesteps import Integers

B = TypeVar("B", bound=BetaOptions)


class TrainingTimestepScheduler(ConfiguredScheduler[B]):
    """Go from timestep to timestep; a step depends on its timestep alone."""

    init_noise_sigma = 1.0
    sigmas = None

    def __init__(self, options: B) -> None:
        super().__init__(options)
        self.timesteps: Integers = np.zeros(0, dtype=np.int64)
        self._products = alphas_cumprod(options)

    def set_begin_index(self, begin_index: int) -> None:
        """Do nothing: whichever timestep comes first, a trajectory begins there."""

    def can_start_at(self, timestep: Timestep) -> bool:
        """Return whether a prediction gives the original: not noise alone at zero SNR."""
        return self.options.prediction_type != "epsilon" or self._products[int(timestep)] > 0

    def add_noise(self, original: Array, noise: Array, timestep: Timestep) -> Array:
        """Return the original as it looks at this training timestep."""
        return noised(self._products[int(timestep)], original, noise)


class DistilledScheduler(TrainingTimestepScheduler[B]):
    """Go from timestep to timestep, where the last step differs from the others."""

    def __init__(self, options: B) -> None:
        super().__init__(options)
        self._cursor = StepCursor(self.timesteps)

    def set_begin_index(self, begin_index: int) -> None:
        """Start at this call instead of the first; after `set_timesteps`."""
        self._cursor.begin = begin_index
