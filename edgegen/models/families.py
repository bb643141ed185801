"""What edgegen knows of each pipeline class, component class and family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from edgegen.core.model import Family, FamilyFacts, Generation
from edgegen.core.target import TargetSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineClass:
    """A diffusers pipeline class.

    `family` is that of its plain form: a UNet with more input channels can make another of it.
    `steps` and `guidance` are the defaults of the class's `__call__` in diffusers 0.42, so that
    the same command makes the same image in both.
    `components` are the entries of `model_index.json` that are exported.
    """

    family: Family
    steps: int
    guidance: float
    components: tuple[str, ...]


_SD = ("text_encoder", "unet", "vae")
_SDXL = ("text_encoder", "text_encoder_2", "unet", "vae")

PIPELINE_CLASSES: Mapping[str, PipelineClass] = {
    "StableDiffusionPipeline": PipelineClass(
        family="stable-diffusion", steps=50, guidance=7.5, components=_SD
    ),
    "StableDiffusionImg2ImgPipeline": PipelineClass(
        family="stable-diffusion", steps=50, guidance=7.5, components=_SD
    ),
    "StableDiffusionInpaintPipeline": PipelineClass(
        family="stable-diffusion", steps=50, guidance=7.5, components=_SD
    ),
    "LatentConsistencyModelPipeline": PipelineClass(
        family="latent-consistency", steps=4, guidance=8.5, components=_SD
    ),
    "LatentConsistencyModelImg2ImgPipeline": PipelineClass(
        family="latent-consistency", steps=4, guidance=8.5, components=_SD
    ),
    "StableDiffusionXLPipeline": PipelineClass(
        family="stable-diffusion-xl", steps=50, guidance=5.0, components=_SDXL
    ),
    "StableDiffusionXLImg2ImgPipeline": PipelineClass(
        family="stable-diffusion-xl", steps=50, guidance=5.0, components=_SDXL
    ),
    "StableDiffusionXLInpaintPipeline": PipelineClass(
        family="stable-diffusion-xl", steps=50, guidance=7.5, components=_SDXL
    ),
    "DDPMPipeline": PipelineClass(
        family="unconditional", steps=1000, guidance=1.0, components=("unet",)
    ),
    "DDIMPipeline": PipelineClass(
        family="unconditional", steps=50, guidance=1.0, components=("unet",)
    ),
}

_FROM_TEXT = FamilyFacts(
    guidance="classifier-free",
    takes_text=True,
    takes_negative_prompt=True,
    starts=("noise", "picture", "mask"),
)
_FACTS: Mapping[Family, FamilyFacts] = {
    "stable-diffusion": _FROM_TEXT,
    "stable-diffusion-inpaint": replace(_FROM_TEXT, starts=("mask",)),
    "latent-consistency": replace(_FROM_TEXT, guidance="embedded", takes_negative_prompt=False),
    "stable-diffusion-xl": _FROM_TEXT,
    "stable-diffusion-xl-inpaint": replace(_FROM_TEXT, starts=("mask",)),
    "stable-diffusion-xl-refiner": replace(_FROM_TEXT, starts=("picture", "mask")),
    "unconditional": FamilyFacts(
        guidance="none", takes_text=False, takes_negative_prompt=False, starts=("noise",)
    ),
}

COMPONENT_CLASSES: Mapping[str, tuple[str, ...]] = {
    "text_encoder": ("CLIPTextModel", "CLIPTextModelWithProjection"),
    "text_encoder_2": ("CLIPTextModel", "CLIPTextModelWithProjection"),
    "unet": ("UNet2DConditionModel", "UNet2DModel"),
    "vae": ("AutoencoderKL", "AutoencoderTiny"),
}

TOKENIZER_CLASSES = ("CLIPTokenizer", "CLIPTokenizerFast")

NOT_EXPORTED = (
    "safety_checker",
    "feature_extractor",
    "image_encoder",
    "watermark",
    "watermarker",
)
"""Optional entries that pipelines list and packages leave out."""


def held_families(target: TargetSpec) -> tuple[Family, ...]:
    """Return the families of which a target holds packages."""
    return tuple(family for family in _FACTS if target.lacks(family) is None)


def facts_of(family: Family, generation: Generation) -> FamilyFacts:
    """Return what a pipeline of a family takes.

    Any family's denoiser may have been distilled with the guidance scale as an input.
    """
    facts = _FACTS[family]
    if generation.guidance_embedding_dim is None:
        return facts
    return replace(facts, guidance="embedded")
