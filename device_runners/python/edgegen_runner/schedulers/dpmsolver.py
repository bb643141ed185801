"""DPM-Solver and DPM-Solver++ (arXiv 2206.00927, 2211.01095), multistep, deterministic or not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Optional

import numpy as np

from . import float32 as f32
from .base import Array, Noise, Timestep
from .dpmsolver_options import MultistepOptions, order_at, read_solver_options
from .dpmsolver_update import Interval, update_weights
from .options import (
    COMMON_BETA_SCHEDULES,
    FINAL_SIGMAS_TYPES,
    TIMESTEP_SPACINGS,
    NoiseOptions,
    check_flow_sigmas,
    check_one_sigma_rule,
)
from .prediction import noise_from, original_from, thresholded
from .sigmas import (
    flow_levels,
    lu,
    ruled,
    timesteps_of,
    with_last,
)
from .solver import FlowSolverOptions, SolverScheduler
from .timesteps import check_request, solver_timesteps


@dataclass(frozen=True)
class DPMSolverMultistepOptions(MultistepOptions, FlowSolverOptions, NoiseOptions):
    """Options of diffusers' ``DPMSolverMultistepScheduler``."""

    use_lu_lambdas: bool = False
    lambda_min_clipped: float = -math.inf
    variance_type: Optional[str] = None
    rescale_betas_zero_snr: bool = False
    use_dynamic_shifting: bool = False
    time_shift_type: str = "exponential"

    scheduler: ClassVar[str] = "DPMSolverMultistepScheduler"
    choices: ClassVar[Mapping[str, Sequence[object]]] = {
        "beta_schedule": COMMON_BETA_SCHEDULES,
        "prediction_type": ("epsilon", "sample", "v_prediction", "flow_prediction"),
        "timestep_spacing": TIMESTEP_SPACINGS,
        "solver_order": (1, 2, 3),
        "algorithm_type": ("dpmsolver++", "sde-dpmsolver++", "dpmsolver", "sde-dpmsolver"),
        "solver_type": ("midpoint", "heun"),
        "final_sigmas_type": FINAL_SIGMAS_TYPES,
        "time_shift_type": ("exponential",),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_sigma_rule(self)
        check_flow_sigmas(self, self.use_flow_sigmas, self.use_lu_lambdas)
        if self.predicts_original:
            return
        if self.final_sigmas_type == "zero":
            raise self.refuse("algorithm_type", "it needs final_sigmas_type 'sigma_min'.")
        if self.prediction_type == "flow_prediction":
            raise self.refuse(
                "prediction_type", f"not with algorithm_type {self.algorithm_type!r}."
            )
        if self.algorithm_type == "sde-dpmsolver" and self.solver_order == 3:
            raise self.refuse("solver_order", "sde-dpmsolver has no third order.")


class DPMSolverMultistepScheduler(SolverScheduler[DPMSolverMultistepOptions]):
    """Solve the probability flow by a polynomial in the log-SNR through the last predictions."""

    options_class = DPMSolverMultistepOptions
    finite_sigma = True

    def __init__(self, options: DPMSolverMultistepOptions) -> None:
        super().__init__(options)
        self._flow_shift = options.flow_shift
        self._end = self._end_at(options.lambda_min_clipped)

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> DPMSolverMultistepOptions:
        """Return the options of a ``scheduler_config.json``, of another solver too."""
        return read_solver_options(DPMSolverMultistepOptions, config)

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
        timesteps: Any = solver_timesteps(options, num_inference_steps, self._end)
        rounded = options.beta_schedule != "squaredcos_cap_v2"
        levels: Any
        placed = None
        if not options.use_lu_lambdas or options.use_karras_sigmas:  # Lu's come before the others
            placed = ruled(options, training[::-1], num_inference_steps)
        if placed is not None:
            levels, timesteps = placed, timesteps_of(placed, np.log(training))
            rounded = rounded and bool(options.use_karras_sigmas)
        elif options.use_lu_lambdas:
            logs = np.log(training)
            levels = lu(float(logs[-1]), float(logs[0]), num_inference_steps)
            timesteps = timesteps_of(levels, logs)
        elif options.use_flow_sigmas:
            total, rounded = options.num_train_timesteps, False
            levels = flow_levels(num_inference_steps, total, self._flow_shift)
            timesteps = levels * total
        else:
            levels = np.interp(timesteps, np.arange(len(training)), training)
        last = 0.0 if options.final_sigmas_type == "zero" else float(training[0])
        self.sigmas = with_last(levels, last)
        self.timesteps = (timesteps.round() if rounded else timesteps).astype(np.int64)
        self._start_over()

    def step(self, model_output: Array, timestep: Timestep, sample: Array, noise: Noise) -> Array:
        """Return the sample of the next timestep; see `Scheduler.step`.

        Draws noise every time with an ``sde-`` algorithm, and never with the others.
        """
        options, index = self.options, self._cursor.at(timestep)
        prediction = self._converted(model_output, sample, index)
        self._predictions = [prediction, *self._predictions[: options.solver_order - 1]]
        left = len(self.timesteps) - index
        order = order_at(options, len(self.timesteps), left, self._warm_up)
        interval = Interval.of(self._alphas, self._parts, self._lambdas, index)
        weights = update_weights(options.algorithm_type, options.solver_type, interval, order)
        terms = [(weights.sample, sample)]
        terms += list(zip(weights.predictions, self._predictions))
        if options.algorithm_type.startswith("sde-"):
            terms.append((weights.noise, noise(prediction.shape)))
        self._warm_up = min(self._warm_up + 1, options.solver_order)
        self._cursor.advance()
        return f32.weighted_sum(*terms)

    def _converted(self, model_output: Array, sample: Array, index: int) -> Array:
        """Return what the solver works on: the original sample, or the noise."""
        options, kind = self.options, self.options.prediction_type
        alpha, sigma = self._alphas[index], self._parts[index]
        if kind == "epsilon" and options.variance_type in ("learned", "learned_range"):
            model_output = model_output[:, :3]
        if options.predicts_original:
            return self._original(model_output, sample, index)
        estimate = noise_from(kind, model_output, sample, alpha, sigma)
        if not options.thresholding:
            return estimate
        original = thresholded(original_from("epsilon", estimate, sample, alpha, sigma), options)
        return noise_from("sample", original, sample, alpha, sigma)
