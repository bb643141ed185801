"""Stable Diffusion XL, its inpainting models and its refiner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from edgegen.core.model import Generation
from edgegen.families import stable_diffusion
from edgegen.families.base import Family, PipelineClass, PipelineConfigs, ReferenceCall, Slot
from edgegen.families.latents import check_networks, encode_prompt, generation_from_text
from edgegen.networks.base import Tensors

_PROJECTED = Slot(
    name="text_encoder_2", classes=("CLIPTextModelWithProjection",), tokenizer="tokenizer_2"
)
_TEXT, _PICTURE, _UNET, _VAE = stable_diffusion.FROM_TEXT.slots

# diffusers has another default behind a mask, whichever class the model was saved with
_DEFAULTS = PipelineClass(steps=50, guidance=5.0, inpaint_guidance=7.5)
_PIPELINES: Mapping[str, PipelineClass] = {
    "StableDiffusionXLPipeline": _DEFAULTS,
    "StableDiffusionXLImg2ImgPipeline": _DEFAULTS,
    "StableDiffusionXLInpaintPipeline": _DEFAULTS,
}


def _generation(configs: PipelineConfigs) -> Generation:
    plain = generation_from_text(configs)
    mean, std = _latent_statistics(configs)
    return replace(
        plain,
        latents_mean=mean,
        latents_std=std,
        force_zeros_for_empty_prompt=configs.settings.flag(
            "force_zeros_for_empty_prompt", default=True
        ),
    )


def _latent_statistics(
    configs: PipelineConfigs,
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Return mean and deviation of each channel of latents, where the autoencoder has both.

    Stable Diffusion's pipelines never look at them.
    """
    found = configs.autoencoder
    keys = ("latents_mean", "latents_std")
    if found is None or any(found[1].data.get(key) is None for key in keys):
        return None, None
    network, config = found
    channels = network.latent_channels(config)
    return config.numbers("latents_mean", channels), config.numbers("latents_std", channels)


def _conditions(pipeline: Any, prompts: Sequence[str]) -> Tensors:
    states, _, pooled, _ = encode_prompt(pipeline, prompts)
    return {"encoder_hidden_states": states, "text_embeds": pooled}


FROM_TEXT = Family(
    name="stable-diffusion-xl",
    facts=stable_diffusion.FROM_TEXT.facts,
    pipelines=_PIPELINES,
    slots=(_TEXT, _PROJECTED, _PICTURE, _UNET, _VAE),
    check=check_networks,
    generation=_generation,
    text_outputs=("hidden_states.-2", "text_embeds", "pooler_output"),
    steered={
        "ControlNetModel": "StableDiffusionXLControlNetPipeline",
        "T2IAdapter": "StableDiffusionXLAdapterPipeline",
    },
    reference=ReferenceCall(classes=("StableDiffusionXLPipeline",), conditions=_conditions),
)
INPAINT = replace(
    FROM_TEXT,
    name="stable-diffusion-xl-inpaint",
    facts=replace(FROM_TEXT.facts, starts=("mask",)),
    pipelines={
        name: PipelineClass(steps=50, guidance=7.5 if "Inpaint" in name else 5.0)
        for name in _PIPELINES
    },
    takes=("latents", "mask", "masked latents"),
    reference=replace(FROM_TEXT.reference, classes=("StableDiffusionXLInpaintPipeline",)),
)
REFINER = replace(
    FROM_TEXT,
    name="stable-diffusion-xl-refiner",
    facts=replace(FROM_TEXT.facts, starts=("picture", "mask")),
    slots=(_PROJECTED, _UNET, _VAE),
    steered={},
    without=("text_encoder",),
    reference=replace(
        FROM_TEXT.reference, classes=("StableDiffusionXLImg2ImgPipeline",), sized_by_picture=True
    ),
)
