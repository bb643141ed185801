"""Linear multistep method over the noise levels of k-diffusion (arXiv 2206.00364)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Optional

import numpy as np
import numpy.typing as npt
from numpy.polynomial import polynomial

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
from .sigmas import (
    Doubles,
    karras,
    ruled,
    timesteps_of,
    with_last,
)
from .timesteps import check_request, fractional_timesteps

_ORDER = 4


@dataclass(frozen=True)
class LMSDiscreteOptions(SigmaOptions, NoiseOptions):
    """Options of diffusers' ``LMSDiscreteScheduler``."""

    scheduler: ClassVar[str] = "LMSDiscreteScheduler"
    choices: ClassVar[Mapping[str, Sequence[object]]] = {
        "beta_schedule": COMMON_BETA_SCHEDULES,
        "prediction_type": ("epsilon", "sample", "v_prediction"),
        "timestep_spacing": TIMESTEP_SPACINGS,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_sigma_rule(self)


class LMSDiscreteScheduler(KDiffusionScheduler[LMSDiscreteOptions]):
    """Step by a polynomial through the last four derivatives, integrated exactly."""

    options_class = LMSDiscreteOptions
    _derivatives: list[Array]
    """The newest first."""

    def set_timesteps(
        self,
        num_inference_steps: int,
        *,
        mu: Optional[float] = None,
        sigmas: Optional[Sequence[float]] = None,
    ) -> None:
        """Plan a trajectory; see `Scheduler.set_timesteps`."""
        check_request(self.name, num_inference_steps, mu, sigmas)
        options, training = self.options, self._training_sigmas
        timesteps: Any = fractional_timesteps(options, num_inference_steps)
        levels: Any = np.interp(timesteps, np.arange(len(training)), training)
        placed: Optional[Doubles]
        if options.use_karras_sigmas:  # alone among its kind, LMS takes no sigma_min or sigma_max
            placed = karras(float(levels[0]), float(levels[-1]), num_inference_steps)
        else:
            placed = ruled(options, levels, num_inference_steps)
        if placed is not None:
            levels, timesteps = placed, timesteps_of(placed, np.log(training))
        self._start(with_last(levels, 0.0), timesteps.astype(np.float32))

    def step(self, model_output: Array, timestep: Timestep, sample: Array, noise: Noise) -> Array:
        """Return the sample of the next timestep; see `Scheduler.step`. Draws no noise."""
        index = self._cursor.at(timestep)
        sigma = self.sigmas[index]
        original = original_at_sigma(self.options.prediction_type, model_output, sample, sigma)
        self._derivatives = [(sample - original) / sigma, *self._derivatives[: _ORDER - 1]]
        weights = _weights(self.sigmas, index, min(index + 1, _ORDER))
        previous = sample.copy()
        for weight, derivative in zip(weights, self._derivatives):
            previous += weight * derivative
        self._cursor.advance()
        return previous

    def _start(self, sigmas: Array, timesteps: npt.NDArray[Any]) -> None:
        super()._start(sigmas, timesteps)
        self._derivatives = []


def _weights(sigmas: Array, index: int, order: int) -> list[np.float32]:
    """Return the integral from one noise level to the next of each Lagrange polynomial."""
    nodes = [float(sigmas[index - back]) for back in range(order)]
    start, end = float(sigmas[index]), float(sigmas[index + 1])
    weights = []
    for own in nodes:
        others = [node - start for node in nodes if node != own]
        basis = np.array([1.0]) if not others else polynomial.polyfromroots(others)
        scale = float(np.prod([own - start - other for other in others]))
        weights.append(
            np.float32(polynomial.polyval(end - start, polynomial.polyint(basis)) / scale)
        )
    return weights
