"""DPM-Solver and DPM-Solver++ (arXiv 2206.00927, 2211.01095), multistep, deterministic or not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Optional

import numpy as np

from . import float32 as f32
from .base import Array, Noise, Timestep
from .betas import alphas_cumprod, training_sigmas
from .cursor import StepCursor
from .dpmsolver_options import MultistepOptions, order_at, read_solver_options
from .dpmsolver_update import Interval, update_weights
from .options import (
    COMMON_BETA_SCHEDULES,
    FINAL_SIGMAS_TYPES,
    TIMESTEP_SPACINGS,
    NoiseOptions,
    SigmaOptions,
    ThresholdOptions,
    check_flow_sigmas,
    check_one_sigma_rule,
)
from .prediction import noise_from, original_from, original_of_flow_or_from, thresholded
from .sigmas import (
    flow_levels,
    lu,
    ruled,
    signal_and_noise,
    timesteps_of,
    with_last,
)
from .timesteps import Integers, check_request, solver_timesteps


@dataclass(frozen=True)
class DPMSolverMultistepOptions(MultistepOptions, SigmaOptions, ThresholdOptions, NoiseOptions):
    """Options of diffusers' ``DPMSolverMultistepScheduler``."""

    use_lu_lambdas: bool = False
    use_flow_sigmas: bool = False
    flow_shift: float = 1.0
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


class DPMSolverMultistepScheduler:
    """Solve the probability flow by a polynomial in the log-SNR through the last predictions."""

    name = "DPMSolverMultistepScheduler"
    order = 1
    init_noise_sigma = 1.0
    _predictions: list[Array]
    _warm_up: int

    def __init__(self, options: DPMSolverMultistepOptions) -> None:
        self.options = options
        self.timesteps: Integers = np.zeros(0, dtype=np.int64)
        self.sigmas: Array = np.zeros(1, dtype=np.float32)
        self._flow_shift = options.flow_shift
        products = alphas_cumprod(options, finite_sigma=True)
        self._training_sigmas = training_sigmas(products)
        rising = f32.log(np.sqrt(products)) - f32.log(np.sqrt(1 - products))
        clipped = np.searchsorted(rising[::-1], np.float32(options.lambda_min_clipped))
        self._end = options.num_train_timesteps - int(clipped)
        self._start_over()

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> DPMSolverMultistepScheduler:
        """Make the scheduler of a ``scheduler_config.json``.

        Raises:
            UnsupportedScheduler: An option has a value that the runner does not support.
        """
        return cls(read_solver_options(DPMSolverMultistepOptions, config))

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

    def set_begin_index(self, begin_index: int) -> None:
        """Start at this call instead of the first; after `set_timesteps`."""
        self._cursor.begin = begin_index

    def scale_model_input(self, sample: Array, timestep: Timestep) -> Array:
        """Return the sample itself."""
        return sample

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

    def add_noise(self, original: Array, noise: Array, timestep: Timestep) -> Array:
        """Return the original as it looks at this timestep."""
        index = self._cursor.noise_index(timestep)
        return f32.weighted_sum((self._alphas[index], original), (self._parts[index], noise))

    def _start_over(self) -> None:
        self._alphas, self._parts, self._lambdas = signal_and_noise(
            self.sigmas, flow=self.options.use_flow_sigmas
        )
        self._cursor = StepCursor(self.timesteps)
        self._predictions = []
        self._warm_up = 0

    def _converted(self, model_output: Array, sample: Array, index: int) -> Array:
        """Return what the solver works on: the original sample, or the noise."""
        options, kind = self.options, self.options.prediction_type
        alpha, sigma = self._alphas[index], self._parts[index]
        if kind == "epsilon" and options.variance_type in ("learned", "learned_range"):
            model_output = model_output[:, :3]
        if options.predicts_original:
            level = self.sigmas[index]
            original = original_of_flow_or_from(kind, model_output, sample, alpha, sigma, level)
            return thresholded(original, options) if options.thresholding else original
        estimate = noise_from(kind, model_output, sample, alpha, sigma)
        if not options.thresholding:
            return estimate
        original = thresholded(original_from("epsilon", estimate, sample, alpha, sigma), options)
        return noise_from("sample", original, sample, alpha, sigma)
