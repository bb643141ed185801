"""Whole timesteps are told from fractions, as diffusers' own schedulers compute them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest

from edgegen.pipelines.timesteps import SPACED, WHOLE, has_whole_timesteps
from tests.conftest import TinyPipeline

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
def test_it_says_what_diffusers_computes(
    name: str, settings: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    scheduler_type = getattr(diffusers, name)
    scheduler = scheduler_type.from_config(SETTINGS[settings])
    scheduler.set_timesteps(7)
    timesteps = np.asarray(scheduler.timesteps, dtype=np.float64)
    folder = tmp_path / "model"
    shutil.copytree(
        tiny_pipeline("sd15"), folder, ignore=shutil.ignore_patterns("*.safetensors", "*.bin")
    )
    scheduler.save_pretrained(folder / "scheduler")
    index = json.loads((folder / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", name]
    (folder / "model_index.json").write_text(json.dumps(index))
    assert has_whole_timesteps(folder) == bool((timesteps == np.rint(timesteps)).all())


def test_a_scheduler_that_is_not_known_may_have_fractions(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_pipeline("sd15"), folder)
    index = json.loads((folder / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", "SASolverScheduler"]
    (folder / "model_index.json").write_text(json.dumps(index))
    assert not has_whole_timesteps(folder)
