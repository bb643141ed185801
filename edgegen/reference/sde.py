"""diffusers' DPMSolverSDEScheduler without torchsde, whose Brownian motion the runner has, too.

Imported in the reference's own process only.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from edgegen_runner.schedulers.brownian import BrownianPath

_LIBRARY = "torchsde"


def sde_class() -> Any:
    """Return the class; without torchsde it draws with the runner's path of the same seed.

    diffusers then leaves the class out of its names, but not out of its modules.
    """
    name = "DPMSolverSDEScheduler"
    if importlib.util.find_spec(_LIBRARY) is not None:
        return getattr(_module(), name)
    sys.modules[_LIBRARY] = _StandIn(_LIBRARY)
    try:
        return getattr(_module(), name)
    finally:
        del sys.modules[_LIBRARY]


def seed_noise(scheduler: Any, seeds: Sequence[int]) -> None:
    """Seed the noise of images that a scheduler draws by itself, as the runner does.

    Each image has that of its own seed, where the configuration says none.
    """
    if hasattr(scheduler, "noise_sampler_seed"):
        own = scheduler.config.noise_sampler_seed
        scheduler.noise_sampler_seed = [seed if own is None else own for seed in seeds]


def _module() -> Any:
    return importlib.import_module("diffusers.schedulers.scheduling_dpmsolver_sde")


class _StandIn(ModuleType):
    """The part of torchsde that diffusers uses."""

    @staticmethod
    def BrownianInterval(  # noqa: N802 - torchsde's name
        *, t0: Any, t1: Any, size: Sequence[int], entropy: int, **_kept: Any
    ) -> Any:
        """Return what says the increments between two times."""
        path = BrownianPath(float(t0), float(t1), tuple(size), entropy)
        return lambda start, end: torch.from_numpy(path.increment(float(start), float(end)))
