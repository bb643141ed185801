"""Stable Diffusion 1 and 2, and their inpainting models."""

from __future__ import annotations

from dataclasses import replace

from edgegen.core.model import FamilyFacts
from edgegen.families.base import Family, PipelineClass, ReferenceCall, Slot
from edgegen.families.latents import check_networks, generation_from_text, text_states

_DEFAULTS = PipelineClass(steps=50, guidance=7.5)

FROM_TEXT = Family(
    name="stable-diffusion",
    facts=FamilyFacts(
        guidance="classifier-free",
        takes_text=True,
        takes_negative_prompt=True,
        starts=("noise", "picture", "mask"),
    ),
    pipelines={
        "StableDiffusionPipeline": _DEFAULTS,
        "StableDiffusionImg2ImgPipeline": _DEFAULTS,
        "StableDiffusionInpaintPipeline": _DEFAULTS,
    },
    slots=(
        Slot(
            name="text_encoder",
            classes=("CLIPTextModel",),
            tokenizer="tokenizer",
            advice="One without projection can be read from weights that have one: write "
            "CLIPTextModel in model_index.json.",
        ),
        Slot(name="image_encoder", classes=("CLIPVisionModelWithProjection",), shows_pictures=True),
        Slot(name="unet", classes=("UNet2DConditionModel",)),
        Slot(name="vae", classes=("AutoencoderKL", "AutoencoderTiny", "AsymmetricAutoencoderKL")),
    ),
    check=check_networks,
    generation=generation_from_text,
    text_outputs=("last_hidden_state", "pooler_output"),
    steered={
        "ControlNetModel": "StableDiffusionControlNetPipeline",
        "T2IAdapter": "StableDiffusionAdapterPipeline",
    },
    reference=ReferenceCall(classes=("StableDiffusionPipeline",), conditions=text_states),
)
INPAINT = replace(
    FROM_TEXT,
    name="stable-diffusion-inpaint",
    facts=replace(FROM_TEXT.facts, starts=("mask",)),
    takes=("latents", "mask", "masked latents"),
    reference=replace(FROM_TEXT.reference, classes=("StableDiffusionInpaintPipeline",)),
)
