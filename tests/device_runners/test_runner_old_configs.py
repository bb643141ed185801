"""Old scheduler configurations are read as diffusers' own pipelines read them."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import numpy as np
import pytest
from edgegen_runner.pipelines.base import scheduler_config
from edgegen_runner.schedulers import load_scheduler

OLD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def pipelines_own(pipeline: str, scheduler: Any) -> Any:
    """Return a scheduler after diffusers' pipeline has corrected it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # diffusers says that the configuration is outdated
        made = getattr(diffusers, pipeline)(
            vae=None,
            text_encoder=None,
            tokenizer=None,
            unet=None,
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    return made.scheduler


def package_of(family: str, config: dict[str, Any]) -> Any:
    return SimpleNamespace(family=family, scheduler_config=lambda: config)


@pytest.mark.parametrize(
    ("family", "pipeline", "scheduler"),
    [
        ("stable-diffusion", "StableDiffusionPipeline", "DDIMScheduler"),
        ("stable-diffusion", "StableDiffusionPipeline", "PNDMScheduler"),
        ("stable-diffusion", "StableDiffusionPipeline", "EulerDiscreteScheduler"),
        ("stable-diffusion-inpaint", "StableDiffusionInpaintPipeline", "PNDMScheduler"),
        ("stable-diffusion-inpaint", "StableDiffusionInpaintPipeline", "DDIMScheduler"),
        ("stable-diffusion-xl", None, "DDIMScheduler"),
        ("latent-consistency", None, "LCMScheduler"),
    ],
)
def test_an_old_configuration_gives_the_timesteps_that_diffusers_pipeline_has(
    family: str, pipeline: str | None, scheduler: str
) -> None:
    theirs = getattr(diffusers, scheduler)(**OLD)
    if pipeline is not None:
        theirs = pipelines_own(pipeline, theirs)
    config = scheduler_config(package_of(family, {"_class_name": scheduler, **OLD}))
    ours = load_scheduler(config)
    theirs.set_timesteps(10)
    ours.set_timesteps(10)
    assert np.array_equal(ours.timesteps, theirs.timesteps.numpy())
    for option in {"clip_sample", "steps_offset", "skip_prk_steps"} & config.keys():
        if option in theirs.config:
            assert config[option] == theirs.config[option]


@pytest.mark.parametrize("written", [{}, {"steps_offset": 0, "clip_sample": True}])
def test_another_scheduler_inherits_what_the_configuration_says_itself(
    written: dict[str, Any],
) -> None:
    theirs = pipelines_own("StableDiffusionPipeline", diffusers.DDIMScheduler(**OLD, **written))
    theirs = diffusers.EulerDiscreteScheduler.from_config(theirs.config)
    package = package_of("stable-diffusion", {"_class_name": "DDIMScheduler", **OLD, **written})
    ours = load_scheduler(scheduler_config(package, other=True), "euler")
    theirs.set_timesteps(10)
    ours.set_timesteps(10)
    assert np.array_equal(ours.timesteps, theirs.timesteps.numpy())


def test_the_builtin_models_configuration_needs_no_correction() -> None:
    path = Path(__file__).parents[2] / "edgegen/pipelines/builtin/emoji/scheduler"
    config = json.loads((path / "scheduler_config.json").read_text())
    package = SimpleNamespace(family="stable-diffusion", scheduler_config=lambda: config)
    assert scheduler_config(package) == config  # type: ignore[arg-type]  # as above
