"""Whole timesteps are told from fractions, as diffusers' own schedulers compute them."""

from __future__ import annotations

from typing import Any

import diffusers
import numpy as np
import pytest

from edgegen.models.timesteps import SPACED, WHOLE, has_whole_timesteps

SETTINGS: dict[str, dict[str, Any]] = {
    "the default": {},
    "leading": {"timestep_spacing": "leading", "steps_offset": 1},
    "trailing": {"timestep_spacing": "trailing"},
    "linspace": {"timestep_spacing": "linspace"},
    "karras": {"timestep_spacing": "leading", "use_karras_sigmas": True},
}


NEED_SCIPY = {"DPMSolverMultistepScheduler", "LMSDiscreteScheduler"}
"""diffusers cannot make these without scipy, which edgegen's environment does not have."""


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("name", sorted((WHOLE | SPACED) - NEED_SCIPY))
def test_it_says_what_diffusers_computes(name: str, settings: str) -> None:
    scheduler = getattr(diffusers, name).from_config(SETTINGS[settings])
    scheduler.set_timesteps(7)
    timesteps = np.asarray(scheduler.timesteps, dtype=np.float64)
    config = {**scheduler.config, "_class_name": name}
    assert has_whole_timesteps(config) == bool((timesteps == np.rint(timesteps)).all())


def test_a_scheduler_that_is_not_known_may_have_fractions() -> None:
    assert not has_whole_timesteps({"_class_name": "IPNDMScheduler"})
