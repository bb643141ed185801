"""A pipeline's scheduler: which class it is, its configuration, and what it draws best with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import SourceError
from edgegen.core.model import PipelineSpec, SchedulerSpec
from edgegen.families import family_of
from edgegen.families.base import Family
from edgegen.models.index import PipelineIndex

CONFIG_PATH = "scheduler/scheduler_config.json"

FEW_STEPS = 4
"""Steps of a model that was distilled to few, where nothing says how many."""


def read_scheduler(index: PipelineIndex, family: Family) -> SchedulerSpec:
    """Return a pipeline's scheduler: as in diffusers, the class that `model_index.json` names.

    The class that the configuration file names changes nothing. Some pipelines make one class of
    whatever they find. Raises SourceError where there is none, or its file cannot be read.
    """
    class_name = index.entries.get("scheduler")
    if class_name is None:
        raise SourceError(
            f"{index.settings.path} has no scheduler.", hint="Save the whole pipeline."
        )
    index.check_library("scheduler")
    ComponentConfig.read(index.folder / CONFIG_PATH)
    made = family.pipelines[index.class_name].scheduler
    return SchedulerSpec(class_name=made or class_name)


def scheduler_config(folder: Path, scheduler: SchedulerSpec) -> dict[str, Any]:
    """Return what a pipeline's configuration file says, with the scheduler's class and options.

    Raises SourceError where the file cannot be read.
    """
    config = ComponentConfig.read(folder / CONFIG_PATH).data
    marked = config.get("_use_default_values") or ()  # diffusers ignores what it marked so
    said = {key: value for key, value in config.items() if key not in marked}
    said.pop("_use_default_values", None)
    return {**said, **scheduler.options, "_class_name": scheduler.class_name}


def with_defaults(spec: PipelineSpec, folder: Path) -> PipelineSpec:
    """Return a pipeline with the steps and the guidance that it is drawn with by default.

    They are those of its diffusers classes. Where a model was distilled to few steps, its scheduler
    is all that tells: LCM, TCD, and Euler's methods with trailing timesteps (SD-Turbo, SDXL-Turbo,
    SDXL-Lightning). Those are drawn in four steps without guidance, or with the guidance that the
    denoiser takes as an input. Raises SourceError where the scheduler's file cannot be read.
    """
    known = family_of(spec.family).pipelines[spec.pipeline_class]
    steps, guidance, inpaint_guidance = known.steps, known.guidance, known.inpaint_guidance
    config = scheduler_config(folder, spec.scheduler)
    if spec.facts.guidance != "none" and _takes_few_steps(config):
        steps, inpaint_guidance = _few_steps(config), None
        if spec.generation.guidance_embedding_dim is None:
            guidance = 1.0
    generation = replace(
        spec.generation, steps=steps, guidance=guidance, inpaint_guidance=inpaint_guidance
    )
    return replace(spec, generation=generation)


def _few_steps(config: Mapping[str, Any]) -> int:
    original = config.get("original_inference_steps")
    return min(FEW_STEPS, original) if type(original) is int and original > 0 else FEW_STEPS


def _takes_few_steps(config: Mapping[str, Any]) -> bool:
    name = config["_class_name"]
    if name in ("LCMScheduler", "TCDScheduler"):
        return True
    return (
        name in ("EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler")
        and config.get("timestep_spacing") == "trailing"
        and not config.get("rescale_betas_zero_snr")
    )
