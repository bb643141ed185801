"""SA-Solver, a stochastic Adams predictor and corrector (arXiv 2309.05019)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Optional

from . import float32 as f32
from .base import Array, Noise, Timestep
from .betas import noised
from .options import (
    COMMON_BETA_SCHEDULES,
    TIMESTEP_SPACINGS,
    NoiseOptions,
    check_flow_sigmas,
    check_one_sigma_rule,
)
from .prediction import noise_from
from .sasolver_update import Span, gradient_weights
from .sigmas import solver_levels
from .solver import FlowSolverOptions, SolverScheduler
from .timesteps import check_request, solver_timesteps

_STOCHASTIC = (200, 800)
"""The training timesteps between which tau is 1; it is 0 at the others."""


@dataclass(frozen=True)
class SASolverOptions(FlowSolverOptions, NoiseOptions):
    """Options of diffusers' ``SASolverScheduler``."""

    predictor_order: int = 2
    corrector_order: int = 2
    tau_func: Optional[object] = None
    algorithm_type: str = "data_prediction"
    lower_order_final: bool = True
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


class SASolverScheduler(SolverScheduler[SASolverOptions]):
    """Correct each sample with the model output made from it, then predict the next."""

    options_class = SASolverOptions
    _last: Optional[tuple[Array, Array, int]]
    """The last step's sample, its noise, and its timestep."""
    _corrector_order: int

    def __init__(self, options: SASolverOptions) -> None:
        super().__init__(options)
        self._end = self._end_at(options.lambda_min_clipped)
        self._kept = max(options.predictor_order, options.corrector_order - 1)

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
        super()._start_over()
        self._last = None
        self._corrector_order = 0

    def _converted(self, model_output: Array, sample: Array, index: int) -> Array:
        """Return what the solver works on: the original sample, or the noise."""
        options, kind = self.options, self.options.prediction_type
        if kind == "epsilon" and options.variance_type in ("learned", "learned_range"):
            model_output = model_output[:, :3]
        if not options.predicts_original:
            return noise_from(kind, model_output, sample, self._alphas[index], self._parts[index])
        return self._original(model_output, sample, index)

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
