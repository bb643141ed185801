"""A request's scheduler is given to diffusers' pipeline, which corrects it, and not assigned."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest

from edgegen.drawer import DrawRequest
from edgegen.reference.drawer import TorchDrawer

PIPELINES = {
    "sd15": ("StableDiffusionPipeline", "stable-diffusion"),
    "sdxl": ("StableDiffusionXLPipeline", "stable-diffusion-xl"),
}
# diffusers says so where it corrects a scheduler
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
REQUEST = DrawRequest(prompt="the er", seed=3, steps=4, guidance=5.0, width=32, height=32)


@pytest.fixture(params=PIPELINES)
def model(request: pytest.FixtureRequest, tiny_pipeline: Any, tmp_path: Path) -> tuple[str, Path]:
    """Return a model whose scheduler says nothing of clip_sample, as Euler's don't."""
    folder = shutil.copytree(tiny_pipeline(request.param), tmp_path / "model")
    euler = diffusers.EulerDiscreteScheduler(beta_start=0.00085, beta_schedule="scaled_linear")
    euler.save_pretrained(folder / "scheduler")
    index = json.loads((folder / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", "EulerDiscreteScheduler"]
    (folder / "model_index.json").write_text(json.dumps(index))
    return request.param, folder


@pytest.mark.parametrize("name", ["DDIMScheduler", "DDPMScheduler", "LMSDiscreteScheduler"])
def test_it_draws_what_a_pipeline_made_with_it_draws(name: str, model: tuple[str, Path]) -> None:
    tiny, folder = model
    class_name, family = PIPELINES[tiny]
    build = getattr(diffusers, class_name)
    other = getattr(diffusers, name).from_pretrained(folder, subfolder="scheduler")
    made = TorchDrawer(build.from_pretrained(folder, scheduler=other), family)
    pipeline = build.from_pretrained(folder)
    drawer = TorchDrawer(pipeline, family)
    asked = replace(REQUEST, scheduler=name)
    assert np.abs(drawer.draw([asked])[0].astype(int) - made.draw([REQUEST])[0]).max() <= 1
    assert type(pipeline.scheduler).__name__ == "EulerDiscreteScheduler"
