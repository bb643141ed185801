"""What both KDPM2 classes of diffusers share: noise levels, their middles, both calls of a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Optional, TypeVar

import numpy as np
import numpy.typing as npt

from . import float32 as f32
from .base import Array, Noise, Timestep
from .noise_levels import KDiffusionScheduler
from .options import (
    COMMON_BETA_SCHEDULES,
    TIMESTEP_SPACINGS,
    NoiseOptions,
    SigmaOptions,
    check_one_sigma_rule,
)
from .prediction import original_at_sigma
from .sigmas import ruled, timesteps_of, with_last
from .timesteps import check_request, fractional_timesteps


@dataclass(frozen=True)
class KDPM2Options(SigmaOptions, NoiseOptions):
    """Options of diffusers' KDPM2 classes."""

    beta_start: float = 0.00085
    beta_end: float = 0.012

    choices: ClassVar[Mapping[str, Sequence[object]]] = {
        "beta_schedule": COMMON_BETA_SCHEDULES,
        "prediction_type": ("epsilon", "v_prediction"),
        "timestep_spacing": TIMESTEP_SPACINGS,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_sigma_rule(self)


K = TypeVar("K", bound=KDPM2Options)


@dataclass(frozen=True)
class Plan:
    """The noise levels that steps go through, (steps + 1,), and the timesteps of all but the last.

    ``training_sigmas`` are the noise levels of training, rising.
    """

    levels: Array
    whole: npt.NDArray[Any]
    training_sigmas: Array

    @property
    def sigmas(self) -> Array:
        """Return the noise level before each call, as diffusers lists them: (2 * steps + 2,)."""
        return np.concatenate([self.levels[:1], np.repeat(self.levels[1:], 2), self.levels[-1:]])

    def middles(self, ends: Array) -> Array:
        """Return the geometric mean of where each step begins and ends: (steps,)."""
        logs = (f32.log(ends) + f32.log(self.levels[:-1])) * f32.HALF
        middles: Array = np.exp(logs.astype(np.float64)).astype(np.float32)
        return middles

    def timesteps(self, middles: Array) -> npt.NDArray[Any]:
        """Return the timesteps of all calls, a step's own before its middle's: (calls,)."""
        found = timesteps_of(middles[:-1].astype(np.float64), np.log(self.training_sigmas))
        timesteps = np.empty(2 * len(self.whole) - 1, dtype=self.whole.dtype)
        timesteps[0::2], timesteps[1::2] = self.whole, found
        return timesteps


def plan_of(
    options: KDPM2Options,
    training: Array,
    steps: int,
    mu: Optional[float],
    sigmas: Optional[Sequence[float]],
) -> Plan:
    """Place the noise levels of a trajectory; the arguments are those of `set_timesteps`.

    Raises:
        ValueError: The number of steps is out of range, or mu or sigmas are given.
    """
    check_request(options.scheduler, steps, mu, sigmas)
    timesteps: Any = fractional_timesteps(options, steps)
    levels: Any = np.interp(timesteps, np.arange(len(training)), training)
    placed = ruled(options, levels, steps)
    if placed is not None:
        levels, timesteps = placed, timesteps_of(placed, np.log(training))
        timesteps = timesteps.round() if options.use_karras_sigmas else timesteps
    return Plan(with_last(levels, 0.0), timesteps, training)


class KDPM2Scheduler(KDiffusionScheduler[K]):
    """Go to the middle of a step, and through the step with the derivative there.

    Every step but the last, which ends without noise, takes two calls of the model. A class of it
    says where steps end.
    """

    order = 2
    _ends: Array
    """The noise level that each step goes down to: (steps,)."""
    _middles: Array
    """The noise level in the middle of each step: (steps,)."""
    _began: Optional[Array]
    """Between the calls of a step: the sample that it began with."""

    def set_timesteps(
        self,
        num_inference_steps: int,
        *,
        mu: Optional[float] = None,
        sigmas: Optional[Sequence[float]] = None,
    ) -> None:
        """Plan a trajectory; see `Scheduler.set_timesteps`.

        Raises:
            ValueError: A step is so long that rounding leaves no noise level to step down to.
        """
        plan = plan_of(self.options, self._training_sigmas, num_inference_steps, mu, sigmas)
        ends = self._ends_of(plan.levels)
        middles = plan.middles(ends)
        self._start(plan.sigmas, plan.timesteps(middles))
        self._ends, self._middles = ends, middles

    def step(self, model_output: Array, timestep: Timestep, sample: Array, noise: Noise) -> Array:
        """Return the sample of the next timestep; see `Scheduler.step`."""
        index = self._cursor.at(timestep)
        here = self._level(index)
        original = original_at_sigma(self.options.prediction_type, model_output, sample, here)
        moved: Array = (sample - original) / here
        self._cursor.advance()
        if self._began is None:
            self._began = sample
            moved *= self._middles[index // 2] - here
            moved += sample
            return moved
        sample, self._began = self._began, None
        moved *= self._ends[index // 2] - self.sigmas[index - 1]
        moved += sample
        return self._ended(moved, index // 2, noise)

    def _start(self, sigmas: Array, timesteps: npt.NDArray[Any]) -> None:
        super()._start(sigmas, timesteps)
        self._began = None

    def _level(self, index: int) -> np.float32:
        level: np.float32 = self.sigmas[index] if self._began is None else self._middles[index // 2]
        return level

    def _ends_of(self, levels: Array) -> Array:
        """Return the noise level that each step goes down to."""
        return levels[1:]

    def _ended(self, sample: Array, step: int, noise: Noise) -> Array:
        """Return the sample at the end of a step."""
        return sample
