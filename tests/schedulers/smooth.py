"""A smooth path in place of Brownian motion, for both sides of a comparison.

Brownian motion is rough: at a time that rounds to the next millionth it is a thousandth off, and
noise levels that are computed in another order round so. Over a smooth path schedulers agree to
the last places where they do the same.
"""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np
import torch

from edgegen.reference.sde import sde_class


class SmoothPath:
    """Move by sines of a time, another for each number and seed; see `BrownianPath`."""

    def __init__(self, _start: float, _end: float, shape: tuple[int, ...], seed: int) -> None:
        count = math.prod(shape)
        self._phases = np.random.RandomState(seed).uniform(0, 6, count).reshape(shape)

    def increment(self, start: float, end: float) -> np.ndarray:
        first, last = (np.sin(math.log1p(time) + self._phases) for time in (start, end))
        return (3 * (last - first)).astype(np.float32)


def smooth_sde_class() -> Any:
    """Return diffusers' DPMSolverSDEScheduler on smooth paths."""
    build = sde_class()
    module: Any = importlib.import_module(build.__module__)

    class Sampler(module.BrownianTreeNoiseSampler):  # type: ignore[misc]  # diffusers has no types
        def __init__(self, sample: torch.Tensor, seeds: Any) -> None:
            self.transform = lambda sigma: sigma
            many = isinstance(seeds, list)
            shape = tuple(sample.shape[1:] if many else sample.shape)
            paths = [SmoothPath(0, 1, shape, seed) for seed in (seeds if many else [seeds])]

            def tree(start: Any, end: Any) -> torch.Tensor:
                moved = [path.increment(float(start), float(end)) for path in paths]
                return torch.from_numpy(np.stack(moved) if many else moved[0])

            self.tree = tree

    def step(self: Any, model_output: Any, timestep: Any, sample: Any, **named: Any) -> Any:
        if self.noise_sampler is None:
            self.noise_sampler = Sampler(sample, self.noise_sampler_seed)
        return build.step(self, model_output, timestep, sample, **named)

    return type(build.__name__, (build,), {"step": step})
