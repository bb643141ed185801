"""SA-Solver, a stochastic Adams predictor and corrector (arXiv 2309.05019)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Optional

import numpy as np

from . import float32 as f32
from .base import Array, Noise, Timestep
from .betas import alphas_cumprod, noised, training_sigmas
from .cursor import StepCursor
from .options import (
    COMMON_BETA_SCHEDULES,
    TIMESTEP_SPACINGS,
    NoiseOptions,
    SigmaOptions,
    ThresholdOptions,
    check_flow_sigmas,
    check_one_sigma_rule,
    read_options,
)
from .prediction import noise_from, original_of_flow_or_from, thresholded
from .sasolver_update import Span, gradient_weights
from .sigmas import signal_and_noise, solver_levels
from .timesteps import Integers, check_request, solver_timesteps

_STOCHASTIC = (200, 800)
"""The training timesteps between which tau is 1; it is 0 at the others."""


@dataclass(frozen=True)
class SASolverOptions(SigmaOptions, ThresholdOptions, NoiseOptions):
    """Options of diffusers' ``SASolverScheduler``."""

    predictor_order: int = 2
    corrector_order: int = 2
    tau_func: Optional[object] = None
    algorithm_type: str = "data_prediction"
    lower_order_final: bool = True
    use_flow_sigmas: bool = False
    flow_shift: float = 1.0
    lambda_min_clipped: float = -math.inf
    variance_type: Optional[str] = None

    scheduler: ClassVar[str] = "SASolverScheduler"
    choices: ClassVar[Mapping[str, Sequence[object]]] = {
        "beta_schedule": COMMON_BETA_SCHEDULES,
        "prediction_type": ("epsilon", "sample", "v_prediction", "flow_prediction"),
        "timestep_spacing": TIMESTEP_SPACINGS,
        "predictor_order": (1, 2, 3, 4),
        "corrector_order": (1, 2, 3, 4),
        "tau_func": (None,),  # a function in Python
        "algorithm_type": ("data_prediction", "noise_prediction"),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_sigma_rule(self)
        check_flow_sigmas(self, self.use_flow_sigmas)
        if self.predicts_original:
            return
        if self.prediction_type == "flow_prediction":
            raise self.refuse("prediction_type", "not with algorithm_type 'noise_prediction'.")
        if self.thresholding:  # diffusers raises an error in the first step
            raise self.refuse("thresholding", "not with algorithm_type 'noise_prediction'.")

    @property
    def predicts_original(self) -> bool:
        """Whether the solver works on the original sample rather than on the noise."""
        return self.algorithm_type == "data_prediction"


class SASolverScheduler:
    """Correct each sample with the model output made from it, then predict the next."""

    name = "SASolverScheduler"
    order = 1
    init_noise_sigma = 1.0
    _predictions: list[Array]
    _last: Optional[tuple[Array, Array, int]]
    """The last step's sample, its noise, and its timestep."""
    _corrector_order: int
    _warm_up: int

    def __init__(self, options: SASolverOptions) -> None:
        self.options = options
        self.timesteps: Integers = np.zeros(0, dtype=np.int64)
        self.sigmas: Array = np.zeros(1, dtype=np.float32)
        self._products = alphas_cumprod(options)
        self._training_sigmas = training_sigmas(self._products)
        rising = f32.log(np.sqrt(self._products)) - f32.log(np.sqrt(1 - self._products))
        clipped = np.searchsorted(rising[::-1], np.float32(options.lambda_min_clipped))
        self._end = options.num_train_timesteps - int(clipped)
        self._kept = max(options.predictor_order, options.corrector_order - 1)
        self._start_over()

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> SASolverScheduler:
        """Make the scheduler of a ``scheduler_config.json``.

        Raises:
            UnsupportedScheduler: An option has a value that the runner does not support.
        """
        return cls(read_options(SASolverOptions, config))

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
        timesteps = solver_timesteps(options, num_inference_steps, self._end)
        flow_shift = options.flow_shift if options.use_flow_sigmas else None
        self.sigmas, self.timesteps = solver_levels(
            options, self._training_sigmas, timesteps, num_inference_steps, flow_shift
        )
        self._start_over()

    def set_begin_index(self, begin_index: int) -> None:
        """Start at this call instead of the first; after `set_timesteps`."""
        self._cursor.begin = begin_index

    def scale_model_input(self, sample: Array, timestep: Timestep) -> Array:
        """Return the sample itself."""
        return sample

    def step(self, model_output: Array, timestep: Timestep, sample: Array, noise: Noise) -> Array:
        """Return the sample of the next timestep; see `Scheduler.step`. Draws noise every time."""
        options, index = self.options, self._cursor.at(timestep)
        prediction = self._converted(model_output, sample, index)
        both = [prediction, *self._predictions]
        if index > 0 and self._last is not None:
            last, drawn, when = self._last
            sample = self._moved(last, drawn, when, index, both, self._corrector_order, 0)
        self._predictions = both[: self._kept]
        drawn = noise(model_output.shape)
        left = len(self.timesteps) - index if options.lower_order_final else self._kept + 1
        order = min(options.predictor_order, left, self._warm_up + 1)
        self._corrector_order = min(options.corrector_order, left + 1, self._warm_up + 2)
        self._last = sample, drawn, int(timestep)
        self._warm_up = min(self._warm_up + 1, self._kept)
        self._cursor.advance()
        return self._moved(sample, drawn, int(timestep), index + 1, self._predictions, order, 1)

    def add_noise(self, original: Array, noise: Array, timestep: Timestep) -> Array:
        """Return the original as it looks at this training timestep."""
        return noised(self._products[int(timestep)], original, noise)

    def _start_over(self) -> None:
        self._alphas, self._parts, self._lambdas = signal_and_noise(
            self.sigmas, flow=self.options.use_flow_sigmas
        )
        self._cursor = StepCursor(self.timesteps)
        self._predictions = []
        self._last = None
        self._corrector_order = 0
        self._warm_up = 0

    def _converted(self, model_output: Array, sample: Array, index: int) -> Array:
        """Return what the solver works on: the original sample, or the noise."""
        options, kind = self.options, self.options.prediction_type
        alpha, sigma = self._alphas[index], self._parts[index]
        if kind == "epsilon" and options.variance_type in ("learned", "learned_range"):
            model_output = model_output[:, :3]
        if not options.predicts_original:
            return noise_from(kind, model_output, sample, alpha, sigma)
        original = original_of_flow_or_from(
            kind, model_output, sample, alpha, sigma, self.sigmas[index]
        )
        return thresholded(original, options) if options.thresholding else original

    def _moved(
        self,
        sample: Array,
        noise: Array,
        when: int,
        end: int,
        predictions: list[Array],
        order: int,
        ahead: int,
    ) -> Array:
        """Return a sample one noise level further.

        Args:
            sample: The sample at the noise level before ``end``.
            noise: What is drawn for this step.
            when: The timestep that the step begins at, which sets tau.
            end: Index of the noise level to go to.
            predictions: The newest first.
            order: How many of them to use.
            ahead: How far the newest lies before ``end``: 1 to predict, 0 to correct.
        """
        original, lambdas = self.options.predicts_original, self._lambdas
        tau = f32.ONE if _STOCHASTIC[0] <= when <= _STOCHASTIC[1] else f32.ZERO
        square = tau * tau
        nodes = [lambdas[end - ahead - back] for back in range(order)]
        span = Span(lambdas[end - 1], lambdas[end])
        alpha, sigma = self._alphas[end], self._parts[end]
        weights = gradient_weights(nodes, span, square, original=original, predicts=ahead == 1)
        doubled = f32.TWO * span.length
        if original:
            factor = (f32.ONE + square) * sigma * f32.exp(-square * lambdas[end])
            kept = f32.exp(-square * span.length) * (sigma / self._parts[end - 1])
            drawn = sigma * f32.sqrt(f32.ONE - f32.exp(-square * doubled))
        else:
            factor = -(f32.ONE + square) * alpha
            kept = alpha / self._alphas[end - 1]
            drawn = tau * sigma * f32.sqrt(f32.exp(doubled) - f32.ONE)
        gradient = f32.weighted_sum(*zip([factor * weight for weight in weights], predictions))
        moved: Array = kept * sample
        moved += gradient
        moved += drawn * noise
        return moved
