"""DPM-Solver++ for EDM models (arXiv 2211.01095, 2206.00364), multistep, deterministic or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Optional

import numpy as np
import numpy.typing as npt

from . import float32 as f32
from .base import Array, Noise, Timestep
from .dpmsolver_options import MultistepOptions, order_at, read_solver_options
from .dpmsolver_update import Interval, update_weights
from .edm import (
    EDMOptions,
    denoised,
    first_deviation,
    float32_levels_of,
    scaled_to_unit_deviation,
    timesteps_of_levels,
)
from .noise_levels import NoiseLevelScheduler
from .options import ThresholdOptions
from .prediction import thresholded
from .sigmas import with_last
from .timesteps import check_request


@dataclass(frozen=True)
class EDMDPMSolverMultistepOptions(MultistepOptions, ThresholdOptions, EDMOptions):
    """Options of diffusers' ``EDMDPMSolverMultistepScheduler``."""

    scheduler: ClassVar[str] = "EDMDPMSolverMultistepScheduler"
    choices: ClassVar[Mapping[str, Sequence[object]]] = {
        **EDMOptions.choices,
        "solver_order": (1, 2, 3),
        "algorithm_type": ("dpmsolver++", "sde-dpmsolver++"),
        "solver_type": ("midpoint", "heun"),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.algorithm_type == "sde-dpmsolver++" and self.solver_order == 3:
            raise self.refuse("solver_order", "sde-dpmsolver++ has no third order here.")


class EDMDPMSolverMultistepScheduler(NoiseLevelScheduler[EDMDPMSolverMultistepOptions]):
    """Solve the probability flow by a polynomial in log sigma through the last predictions."""

    options_class = EDMDPMSolverMultistepOptions
    _predictions: list[Array]
    _warm_up: int

    def __init__(self, options: EDMDPMSolverMultistepOptions) -> None:
        super().__init__(options)
        self.init_noise_sigma = first_deviation(options)

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> EDMDPMSolverMultistepOptions:
        """Return the options of a ``scheduler_config.json``, of another solver too."""
        return read_solver_options(EDMDPMSolverMultistepOptions, config)

    def set_timesteps(
        self,
        num_inference_steps: int,
        *,
        mu: Optional[float] = None,
        sigmas: Optional[Sequence[float]] = None,
    ) -> None:
        """Plan a trajectory; see `Scheduler.set_timesteps`."""
        check_request(self.name, num_inference_steps, mu, sigmas)
        options = self.options
        levels = float32_levels_of(options, num_inference_steps)
        ends_clean = options.final_sigmas_type == "zero"
        last = 0.0 if ends_clean else options.sigma_min
        self._start(with_last(levels, last), timesteps_of_levels(levels))

    def scale_model_input(self, sample: Array, timestep: Timestep) -> Array:
        """Return the sample scaled to the deviation that the model was trained with."""
        sigma = self.sigmas[self._cursor.at(timestep)]
        return scaled_to_unit_deviation(self.options, sample, sigma)

    def step(self, model_output: Array, timestep: Timestep, sample: Array, noise: Noise) -> Array:
        """Return the sample of the next timestep; see `Scheduler.step`.

        Draws noise every time with ``sde-dpmsolver++``, and never without.
        """
        options, index = self.options, self._cursor.at(timestep)
        prediction = denoised(options, model_output, sample, self.sigmas[index])
        if options.thresholding:
            prediction = thresholded(prediction, options)
        self._predictions = [prediction, *self._predictions[: options.solver_order - 1]]
        left = len(self.timesteps) - index
        order = order_at(options, len(self.timesteps), left, self._warm_up)
        interval = Interval.of(np.ones_like(self.sigmas), self.sigmas, self._lambdas, index)
        weights = update_weights(options.algorithm_type, options.solver_type, interval, order)
        terms = [(weights.sample, sample), *zip(weights.predictions, self._predictions)]
        if options.algorithm_type == "sde-dpmsolver++":
            terms.append((weights.noise, noise(prediction.shape)))
        self._warm_up = min(self._warm_up + 1, options.solver_order)
        self._cursor.advance()
        return f32.weighted_sum(*terms)

    def _start(self, sigmas: Array, timesteps: npt.NDArray[Any]) -> None:
        super()._start(sigmas, timesteps)
        self._lambdas = -f32.log(sigmas)
        self._predictions = []
        self._warm_up = 0
