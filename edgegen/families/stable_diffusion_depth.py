"""Stable Diffusion 2 that redraws a picture and keeps to its depth, which comes with the picture.

The network that estimates depths isn't exported: a depth map is given.
"""

from __future__ import annotations

from dataclasses import replace

from edgegen.families import stable_diffusion
from edgegen.families.base import PipelineClass, ReferenceCall, without_pictures
from edgegen.families.latents import text_states

DEPTH = replace(
    stable_diffusion.FROM_TEXT,
    name="stable-diffusion-depth",
    facts=replace(stable_diffusion.FROM_TEXT.facts, starts=("depth",)),
    slots=without_pictures(stable_diffusion.FROM_TEXT.slots),
    pipelines={"StableDiffusionDepth2ImgPipeline": PipelineClass(steps=50, guidance=7.5)},
    takes=("latents", "depth"),
    reference=ReferenceCall(
        classes=("StableDiffusionDepth2ImgPipeline",), conditions=text_states, sized_by_picture=True
    ),
)
