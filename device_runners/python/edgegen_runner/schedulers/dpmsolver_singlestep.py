"""DPM-Solver and DPM-Solver++, singlestep (arXiv 2206.00927, 2211.01095), deterministic or not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Optional

import numpy as np

from . import float32 as f32
from .base import Array, Noise, Timestep
from .dpmsolver_options import SolverOptions, read_solver_options
from .dpmsolver_update import Interval, Terms, terms_of
from .options import (
    COMMON_BETA_SCHEDULES,
    FINAL_SIGMAS_TYPES,
    BetaOptions,
    check_flow_sigmas,
    check_one_sigma_rule,
)
from .prediction import noise_from
from .sigmas import flow_levels, ruled, timesteps_of, with_last
from .solver import FlowSolverOptions, SolverScheduler
from .timesteps import check_request, even_timesteps

_LAST_ORDERS: Mapping[tuple[int, int], tuple[int, ...]] = {
    (1, 0): (1,),
    (2, 0): (1, 1),
    (2, 1): (1,),
    (3, 0): (1, 2, 1),
    (3, 1): (1,),
    (3, 2): (1, 2),
}
"""Solver's order and what steps leave over, divided by it -> orders of the last steps."""


@dataclass(frozen=True)
class DPMSolverSinglestepOptions(SolverOptions, FlowSolverOptions, BetaOptions):
    """Options of diffusers' ``DPMSolverSinglestepScheduler``, which spaces timesteps evenly."""

    lower_order_final: bool = False
    lambda_min_clipped: float = -math.inf
    variance_type: Optional[str] = None
    use_dynamic_shifting: bool = False
    time_shift_type: str = "exponential"

    scheduler: ClassVar[str] = "DPMSolverSinglestepScheduler"
    choices: ClassVar[Mapping[str, Sequence[object]]] = {
        "beta_schedule": COMMON_BETA_SCHEDULES,
        "prediction_type": ("epsilon", "sample", "v_prediction", "flow_prediction"),
        "solver_order": (1, 2, 3),
        "algorithm_type": ("dpmsolver++", "sde-dpmsolver++", "dpmsolver"),
        "solver_type": ("midpoint", "heun"),
        "final_sigmas_type": FINAL_SIGMAS_TYPES,
        "time_shift_type": ("exponential",),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_sigma_rule(self)
        check_flow_sigmas(self, self.use_flow_sigmas)
        if self.predicts_original:
            return
        if self.final_sigmas_type == "zero":
            raise self.refuse("algorithm_type", "it needs final_sigmas_type 'sigma_min'.")
        if self.prediction_type == "flow_prediction":
            raise self.refuse("prediction_type", "not with algorithm_type 'dpmsolver'.")
        if self.thresholding:  # diffusers raises an error in the first step
            raise self.refuse("thresholding", "not with algorithm_type 'dpmsolver'.")


class DPMSolverSinglestepScheduler(SolverScheduler[DPMSolverSinglestepOptions]):
    """Solve each stretch of up to three steps by itself, from the sample that it began with."""

    options_class = DPMSolverSinglestepOptions
    _began: Optional[Array]

    def __init__(self, options: DPMSolverSinglestepOptions) -> None:
        super().__init__(options)
        self._flow_shift = options.flow_shift
        self._end = self._end_at(options.lambda_min_clipped)
        self._orders: list[int] = []

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> DPMSolverSinglestepOptions:
        """Return the options of a ``scheduler_config.json``, of another solver too."""
        return read_solver_options(DPMSolverSinglestepOptions, config)

    def set_timesteps(
        self,
        num_inference_steps: int,
        *,
        mu: Optional[float] = None,
        sigmas: Optional[Sequence[float]] = None,
    ) -> None:
        """Plan a trajectory; see `Scheduler.set_timesteps`.

        ``mu`` sets the flow shift from here on, where ``use_dynamic_shifting`` allows it.
        """
        options, training = self.options, self._training_sigmas
        if mu is not None and options.use_dynamic_shifting:
            self._flow_shift, mu = math.exp(mu), None
        check_request(self.name, num_inference_steps, mu, sigmas)
        timesteps: Any = even_timesteps(num_inference_steps, self._end)
        levels: Any = ruled(options, training[::-1], num_inference_steps)
        if levels is not None:
            timesteps = timesteps_of(levels, np.log(training))
            timesteps = timesteps.round() if options.use_karras_sigmas else timesteps
        elif options.use_flow_sigmas:
            total = options.num_train_timesteps
            levels = flow_levels(num_inference_steps, total, self._flow_shift)
            timesteps = levels * total
        else:
            levels = np.interp(timesteps, np.arange(len(training)), training)
        ends_clean = options.final_sigmas_type == "zero"
        self.sigmas = with_last(levels, 0.0 if ends_clean else float(training[0]))
        self.timesteps = timesteps.astype(np.int64)
        lowers = bool(options.lower_order_final) or ends_clean
        self._orders = _orders(num_inference_steps, options.solver_order, lowers)
        if ends_clean:
            self._orders[-1] = 1
        self._start_over()

    def step(self, model_output: Array, timestep: Timestep, sample: Array, noise: Noise) -> Array:
        """Return the sample of the next timestep; see `Scheduler.step`.

        Draws noise every time with ``sde-dpmsolver++``, and never with the others.
        """
        options, index = self.options, self._cursor.at(timestep)
        prediction = self._converted(model_output, sample, index)
        self._predictions = [prediction, *self._predictions[: options.solver_order - 1]]
        order = min(self._orders[index], len(self._predictions))
        if order == 1 or self._began is None:
            self._began = sample
        start = index - order + 1
        lambdas = self._lambdas
        interval = Interval(
            alpha_start=self._alphas[start],
            alpha_end=self._alphas[index + 1],
            sigma_start=self._parts[start],
            sigma_end=self._parts[index + 1],
            h=lambdas[index + 1] - lambdas[start],
            earlier=(),
        )
        terms = terms_of(options.algorithm_type, options.solver_type, interval, order)
        places = [(lambdas[index - back] - lambdas[start]) / interval.h for back in range(order)]
        weights = _over_predictions(terms, places, options.solver_type)
        parts = [(terms[0], self._began)]
        parts += zip(weights, self._predictions)
        if options.algorithm_type == "sde-dpmsolver++":
            parts.append((terms[2], noise(prediction.shape)))
        self._cursor.advance()
        return f32.weighted_sum(*parts)

    def _start_over(self) -> None:
        super()._start_over()
        self._began = None

    def _converted(self, model_output: Array, sample: Array, index: int) -> Array:
        """Return what the solver works on: the original sample, or the noise."""
        options, kind = self.options, self.options.prediction_type
        if kind == "epsilon" and options.variance_type in ("learned", "learned_range"):
            model_output = model_output[:, :3]
        if not options.predicts_original:
            return noise_from(kind, model_output, sample, self._alphas[index], self._parts[index])
        return self._original(model_output, sample, index)


def _orders(steps: int, order: int, lowers: bool) -> list[int]:
    """Return how many predictions each step uses; a stretch counts up from 1.

    Where the steps do not fill stretches of the order, the last ones are of lower orders, as with
    ``lower_order_final``, which keeps them from ending in a full one.
    """
    rest = steps % order
    if not lowers and rest == 0:
        return list(range(1, order + 1)) * (steps // order)
    stretches = steps // order - (1 if rest == 0 else 0)
    return [*list(range(1, order + 1)) * stretches, *_LAST_ORDERS[order, rest]]


def _over_predictions(
    terms: Terms, places: list[np.float32], solver_type: str
) -> tuple[np.float32, ...]:
    """Return the weights of the predictions, the newest first, from those of D0, D1 and D2.

    D0 is the stretch's first prediction. The slopes from there to the others, which lie at
    ``places`` of the stretch, make D1 and D2; with ``midpoint`` the slope to the newest is D1, and
    there is no D2.
    """
    _, differences, _ = terms
    if len(differences) == 1:
        return differences
    newest = places[0]
    if len(differences) == 2 or solver_type == "midpoint":
        slope = differences[1] / newest
        skipped = (f32.ZERO,) * (len(differences) - 2)
        return slope, *skipped, differences[0] - slope
    middle, apart = places[1], places[0] - places[1]
    to_middle = (newest * differences[1] - f32.TWO * differences[2]) / apart / middle
    to_newest = (f32.TWO * differences[2] - middle * differences[1]) / apart / newest
    return to_newest, to_middle, differences[0] - to_middle - to_newest
