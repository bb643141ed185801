"""Consistency models, sampled in several steps (arXiv 2303.01469, algorithm 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Optional

import numpy as np

from . import float32 as f32
from .base import Array, Noise, Timestep
from .noise_levels import NoiseLevelScheduler
from .options import CheckedOptions, check_sigma_range, check_train_timesteps
from .sigmas import Doubles, with_last
from .timesteps import check_request


@dataclass(frozen=True)
class CMStochasticIterativeOptions(CheckedOptions):
    """Options of diffusers' ``CMStochasticIterativeScheduler``."""

    num_train_timesteps: int = 40
    sigma_min: float = 0.002
    sigma_max: float = 80.0
    sigma_data: float = 0.5
    s_noise: float = 1.0
    rho: float = 7.0
    clip_denoised: bool = True

    scheduler: ClassVar[str] = "CMStochasticIterativeScheduler"
    choices: ClassVar[Mapping[str, Sequence[object]]] = {}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_train_timesteps(self, self.num_train_timesteps)
        check_sigma_range(self, self.sigma_min, self.sigma_max)
        if self.rho <= 0:
            raise self.refuse("rho", "it must be above 0.")


class CMStochasticIterativeScheduler(NoiseLevelScheduler[CMStochasticIterativeOptions]):
    """Jump to the original sample, and add noise down to the next noise level."""

    options_class = CMStochasticIterativeOptions

    def __init__(self, options: CMStochasticIterativeOptions) -> None:
        super().__init__(options)
        self.init_noise_sigma = options.sigma_max

    def set_timesteps(
        self,
        num_inference_steps: int,
        *,
        mu: Optional[float] = None,
        sigmas: Optional[Sequence[float]] = None,
    ) -> None:
        """Plan a trajectory; see `Scheduler.set_timesteps`."""
        options, total = self.options, self.options.num_train_timesteps
        check_request(self.name, num_inference_steps, mu, sigmas, at_most=total)
        ramp = np.arange(num_inference_steps) * (total // num_inference_steps) / (total - 1)
        most, least = (end ** (1 / options.rho) for end in (options.sigma_max, options.sigma_min))
        levels: Doubles = (most + ramp * (least - most)) ** options.rho
        timesteps = 1000 * 0.25 * np.log(levels + 1e-44)
        self._start(with_last(levels, options.sigma_min), timesteps)

    def scale_model_input(self, sample: Array, timestep: Timestep) -> Array:
        """Return the sample divided to the deviation that the model was trained with."""
        sigma = self.sigmas[self._cursor.at(timestep)]
        scaled = sample.copy()
        scaled /= f32.sqrt(sigma * sigma + np.float32(self.options.sigma_data**2))
        return scaled

    def step(self, model_output: Array, timestep: Timestep, sample: Array, noise: Noise) -> Array:
        """Return the sample of the next timestep; see `Scheduler.step`.

        Draws noise every time, unless there is one step only.
        """
        options, index = self.options, self._cursor.at(timestep)
        least, most = np.float32(options.sigma_min), np.float32(options.sigma_max)
        out, skip = self._boundary_scalings(self.sigmas[index])
        denoised = f32.weighted_sum((out, model_output), (skip, sample))
        if options.clip_denoised:
            denoised = np.clip(denoised, -f32.ONE, f32.ONE)
        target = np.clip(self.sigmas[index + 1], least, most)
        self._cursor.advance()
        if len(self.timesteps) == 1:
            return denoised
        drawn = noise(model_output.shape) * np.float32(options.s_noise)
        deviation = f32.sqrt(target * target - np.float32(options.sigma_min**2))
        return denoised + drawn * deviation

    def _boundary_scalings(self, sigma: np.float32) -> tuple[np.float32, np.float32]:
        """Return c_out and c_skip, which make the model the identity at ``sigma_min``."""
        data = np.float32(self.options.sigma_data)
        variance = np.float32(self.options.sigma_data**2)
        above = sigma - np.float32(self.options.sigma_min)
        out = above * data / f32.sqrt(sigma * sigma + variance)
        return out, variance / (above * above + variance)
