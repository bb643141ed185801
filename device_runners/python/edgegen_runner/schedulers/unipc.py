"""UniPC, a unified predictor-corrector (arXiv 2302.04867)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Optional

import numpy as np

from . import float32 as f32
from .base import Array, Noise, Timestep
from .options import (
    COMMON_BETA_SCHEDULES,
    FINAL_SIGMAS_TYPES,
    TIMESTEP_SPACINGS,
    NoiseOptions,
    check_one_sigma_rule,
    read_options,
)
from .prediction import noise_from
from .sigmas import (
    ruled,
    static_shift,
    stretch_to_terminal,
    time_shift,
    timesteps_of,
    with_last,
)
from .solver import FlowSolverOptions, SolverScheduler
from .timesteps import check_request, solver_timesteps
from .unipc_update import difference_weights

# What diffusers takes for a config that was written for another solver.
_SOLVER_ALIASES = {"midpoint": "bh2", "heun": "bh2", "logrho": "bh2"}
_BELOW_ONE = 1e-6  # a flow's first sigma of 1 has no signal at all, hence no log-SNR


@dataclass(frozen=True)
class UniPCMultistepOptions(FlowSolverOptions, NoiseOptions):
    """Options of diffusers' ``UniPCMultistepScheduler``."""

    solver_order: int = 2
    predict_x0: bool = True
    solver_type: str = "bh2"
    lower_order_final: bool = True
    disable_corrector: Sequence[int] = ()
    solver_p: Optional[object] = None
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


class UniPCMultistepScheduler(SolverScheduler[UniPCMultistepOptions]):
    """Correct each sample with the model output made from it, then predict the next."""

    options_class = UniPCMultistepOptions
    finite_sigma = True
    _last_sample: Optional[Array]
    _last_order: int

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> UniPCMultistepOptions:
        """Return the options of a ``scheduler_config.json``, of another solver too."""
        own = dict(config)
        if "solver_type" in own:
            own["solver_type"] = _SOLVER_ALIASES.get(str(own["solver_type"]), own["solver_type"])
        return read_options(UniPCMultistepOptions, own)

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

    def _start_over(self) -> None:
        super()._start_over()
        self._last_sample = None
        self._last_order = 0

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
        if options.predict_x0:
            return self._original(model_output, sample, index)
        return noise_from(kind, model_output, sample, self._alphas[index], self._parts[index])

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
