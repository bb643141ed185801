"""Noise levels, their middles and timesteps, as both of diffusers' KDPM2 classes place them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Optional

import numpy as np
import numpy.typing as npt

from . import float32 as f32
from .base import Array
from .options import (
    COMMON_BETA_SCHEDULES,
    TIMESTEP_SPACINGS,
    NoiseOptions,
    SigmaOptions,
    check_one_sigma_rule,
)
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
