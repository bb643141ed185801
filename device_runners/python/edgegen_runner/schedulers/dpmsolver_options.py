"""Options that diffusers' DPM-Solver classes share, and the order of a multistep step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from .base import UnsupportedScheduler
from .options import CheckedOptions, read_options

S = TypeVar("S", bound="SolverOptions")

# What diffusers takes for the options of a config that was written for another solver.
_ALIASES = {
    "algorithm_type": {"deis": "dpmsolver++"},
    "solver_type": {"logrho": "midpoint", "bh1": "midpoint", "bh2": "midpoint"},
}
_FEW_STEPS = 15  # below which lower_order_final takes effect


@dataclass(frozen=True)
class SolverOptions(CheckedOptions):
    """Options of every DPM-Solver class."""

    solver_order: int = 2
    algorithm_type: str = "dpmsolver++"
    solver_type: str = "midpoint"
    lower_order_final: bool = True
    final_sigmas_type: str = "zero"

    @property
    def predicts_original(self) -> bool:
        """Whether the solver works on the original sample (++) rather than on the noise."""
        return self.algorithm_type.endswith("++")


@dataclass(frozen=True)
class MultistepOptions(SolverOptions):
    """Options of the multistep DPM-Solver classes."""

    euler_at_final: bool = False


def read_solver_options(options_class: type[S], config: Mapping[str, Any]) -> S:
    """Return a DPM-Solver's options from a ``scheduler_config.json``, of another solver too.

    Raises:
        UnsupportedScheduler: An option has a value that the runner does not support.
    """
    own = {key: _ALIASES.get(key, {}).get(str(value), value) for key, value in config.items()}
    options = read_options(options_class, own)
    if config.get("algorithm_type") == "deis" and options.final_sigmas_type == "zero":
        raise UnsupportedScheduler(
            f"{options.scheduler} does not support algorithm_type='deis': it needs "
            "final_sigmas_type 'sigma_min'."
        )
    return options


def lowers_order(steps: int, left: int, lower_order_final: bool) -> bool:
    """Return whether one of the last two steps takes a lower order, as few steps do."""
    return left <= 2 and lower_order_final and steps < _FEW_STEPS


def order_at(options: MultistepOptions, steps: int, left: int, known: int) -> int:
    """Return how many predictions a step of a multistep solver uses.

    Args:
        options: Set the order, and how the last steps lower it.
        steps: How many steps the trajectory has.
        left: How many of them are left, with this one.
        known: How many predictions there were before this step.
    """
    lowered = lowers_order(steps, left, options.lower_order_final)
    if left == 1 and (lowered or options.euler_at_final or options.final_sigmas_type == "zero"):
        return 1
    order = min(options.solver_order, known + 1)
    return min(order, 2) if left == 2 and lowered else order
