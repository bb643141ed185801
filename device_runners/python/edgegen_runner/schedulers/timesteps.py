"""Which of the training timesteps a trajectory visits (arXiv 2305.08891, table 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from .base import Array
from .options import NoiseOptions

Integers = npt.NDArray[np.int64]


def check_request(
    scheduler: str,
    steps: int,
    mu: Optional[float] = None,
    sigmas: Optional[Sequence[float]] = None,
    *,
    at_most: Optional[int] = None,
) -> None:
    """Raise ValueError for a number of steps, or an argument, that the scheduler does not take."""
    if steps < 1 or (at_most is not None and steps > at_most):
        most = "" if at_most is None else f" and at most {at_most}"
        raise ValueError(f"{scheduler} takes at least 1{most} steps, not {steps}.")
    if mu is not None or sigmas is not None:
        raise ValueError(
            f"{scheduler} takes neither mu nor sigmas; they belong to flow-matching models."
        )


def whole_timesteps(options: NoiseOptions, steps: int) -> Integers:
    """Return the falling timesteps of the schedulers that index training timesteps: (steps,).

    With trailing spacing, a number of steps that does not divide the training timesteps can give
    one more, as it does in diffusers.

    Raises:
        ValueError: The first timestep, with the options' offset, is beyond those of training.
    """
    total = options.num_train_timesteps
    if options.timestep_spacing == "linspace":
        return np.linspace(0, total - 1, steps).round()[::-1].astype(np.int64)
    if options.timestep_spacing == "leading":
        timesteps = np.arange(steps, dtype=np.int64)[::-1] * (total // steps) + options.steps_offset
        if timesteps[0] >= total:
            raise ValueError(
                f"{steps} steps would begin at the timestep {timesteps[0]}, and the model was "
                f"trained with {total}."
            )
        return timesteps
    return _trailing(total, total, steps).astype(np.int64) - 1


def fractional_timesteps(options: NoiseOptions, steps: int) -> Array:
    """Return the falling timesteps of the schedulers that interpolate noise levels: (steps,)."""
    total = options.num_train_timesteps
    if options.timestep_spacing == "linspace":
        return np.linspace(0, total - 1, steps, dtype=np.float32)[::-1].copy()
    if options.timestep_spacing == "leading":
        whole = np.arange(steps)[::-1] * (total // steps)
        return whole.astype(np.float32) + np.float32(options.steps_offset)
    return _trailing(total, total, steps).astype(np.float32) - np.float32(1)


def distilled_timesteps(
    scheduler: str, steps: int, original: int, total: int, strength: float = 1.0
) -> Integers:
    """Return falling timesteps among those that a model was distilled at: (steps,).

    Args:
        scheduler: Name for an error.
        steps: How many.
        original: Steps of the distillation.
        total: Training timesteps.
        strength: Share of the distillation's timesteps to choose from.

    Raises:
        ValueError: There are more steps than timesteps of the distillation.
    """
    if original > total:
        raise ValueError(f"original_inference_steps {original} is above {total}.")
    distilled = np.arange(1, int(original * strength) + 1, dtype=np.int64) * (total // original)
    check_request(scheduler, steps, at_most=len(distilled))
    places = np.linspace(0, len(distilled), num=steps, endpoint=False)
    return distilled[::-1][np.floor(places).astype(np.int64)] - 1


def solver_timesteps(options: NoiseOptions, steps: int, end: int) -> Integers:
    """Return the falling timesteps of the multistep solvers, which leave out the last: (steps,).

    Args:
        options: Names the spacing.
        steps: How many steps.
        end: One past the noisiest training timestep that may be visited.
    """
    if options.timestep_spacing == "linspace":
        return even_timesteps(steps, end)
    if options.timestep_spacing == "leading":
        whole = np.arange(steps + 1, dtype=np.int64)[:0:-1] * (end // (steps + 1))
        return whole + options.steps_offset
    return _trailing(end, options.num_train_timesteps, steps).astype(np.int64) - 1


def even_timesteps(steps: int, end: int) -> Integers:
    """Return falling timesteps that divide the range below ``end``, without its last: (steps,)."""
    return np.linspace(0, end - 1, steps + 1).round()[:0:-1].astype(np.int64)


def _trailing(end: int, total: int, steps: int) -> npt.NDArray[np.float64]:
    spaced: npt.NDArray[Any] = np.arange(end, 0, -(total / steps))
    return spaced.round()
