"""DPM-Solver++ of a stochastic equation (k-diffusion's ``sample_dpmpp_sde``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Optional

import numpy as np
import numpy.typing as npt

from . import float32 as f32
from .base import Array, Noise, Timestep
from .brownian import BrownianPath
from .noise_levels import KDiffusionScheduler
from .options import (
    COMMON_BETA_SCHEDULES,
    TIMESTEP_SPACINGS,
    NoiseOptions,
    SigmaOptions,
    check_one_sigma_rule,
)
from .prediction import original_at_sigma
from .sigmas import Doubles, karras, ruled, timesteps_of, with_last
from .timesteps import check_request, fractional_timesteps


@dataclass(frozen=True)
class DPMSolverSDEOptions(SigmaOptions, NoiseOptions):
    """Options of diffusers' ``DPMSolverSDEScheduler``."""

    beta_start: float = 0.00085
    beta_end: float = 0.012
    noise_sampler_seed: Optional[int] = None

    scheduler: ClassVar[str] = "DPMSolverSDEScheduler"
    choices: ClassVar[Mapping[str, Sequence[object]]] = {
        "beta_schedule": COMMON_BETA_SCHEDULES,
        "prediction_type": ("epsilon", "v_prediction"),
        "timestep_spacing": TIMESTEP_SPACINGS,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_sigma_rule(self)
        if self.noise_sampler_seed is not None and self.noise_sampler_seed < 0:
            raise self.refuse("noise_sampler_seed", "it must not be negative.")


class DPMSolverSDEScheduler(KDiffusionScheduler[DPMSolverSDEOptions]):
    """Go to the middle of a step, and through it with what is predicted there, each with noise.

    The noise is a path of Brownian motion over the noise levels, so that it doesn't depend on the
    steps. The options' ``noise_sampler_seed`` says it, else the image's seed; in diffusers the
    latter is torch's global generator. Every step but the last, which ends without noise, takes two
    calls of the model.
    """

    options_class = DPMSolverSDEOptions
    order = 2
    _seed = 0
    _path: Optional[BrownianPath]
    _began: Optional[Array]
    """Between the calls of a step: the sample that it began with."""

    def seed_noise(self, seed: int) -> None:
        """Draw the noise of the image of this seed; see `Scheduler.seed_noise`."""
        self._seed = seed
        self._path = None

    def set_timesteps(
        self,
        num_inference_steps: int,
        *,
        mu: Optional[float] = None,
        sigmas: Optional[Sequence[float]] = None,
    ) -> None:
        """Plan a trajectory; see `Scheduler.set_timesteps`."""
        check_request(self.name, num_inference_steps, mu, sigmas)
        options, training, steps = self.options, self._training_sigmas, num_inference_steps
        timesteps: Any = fractional_timesteps(options, steps).astype(np.float64)
        if options.timestep_spacing == "linspace":
            timesteps = np.linspace(0, options.num_train_timesteps - 1, steps)[::-1].copy()
        levels: Any = np.interp(timesteps, np.arange(len(training)), training)
        placed: Optional[Doubles]
        if options.use_karras_sigmas:  # it takes no sigma_min or sigma_max
            placed = karras(float(levels[0]), float(levels[-1]), steps)
        else:
            placed = ruled(options, levels, steps)
        if placed is not None:
            levels, timesteps = placed, timesteps_of(placed, np.log(training))
        logs = np.log(levels)
        middles = np.exp(logs[:-1] + 0.5 * np.diff(logs))
        twice = np.repeat(np.arange(len(levels)), 2)[1:]
        calls = timesteps[twice]
        calls[1::2] = timesteps_of(middles, np.log(training))
        self._start(with_last(levels[twice], 0.0), calls)

    def step(self, model_output: Array, timestep: Timestep, sample: Array, noise: Noise) -> Array:
        """Return the sample of the next timestep; see `Scheduler.step`.

        The noise is the path's: ``noise`` isn't called.
        """
        index = self._cursor.at(timestep)
        here = self._level(index)
        original = original_at_sigma(self.options.prediction_type, model_output, sample, here)
        begins = self._began is None
        start, end = self._ends(index)
        self._cursor.advance()
        if end == f32.ZERO:
            derivative: Array = (sample - original) / start
            derivative *= end - start
            derivative += sample
            return derivative
        before = _time(start)
        after = self._middle(index) if begins else _time(end)
        if self._began is None:
            self._began = sample
        else:
            sample, self._began = self._began, None
        return self._moved(sample, original, before, after)

    def _moved(
        self, sample: Array, original: Array, before: np.float32, after: np.float32
    ) -> Array:
        """Return a sample moved towards the original, and noised, from one time to another."""
        start, end = f32.exp(-before), f32.exp(-after)
        fresh = f32.sqrt(end * end * (start * start - end * end) / (start * start))
        fresh = min(end, fresh)
        kept = f32.sqrt(end * end - fresh * fresh)
        to = _time(kept)
        drawn = self._increment(sample.shape, start, end) / f32.sqrt(abs(end - start))
        return f32.weighted_sum(
            (f32.exp(-to) / start, sample), (-f32.expm1(before - to), original), (fresh, drawn)
        )

    def _increment(self, shape: tuple[int, ...], start: np.float32, end: np.float32) -> Array:
        """Return by how much the path moves from a noise level down to another."""
        if self._path is None:
            own = self.options.noise_sampler_seed
            levels = self.sigmas[self.sigmas > 0]
            self._path = BrownianPath(
                float(levels.min()), float(levels.max()), shape, self._seed if own is None else own
            )
        return -self._path.increment(float(end), float(start))

    def _ends(self, index: int) -> tuple[np.float32, np.float32]:
        """Return the noise levels where the step of a call begins and ends."""
        first = index if self._began is None else index - 1
        return self.sigmas[first], self.sigmas[first + 1]

    def _middle(self, index: int) -> np.float32:
        """Return the time in the middle of the step of a call."""
        before, after = map(_time, self._ends(index))
        return before + (after - before) * f32.HALF

    def _level(self, index: int) -> np.float32:
        level: np.float32 = self.sigmas[index]
        return level if self._began is None else f32.exp(-self._middle(index))

    def _start(self, sigmas: Array, timesteps: npt.NDArray[Any]) -> None:
        super()._start(sigmas, timesteps)
        self._began = None
        self._path = None


def _time(level: np.float32) -> np.float32:
    """Return the time of a noise level, the solver's variable; infinite without noise."""
    return np.float32(-f32.log(np.asarray(level)))
