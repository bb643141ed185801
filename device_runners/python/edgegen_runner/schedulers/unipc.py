"""UniPC, a unified predictor-corrector (arXiv 2302.04867)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Optional

import numpy as np

from . import float32 as f32
from .base import Array, Noise, Timestep
from .betas import alphas_cumprod, training_sigmas
from .cursor import StepCursor
from .options import (
    COMMON_BETA_SCHEDULES,
    FINAL_SIGMAS_TYPES,
    TIMESTEP_SPACINGS,
    NoiseOptions,
    SigmaOptions,
    ThresholdOptions,
    check_one_sigma_rule,
    read_options,
)
from .prediction import noise_from, original_of_flow_or_from, thresholded
from .sigmas import (
    ruled,
    signal_and_noise,
    static_shift,
    stretch_to_terminal,
    time_shift,
    timesteps_of,
    with_last,
)
from .timesteps import Integers, check_request, solver_timesteps
from .unipc_update import difference_weights

# What diffusers takes for a config that was written for another solver.
_SOLVER_ALIASES = {"midpoint": "bh2", "heun": "bh2", "logrho": "bh2"}
_BELOW_ONE = 1e-6  # a flow's first sigma of 1 has no signal at all, hence no log-SNR


@dataclass(frozen=True)
class UniPCMultistepOptions(SigmaOptions, ThresholdOptions, NoiseOptions):
    """Options of diffusers' ``UniPCMultistepScheduler``."""

    solver_order: int = 2
    predict_x0: bool = True
    solver_type: str = "bh2"
    lower_order_final: bool = True
    disable_corrector: Sequence[int] = ()
    solver_p: Optional[object] = None
    use_flow_sigmas: bool = False
    flow_shift: float = 1.0
    final_sigmas_type: str = "zero"
    rescale_betas_zero_snr: bool = False
    use_dynamic_shifting: bool = False
    time_shift_type: str = "exponential"
    shift_terminal: Optional[float] = None

    scheduler: ClassVar[str] = "UniPCMultistepScheduler"
    choices: ClassVar[Mapping[str, Sequence[object]]] = {
        "beta_schedule": COMMON_BETA_SCHEDULES,
        "prediction_type": ("epsilon", "sample", "v_prediction", "flow_prediction"),
        "timestep_spacing": TIMESTEP_SPACINGS,
        "solver_order": (1, 2, 3, 4),
        "solver_type": ("bh1", "bh2"),
        "solver_p": (None,),  # a scheduler inside a scheduler
        "final_sigmas_type": FINAL_SIGMAS_TYPES,
        "time_shift_type": ("exponential", "linear"),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_sigma_rule(self)
        if self.shift_terminal is not None and not self.use_flow_sigmas:
            raise self.refuse("shift_terminal", "it needs use_flow_sigmas.")
        for rule in ("use_exponential_sigmas", "use_beta_sigmas"):
            if self.use_flow_sigmas and getattr(self, rule):
                # where diffusers takes sigmas above 1 for shares of noise
                raise self.refuse("use_flow_sigmas", f"not with {rule}.")
        if not self.predict_x0 and self.prediction_type == "flow_prediction":
            raise self.refuse("prediction_type", "not with predict_x0 unset.")
        if self.final_sigmas_type == "zero":  # where diffusers gives NaN
            if not self.predict_x0:
                raise self.refuse("predict_x0", "it needs final_sigmas_type 'sigma_min'.")
            if self.solver_type == "bh1":
                raise self.refuse("solver_type", "it needs final_sigmas_type 'sigma_min'.")
            if not self.lower_order_final and self.solver_order > 1:
                raise self.refuse("lower_order_final", "it needs final_sigmas_type 'sigma_min'.")


class UniPCMultistepScheduler:
    """Correct each sample with the model output made from it, then predict the next."""

    name = "UniPCMultistepScheduler"
    order = 1
    init_noise_sigma = 1.0
    _predictions: list[Array]
    _last_sample: Optional[Array]
    _last_order: int
    _warm_up: int

    def __init__(self, options: UniPCMultistepOptions) -> None:
        self.options = options
        self.timesteps: Integers = np.zeros(0, dtype=np.int64)
        self.sigmas: Array = np.zeros(1, dtype=np.float32)
        self._training_sigmas = training_sigmas(alphas_cumprod(options, finite_sigma=True))
        self._start_over()

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> UniPCMultistepScheduler:
        """Make the scheduler of a ``scheduler_config.json``.

        Raises:
            UnsupportedScheduler: An option has a value that the runner does not support.
        """
        own = dict(config)
        if "solver_type" in own:
            own["solver_type"] = _SOLVER_ALIASES.get(str(own["solver_type"]), own["solver_type"])
        return cls(read_options(UniPCMultistepOptions, own))

    def set_timesteps(
        self,
        num_inference_steps: int,
        *,
        mu: Optional[float] = None,
        sigmas: Optional[Sequence[float]] = None,
    ) -> None:
        """Plan a trajectory; see `Scheduler.set_timesteps`.

        Raises:
            ValueError: ``mu`` is missing with ``use_dynamic_shifting``, or sigmas are given without
                ``use_flow_sigmas`` or not as many as steps.
        """
        options, training = self.options, self._training_sigmas
        total = options.num_train_timesteps
        if options.use_dynamic_shifting and mu is None:
            raise ValueError(f"{self.name} needs mu where use_dynamic_shifting is set.")
        flow = options.use_flow_sigmas and not options.use_karras_sigmas
        check_request(
            self.name,
            num_inference_steps,
            None if options.use_dynamic_shifting else mu,
            None if flow else sigmas,
        )
        if sigmas is not None and len(sigmas) != num_inference_steps:
            raise ValueError(f"{len(sigmas)} sigmas do not make {num_inference_steps} steps.")

        timesteps: Any = solver_timesteps(options, num_inference_steps, total)
        levels: Any
        last = float(training[0])
        placed = ruled(options, training[::-1], num_inference_steps)
        if placed is not None:
            levels = placed
            if options.use_flow_sigmas:
                levels = levels / (levels + 1)
                timesteps = levels * total
            else:
                timesteps = timesteps_of(levels, np.log(training))
                timesteps = timesteps.round() if options.use_karras_sigmas else timesteps
            last = levels[-1]
        elif flow:
            levels = self._flow_levels(num_inference_steps, mu, sigmas)
            timesteps = levels * total
            last = levels[-1]
        else:
            levels = np.interp(timesteps, np.arange(len(training)), training)
        self.sigmas = with_last(levels, 0.0 if options.final_sigmas_type == "zero" else last)
        self.timesteps = timesteps.astype(np.int64)
        self._start_over()

    def set_begin_index(self, begin_index: int) -> None:
        """Start at this call instead of the first; after `set_timesteps`."""
        self._cursor.begin = begin_index

    def scale_model_input(self, sample: Array, timestep: Timestep) -> Array:
        """Return the sample itself."""
        return sample

    def step(self, model_output: Array, timestep: Timestep, sample: Array, noise: Noise) -> Array:
        """Return the sample of the next timestep; see `Scheduler.step`. Draws no noise."""
        options, index = self.options, self._cursor.at(timestep)
        prediction = self._converted(model_output, sample, index)
        corrects = index > 0 and index - 1 not in options.disable_corrector
        if corrects and self._last_sample is not None:
            sample = self._update(self._last_sample, index - 1, self._last_order, prediction)
        self._predictions = [prediction, *self._predictions[: options.solver_order - 1]]
        order = min(options.solver_order, self._warm_up + 1)
        if options.lower_order_final:
            order = min(order, len(self.timesteps) - index)
        self._last_sample, self._last_order = sample, order
        self._warm_up = min(self._warm_up + 1, options.solver_order)
        self._cursor.advance()
        return self._update(sample, index, order, None)

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
        self._last_sample = None
        self._last_order = 0
        self._warm_up = 0

    def _flow_levels(
        self, steps: int, mu: Optional[float], sigmas: Optional[Sequence[float]]
    ) -> Any:
        options = self.options
        levels: Any
        if sigmas is None:
            levels = np.linspace(1, 1 / options.num_train_timesteps, steps + 1)[:-1]
        else:
            levels = np.asarray(sigmas)
        if mu is not None:
            levels = time_shift(levels, mu, options.time_shift_type)
        else:
            levels = static_shift(levels, options.flow_shift)
        if options.shift_terminal:
            levels = stretch_to_terminal(levels, options.shift_terminal)
        if abs(levels[0] - 1) < _BELOW_ONE:
            levels[0] -= _BELOW_ONE
        return levels

    def _converted(self, model_output: Array, sample: Array, index: int) -> Array:
        """Return what the solver works on: the original sample, or the noise."""
        options, kind = self.options, self.options.prediction_type
        alpha, sigma = self._alphas[index], self._parts[index]
        if not options.predict_x0:
            return noise_from(kind, model_output, sample, alpha, sigma)
        level = self.sigmas[index]
        original = original_of_flow_or_from(kind, model_output, sample, alpha, sigma, level)
        return thresholded(original, options) if options.thresholding else original

    def _update(
        self, sample: Array, start: int, order: int, corrected_by: Optional[Array]
    ) -> Array:
        """Return the sample one noise level further (algorithms 1 and 2 of the paper).

        Args:
            sample: The sample at noise level ``start``.
            start: Index of the noise level; ``self._predictions[0]`` belongs to it.
            order: How many predictions to use.
            corrected_by: Prediction at the next level, to correct; None to predict.
        """
        predicts_original = self.options.predict_x0
        lambdas, newest = self._lambdas, self._predictions[0]
        h = lambdas[start + 1] - lambdas[start]
        ratios = [(lambdas[start - back] - lambdas[start]) / h for back in range(1, order)]
        signed = -h if predicts_original else h
        phi = f32.expm1(signed)
        scale = signed if self.options.solver_type == "bh1" else phi
        weights = difference_weights(ratios, signed, phi, scale, corrects=corrected_by is not None)

        if predicts_original:
            factor = self._alphas[start + 1]
            kept = self._parts[start + 1] / self._parts[start]
        else:
            factor = self._parts[start + 1]
            kept = self._alphas[start + 1] / self._alphas[start]
        moved = f32.weighted_sum((kept, sample), (-(factor * phi), newest))
        for weight, ratio, older in zip(weights, ratios, self._predictions[1:]):
            moved -= factor * scale * weight / ratio * (older - newest)
        if corrected_by is not None:
            moved -= factor * scale * weights[-1] * (corrected_by - newest)
        return moved
