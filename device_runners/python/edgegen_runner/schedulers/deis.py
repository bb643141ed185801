"""DEIS, the exponential integrator in log rho (arXiv 2204.13902), multistep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Optional

import numpy as np

from . import float32 as f32
from .base import Array, Noise, Timestep
from .dpmsolver_options import lowers_order
from .options import (
    COMMON_BETA_SCHEDULES,
    TIMESTEP_SPACINGS,
    NoiseOptions,
    check_flow_sigmas,
    check_one_sigma_rule,
    read_options,
)
from .prediction import noise_from
from .sigmas import solver_levels
from .solver import FlowSolverOptions, SolverScheduler
from .timesteps import check_request, solver_timesteps

# What diffusers takes for the options of a config that was written for another solver.
_ALIASES = {
    "algorithm_type": {"dpmsolver": "deis", "dpmsolver++": "deis"},
    "solver_type": dict.fromkeys(("midpoint", "heun", "bh1", "bh2"), "logrho"),
}


@dataclass(frozen=True)
class DEISMultistepOptions(FlowSolverOptions, NoiseOptions):
    """Options of diffusers' ``DEISMultistepScheduler``."""

    solver_order: int = 2
    algorithm_type: str = "deis"
    solver_type: str = "logrho"
    lower_order_final: bool = True
    use_dynamic_shifting: bool = False
    time_shift_type: str = "exponential"

    scheduler: ClassVar[str] = "DEISMultistepScheduler"
    choices: ClassVar[Mapping[str, Sequence[object]]] = {
        "beta_schedule": COMMON_BETA_SCHEDULES,
        "prediction_type": ("epsilon", "sample", "v_prediction", "flow_prediction"),
        "timestep_spacing": TIMESTEP_SPACINGS,
        "solver_order": (1, 2, 3),
        "algorithm_type": ("deis",),
        "solver_type": ("logrho",),
        "time_shift_type": ("exponential",),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_sigma_rule(self)
        check_flow_sigmas(self, self.use_flow_sigmas)


class DEISMultistepScheduler(SolverScheduler[DEISMultistepOptions]):
    """Integrate a polynomial in log rho through the last predictions of the noise."""

    options_class = DEISMultistepOptions

    def __init__(self, options: DEISMultistepOptions) -> None:
        super().__init__(options)
        self._flow_shift = options.flow_shift

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> DEISMultistepOptions:
        """Return the options of a ``scheduler_config.json``, of another solver too."""
        own = {key: _ALIASES.get(key, {}).get(str(value), value) for key, value in config.items()}
        return read_options(DEISMultistepOptions, own)

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
        options = self.options
        if mu is not None and options.use_dynamic_shifting:
            self._flow_shift, mu = math.exp(mu), None
        check_request(self.name, num_inference_steps, mu, sigmas)
        timesteps = solver_timesteps(options, num_inference_steps, options.num_train_timesteps)
        flow_shift = self._flow_shift if options.use_flow_sigmas else None
        self.sigmas, self.timesteps = solver_levels(
            options, self._training_sigmas, timesteps, num_inference_steps, flow_shift
        )
        self._start_over()

    def step(self, model_output: Array, timestep: Timestep, sample: Array, noise: Noise) -> Array:
        """Return the sample of the next timestep; see `Scheduler.step`. Draws no noise."""
        options, index = self.options, self._cursor.at(timestep)
        prediction = self._converted(model_output, sample, index)
        self._predictions = [prediction, *self._predictions[: options.solver_order - 1]]
        order = self._order_at(index)
        self._warm_up = min(self._warm_up + 1, options.solver_order)
        self._cursor.advance()
        alpha, alpha_end = self._alphas[index], self._alphas[index + 1]
        if order == 1:
            growth = f32.exp(self._lambdas[index + 1] - self._lambdas[index]) - f32.ONE
            return f32.weighted_sum(
                (alpha_end / alpha, sample), (-(self._parts[index + 1] * growth), prediction)
            )
        rhos = self._parts / self._alphas
        nodes = [rhos[index - back] for back in range(order)]
        weights = _weights(rhos[index + 1], nodes)
        terms = zip(weights, self._predictions)
        moved = f32.weighted_sum((f32.ONE / alpha, sample), *terms)
        moved *= alpha_end
        return moved

    def _order_at(self, index: int) -> int:
        """Return how many predictions a step uses."""
        options, left = self.options, len(self.timesteps) - index
        order = min(options.solver_order, self._warm_up + 1)
        lowered = lowers_order(len(self.timesteps), left, options.lower_order_final)
        return min(order, left) if lowered else order

    def _converted(self, model_output: Array, sample: Array, index: int) -> Array:
        """Return the noise that a prediction means."""
        original = self._original(model_output, sample, index)
        return noise_from("sample", original, sample, self._alphas[index], self._parts[index])


def _weights(end: np.float32, nodes: list[np.float32]) -> list[np.float32]:
    """Return the integral over rho, to ``end``, of each Lagrange polynomial in log rho.

    Args:
        end: rho where the step ends.
        nodes: rho of each prediction, the newest first: two or three.
    """
    start, weights = nodes[0], []
    for place, own in enumerate(nodes):
        others = [*nodes[place + 1 :], *nodes[:place]]
        weights.append(_antiderivative(end, own, others) - _antiderivative(start, own, others))
    return weights


def _antiderivative(at: np.float32, own: np.float32, others: list[np.float32]) -> np.float32:
    """Return the integral of a Lagrange polynomial in log rho, in diffusers' order of operations.

    Args:
        at: rho.
        own: The node where the polynomial is 1.
        others: The one or two nodes where it is 0.
    """
    log_at, log_own, *zeros = (_log(value) for value in (at, own, *others))
    if len(zeros) == 1:
        return at * (-zeros[0] + log_at - f32.ONE) / (log_own - zeros[0])
    first, second = zeros
    inner = first * (second - log_at + f32.ONE) - second * log_at + second
    numerator = at * (inner + log_at * log_at - f32.TWO * log_at + f32.TWO)
    return numerator / ((log_own - first) * (log_own - second))


def _log(value: np.float32) -> np.float32:
    return np.float32(math.log(value))
