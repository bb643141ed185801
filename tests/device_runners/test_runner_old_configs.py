"""Old scheduler configurations are read as diffusers' own pipelines read them."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
from edgegen_runner.pipelines import scheduler_rules
from edgegen_runner.pipelines.scheduler import make_scheduler
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


def ours(family: str, config: dict[str, Any], name: str | None = None, kind: str = "noise") -> Any:
    return make_scheduler(config, name, scheduler_rules(family), pipeline_class="", kind=kind)


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
    kind = "mask" if family.endswith("-inpaint") else "noise"
    made = ours(family, {"_class_name": scheduler, **OLD}, kind=kind)
    theirs.set_timesteps(10)
    made.set_timesteps(10)
    assert np.array_equal(made.timesteps, theirs.timesteps.numpy())
    for option in ("clip_sample", "steps_offset", "skip_prk_steps"):
        if option in theirs.config:
            assert getattr(made.options, option) == theirs.config[option]


@pytest.mark.parametrize("written", [{}, {"steps_offset": 0, "clip_sample": True}])
@pytest.mark.parametrize("name", ["DDIMScheduler", "EulerDiscreteScheduler", "LCMScheduler"])
def test_another_scheduler_is_corrected_as_if_the_pipeline_was_made_with_it(
    name: str, written: dict[str, Any]
) -> None:
    other = getattr(diffusers, name).from_config({"_class_name": "PNDMScheduler", **OLD, **written})
    theirs = pipelines_own("StableDiffusionPipeline", other)
    made = ours("stable-diffusion", {"_class_name": "PNDMScheduler", **OLD, **written}, name)
    theirs.set_timesteps(10)
    made.set_timesteps(10)
    assert np.array_equal(made.timesteps, theirs.timesteps.numpy())
    if hasattr(made.options, "clip_sample"):
        assert made.options.clip_sample is theirs.config.clip_sample is False


def test_the_builtin_models_configuration_needs_no_correction() -> None:
    path = Path(__file__).parents[2] / "edgegen/builtin/data/emoji/scheduler"
    config = json.loads((path / "scheduler_config.json").read_text())
    plain: Any = load_scheduler(config)
    assert ours("stable-diffusion", config).options == plain.options
