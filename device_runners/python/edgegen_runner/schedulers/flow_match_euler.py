"""Euler's method for flow matching (arXiv 2403.03206), as Stable Diffusion 3 and FLUX use it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Optional

import numpy as np

from . import float32 as f32
from .base import Array, Noise, Timestep
from .noise_levels import NoiseLevelScheduler
from .options import SigmaOptions, check_one_sigma_rule
from .sigmas import (
    ruled,
    static_shift,
    stretch_to_terminal,
    time_shift,
    with_last,
)
from .timesteps import check_request


@dataclass(frozen=True)
class FlowMatchEulerDiscreteOptions(SigmaOptions):
    """Options of diffusers' ``FlowMatchEulerDiscreteScheduler``."""

    num_train_timesteps: int = 1000
    shift: float = 1.0
    use_dynamic_shifting: bool = False
    base_shift: float = 0.5
    max_shift: float = 1.15
    base_image_seq_len: int = 256
    max_image_seq_len: int = 4096
    invert_sigmas: bool = False
    shift_terminal: Optional[float] = None
    time_shift_type: str = "exponential"
    stochastic_sampling: bool = False

    scheduler: ClassVar[str] = "FlowMatchEulerDiscreteScheduler"
    choices: ClassVar[Mapping[str, Sequence[object]]] = {
        "time_shift_type": ("exponential", "linear"),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_sigma_rule(self)

    def dynamic_mu(self, image_seq_len: int) -> float:
        """Return the ``mu`` that FLUX's pipelines give `set_timesteps` for an image's tokens."""
        slope = (self.max_shift - self.base_shift) / (
            self.max_image_seq_len - self.base_image_seq_len
        )
        return image_seq_len * slope + (self.base_shift - slope * self.base_image_seq_len)


class FlowMatchEulerDiscreteScheduler(NoiseLevelScheduler[FlowMatchEulerDiscreteOptions]):
    """Follow the predicted velocity from noise (sigma 1) to the sample (sigma 0)."""

    options_class = FlowMatchEulerDiscreteOptions
    init_noise_sigma = 1.0

    def __init__(self, options: FlowMatchEulerDiscreteOptions) -> None:
        super().__init__(options)
        total = options.num_train_timesteps
        ends: Any = np.array([total, 1], dtype=np.float32) / total
        if not options.use_dynamic_shifting:
            ends = static_shift(ends, options.shift)
        self._ends = float(ends[0]) * total, float(ends[1]) * total

    def set_timesteps(
        self,
        num_inference_steps: int,
        *,
        mu: Optional[float] = None,
        sigmas: Optional[Sequence[float]] = None,
    ) -> None:
        """Plan a trajectory; see `Scheduler.set_timesteps`.

        Raises:
            ValueError: ``mu`` is missing with ``use_dynamic_shifting``, or there are not as many
                sigmas as steps.
        """
        options, total = self.options, self.options.num_train_timesteps
        check_request(self.name, num_inference_steps)
        if options.use_dynamic_shifting and mu is None:
            raise ValueError(f"{self.name} needs mu where use_dynamic_shifting is set.")
        if sigmas is not None and len(sigmas) != num_inference_steps:
            raise ValueError(f"{len(sigmas)} sigmas do not make {num_inference_steps} steps.")

        levels: Any
        if sigmas is None:
            levels = np.linspace(*self._ends, num_inference_steps) / total
        else:
            levels = np.asarray(sigmas, dtype=np.float32)
        if options.use_dynamic_shifting and mu is not None:
            levels = time_shift(levels, mu, options.time_shift_type)
        else:
            levels = static_shift(levels, options.shift)
        if options.shift_terminal:
            levels = stretch_to_terminal(levels, options.shift_terminal)
        placed = ruled(options, levels, num_inference_steps)
        levels = levels if placed is None else placed

        levels = levels.astype(np.float32)
        if options.invert_sigmas:
            levels = 1 - levels
        last = 1.0 if options.invert_sigmas else 0.0
        self._start(with_last(levels, last), levels * np.float32(total))

    def step(self, model_output: Array, timestep: Timestep, sample: Array, noise: Noise) -> Array:
        """Return the sample of the next timestep; see `Scheduler.step`.

        Draws noise every time with ``stochastic_sampling``, and never without.
        """
        index = self._cursor.at(timestep)
        sigma, sigma_next = self.sigmas[index], self.sigmas[index + 1]
        self._cursor.advance()
        if not self.options.stochastic_sampling:
            return f32.weighted_sum((sigma_next - sigma, model_output), (f32.ONE, sample))
        original = sample - sigma * model_output
        return _mixed(sigma_next, original, noise(sample.shape))

    def add_noise(self, original: Array, noise: Array, timestep: Timestep) -> Array:
        """Return ``(1 - sigma) * original + sigma * noise`` at this timestep."""
        return _mixed(self.sigmas[self._cursor.noise_index(timestep)], original, noise)


def _mixed(sigma: np.float32, original: Array, noise: Array) -> Array:
    return f32.weighted_sum((f32.ONE - sigma, original), (sigma, noise))
