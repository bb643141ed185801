"""Pseudo numerical methods for diffusion models (arXiv 2202.09778)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Optional

import numpy as np

from . import float32 as f32
from .base import Array, Noise, Timestep
from .multistep import MOST, adams_bashforth
from .options import COMMON_BETA_SCHEDULES, TIMESTEP_SPACINGS, NoiseOptions
from .prediction import noise_from
from .timesteps import Integers, check_request, whole_timesteps
from .training_timesteps import TrainingTimestepScheduler

_RUNGE_KUTTA_STEPS = 3
_RUNGE_KUTTA_WEIGHTS = (np.float32(1 / 6), np.float32(1 / 3), np.float32(1 / 3), np.float32(1 / 6))


@dataclass(frozen=True)
class PNDMOptions(NoiseOptions):
    """Options of diffusers' ``PNDMScheduler``."""

    timestep_spacing: str = "leading"
    skip_prk_steps: bool = False
    set_alpha_to_one: bool = False

    scheduler: ClassVar[str] = "PNDMScheduler"
    choices: ClassVar[Mapping[str, Sequence[object]]] = {
        "beta_schedule": COMMON_BETA_SCHEDULES,
        "prediction_type": ("epsilon", "v_prediction"),
        "timestep_spacing": TIMESTEP_SPACINGS,
    }


class PNDMScheduler(TrainingTimestepScheduler[PNDMOptions]):
    """Step by a linear multistep method, after some Runge-Kutta steps or a repeated second one.

    It makes more calls than steps: one more with ``skip_prk_steps``, nine more without.
    """

    options_class = PNDMOptions

    def __init__(self, options: PNDMOptions) -> None:
        super().__init__(options)
        self._final_product = f32.ONE if options.set_alpha_to_one else self._products[0]
        self._stride = 0
        self._runge_kutta: Integers = self.timesteps
        self._start_over()

    def set_timesteps(
        self,
        num_inference_steps: int,
        *,
        mu: Optional[float] = None,
        sigmas: Optional[Sequence[float]] = None,
    ) -> None:
        """Plan a trajectory; see `Scheduler.set_timesteps`.

        Raises:
            ValueError: Runge-Kutta steps are not skipped, and there are fewer than 4 steps.
        """
        total = self.options.num_train_timesteps
        check_request(self.name, num_inference_steps, mu, sigmas, at_most=total)
        spaced = whole_timesteps(self.options, num_inference_steps)
        self._stride = total // num_inference_steps
        if self.options.skip_prk_steps:
            self._runge_kutta = spaced[:0]
            self.timesteps = np.concatenate([spaced[:1], spaced[1:2], spaced[1:]])
        else:
            if len(spaced) < _RUNGE_KUTTA_STEPS + 1:
                raise ValueError(
                    f"{self.name} takes at least {_RUNGE_KUTTA_STEPS + 1} steps, "
                    f"not {num_inference_steps}, where skip_prk_steps is not set."
                )
            self._runge_kutta = _runge_kutta_timesteps(spaced, self._stride // 2)
            self.timesteps = np.concatenate([self._runge_kutta, spaced[_RUNGE_KUTTA_STEPS:]])
        self._start_over()

    def step(self, model_output: Array, timestep: Timestep, sample: Array, noise: Noise) -> Array:
        """Return the sample of the next timestep; see `Scheduler.step`. Draws no noise."""
        if self._counter < len(self._runge_kutta):
            previous = self._runge_kutta_step(model_output, int(timestep), sample)
        else:
            previous = self._multistep(model_output, int(timestep), sample)
        self._counter += 1
        return previous

    def _start_over(self) -> None:
        self._counter = 0
        self._outputs: list[Array] = []
        self._sum: Optional[Array] = None
        self._held_sample: Optional[Array] = None

    def _runge_kutta_step(self, model_output: Array, timestep: int, sample: Array) -> Array:
        stage = self._counter % 4
        before = timestep - (0 if stage % 2 else self._stride // 2)
        start = int(self._runge_kutta[self._counter // 4 * 4])
        weighted = _RUNGE_KUTTA_WEIGHTS[stage] * model_output
        if stage == 0:
            self._outputs.append(model_output)
            self._held_sample = sample
            self._sum = weighted
        elif self._sum is not None:
            self._sum += weighted
        assert self._sum is not None
        assert self._held_sample is not None
        estimate = self._sum if stage == 3 else model_output
        return self._transfer(self._held_sample, start, before, estimate)

    def _multistep(self, model_output: Array, timestep: int, sample: Array) -> Array:
        before = timestep - self._stride
        if self._counter == 1:  # the second call repeats the first step, now by its midpoint
            before, timestep = timestep, timestep + self._stride
            assert self._held_sample is not None
            sample, self._held_sample = self._held_sample, None
            estimate = model_output + self._outputs[-1]
            estimate /= f32.TWO
            return self._transfer(sample, timestep, before, estimate)
        self._outputs = [*self._outputs[1 - MOST :], model_output]
        if self._counter == 0:
            self._held_sample = sample
        return self._transfer(sample, timestep, before, adams_bashforth(self._outputs))

    def _transfer(self, sample: Array, start: int, end: int, model_output: Array) -> Array:
        """Return the sample at timestep ``end`` from that at ``start`` (equation 9)."""
        product = self._products[start]
        product_end = self._products[end] if end >= 0 else self._final_product
        beta, beta_end = f32.ONE - product, f32.ONE - product_end
        estimate = noise_from(
            self.options.prediction_type, model_output, sample, f32.sqrt(product), f32.sqrt(beta)
        )
        divisor = product * f32.sqrt(beta_end) + f32.sqrt(product * beta * product_end)
        return f32.weighted_sum(
            (f32.sqrt(product_end / product), sample),
            ((product - product_end) / divisor, estimate),
        )


def _runge_kutta_timesteps(spaced: Integers, half_stride: int) -> Integers:
    """Return the timesteps of three Runge-Kutta steps of four stages each: (12,)."""
    calls = []
    for step in range(_RUNGE_KUTTA_STEPS):
        middle = spaced[step + 1] + half_stride
        calls += [spaced[step], middle, middle, spaced[step + 1]]
    return np.array(calls, dtype=np.int64)
