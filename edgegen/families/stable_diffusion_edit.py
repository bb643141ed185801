"""Stable Diffusion that edits a picture as a prompt says: InstructPix2Pix, and that of SDXL."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from edgegen.core.model import Generation
from edgegen.families import stable_diffusion, stable_diffusion_xl
from edgegen.families.base import (
    PipelineClass,
    PipelineConfigs,
    ReferenceCall,
    without_pictures,
)
from edgegen.families.latents import generation_from_text
from edgegen.networks.base import Tensors

IMAGE_GUIDANCE = 1.5
"""What both classes draw with by default (`image_guidance_scale`)."""


def _generation(configs: PipelineConfigs) -> Generation:
    return replace(generation_from_text(configs), image_guidance=IMAGE_GUIDANCE)


def _generation_xl(configs: PipelineConfigs) -> Generation:
    plain = stable_diffusion_xl.FROM_TEXT.generation(configs)
    scaled = configs.settings.flag("is_cosxl_edit", default=False)
    return replace(plain, image_guidance=IMAGE_GUIDANCE, scaled_picture=scaled)


def _conditions(pipeline: Any, prompts: Any) -> Tensors:
    """Return the states of prompts, which this class encodes in a function of its own."""
    return {"encoder_hidden_states": pipeline._encode_prompt(list(prompts), "cpu", 1, False)}


EDIT = replace(
    stable_diffusion.FROM_TEXT,
    name="stable-diffusion-edit",
    facts=replace(stable_diffusion.FROM_TEXT.facts, starts=("edit",)),
    slots=without_pictures(stable_diffusion.FROM_TEXT.slots),
    pipelines={"StableDiffusionInstructPix2PixPipeline": PipelineClass(steps=100, guidance=7.5)},
    takes=("latents", "edited latents"),
    generation=_generation,
    reference=ReferenceCall(
        classes=("StableDiffusionInstructPix2PixPipeline",),
        conditions=_conditions,
        sized_by_picture=True,
    ),
)
EDIT_XL = replace(
    stable_diffusion_xl.FROM_TEXT,
    name="stable-diffusion-xl-edit",
    facts=EDIT.facts,
    slots=without_pictures(stable_diffusion_xl.FROM_TEXT.slots),
    pipelines={"StableDiffusionXLInstructPix2PixPipeline": PipelineClass(steps=100, guidance=5.0)},
    takes=EDIT.takes,
    generation=_generation_xl,
    reference=replace(
        stable_diffusion_xl.FROM_TEXT.reference,
        classes=("StableDiffusionXLInstructPix2PixPipeline",),
    ),
)
