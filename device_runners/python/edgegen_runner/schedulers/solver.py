"""Schedulers that solve the probability flow in the log-SNR: DPM-Solver and its kin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from . import float32 as f32
from .base import Array, Timestep
from .betas import alphas_cumprod, training_sigmas
from .configured import ConfiguredScheduler
from .cursor import StepCursor
from .options import BetaOptions, SigmaOptions, ThresholdOptions
from .prediction import original_of_flow_or_from, thresholded
from .sigmas import signal_and_noise
from .timesteps import Integers


@dataclass(frozen=True)
class FlowSolverOptions(SigmaOptions, ThresholdOptions, BetaOptions):
    """Options of every solver that takes models of diffusion and of flow matching."""

    use_flow_sigmas: bool = False
    flow_shift: float = 1.0


F = TypeVar("F", bound=FlowSolverOptions)


class SolverScheduler(ConfiguredScheduler[F]):
    """Hold the noise levels of a trajectory, as signal, noise and log-SNR, and the predictions.

    Where ``finite_sigma`` is set, a training that ends in noise alone ends at a large noise level.
    """

    init_noise_sigma = 1.0
    finite_sigma = False
    _predictions: list[Array]
    """The newest first."""
    _warm_up: int
    """How many predictions there were, as far as the order asks."""

    def __init__(self, options: F) -> None:
        super().__init__(options)
        self.timesteps: Integers = np.zeros(0, dtype=np.int64)
        self.sigmas: Array = np.zeros(1, dtype=np.float32)
        self._products = alphas_cumprod(options, finite_sigma=self.finite_sigma)
        self._training_sigmas = training_sigmas(self._products)
        self._start_over()

    def set_begin_index(self, begin_index: int) -> None:
        """Start at this call instead of the first; after `set_timesteps`."""
        self._cursor.begin = begin_index

    def add_noise(self, original: Array, noise: Array, timestep: Timestep) -> Array:
        """Return the original as it looks at this timestep."""
        index = self._cursor.noise_index(timestep)
        return f32.weighted_sum((self._alphas[index], original), (self._parts[index], noise))

    def _start_over(self) -> None:
        """Begin the trajectory of the present sigmas and timesteps."""
        self._alphas, self._parts, self._lambdas = signal_and_noise(
            self.sigmas, flow=self.options.use_flow_sigmas
        )
        self._cursor = StepCursor(self.timesteps)
        self._predictions = []
        self._warm_up = 0

    def _original(self, model_output: Array, sample: Array, index: int) -> Array:
        """Return the original sample that a prediction means, within its threshold."""
        options = self.options
        original = original_of_flow_or_from(
            options.prediction_type,
            model_output,
            sample,
            self._alphas[index],
            self._parts[index],
            self.sigmas[index],
        )
        return thresholded(original, options) if options.thresholding else original

    def _end_at(self, least_log_snr: float) -> int:
        """Return the training timestep before which the log-SNR is at least this one's half."""
        rising = f32.log(np.sqrt(self._products)) - f32.log(np.sqrt(1 - self._products))
        clipped = np.searchsorted(rising[::-1], np.float32(least_log_snr))
        return self.options.num_train_timesteps - int(clipped)
