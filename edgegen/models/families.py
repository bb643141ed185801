"""What edgegen knows of each pipeline class, component class and family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgegen.core.model import Family


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

ENCODER_PREFIXES = ("encoder.", "quant_conv.")
DECODER_PREFIXES = ("decoder.", "post_quant_conv.")
"""Which keys of an autoencoder belong to which of the two components that it makes."""
