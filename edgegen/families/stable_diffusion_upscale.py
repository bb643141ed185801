"""Stable Diffusion that enlarges a picture fourfold: its latents are as large as the picture."""

from __future__ import annotations

from dataclasses import replace

from edgegen.core.errors import SourceError
from edgegen.core.model import Generation
from edgegen.families import stable_diffusion
from edgegen.families.base import PipelineClass, PipelineConfigs, ReferenceCall, Slot
from edgegen.families.latents import (
    check_prediction,
    check_text_width,
    generation_from_text,
    text_states,
)

NOISE_LEVEL = 20
"""What diffusers adds to a small picture by default."""
MOST_NOISE_LEVEL = 350
SCALING_FACTOR = 0.08333
"""diffusers decodes with it, whatever the autoencoder's config says."""

LOW_RES_SCHEDULER = "low_res_scheduler"
"""The entry that adds noise to the small picture."""

_TEXT, _, _UNET, _ = stable_diffusion.FROM_TEXT.slots


def _check(configs: PipelineConfigs) -> None:
    check_text_width(configs)
    check_prediction(configs, latents=1)
    _check_low_res(configs)
    unet, config = configs.denoiser
    known, most = unet.classes(config), _most_noise_level(configs)
    if known is None or known <= most:
        raise SourceError(
            f"{config.path}: this UNet knows {known or 'no'} class labels ('num_class_embeds'), "
            f"and is told noise levels up to {most} by them.",
            hint="Take the UNet and model_index.json from the same version of the model.",
        )


def _check_low_res(configs: PipelineConfigs) -> None:
    """Refuse a pipeline whose small pictures get noise of anything but DDPM."""
    entry = configs.settings.data.get(LOW_RES_SCHEDULER)
    if entry != ["diffusers", "DDPMScheduler"]:
        raise SourceError(
            f"{configs.settings.path}: the '{LOW_RES_SCHEDULER}' is {entry!r}, and diffusers "
            f"takes a DDPMScheduler there.",
            hint="Save the whole pipeline, as its authors published it.",
        )


def _most_noise_level(configs: PipelineConfigs) -> int:
    return configs.settings.integer("max_noise_level", MOST_NOISE_LEVEL)


def _generation(configs: PipelineConfigs) -> Generation:
    most = _most_noise_level(configs)
    return replace(
        generation_from_text(configs),
        scaling_factor=SCALING_FACTOR,
        noise_level=min(NOISE_LEVEL, most),
        most_noise_level=most,
    )


UPSCALE = replace(
    stable_diffusion.FROM_TEXT,
    name="stable-diffusion-upscale",
    facts=replace(stable_diffusion.FROM_TEXT.facts, starts=("upscale",)),
    pipelines={"StableDiffusionUpscalePipeline": PipelineClass(steps=75, guidance=9.0)},
    slots=(_TEXT, _UNET, Slot(name="vae", classes=("AutoencoderKL",), roles=("decoder",))),
    takes=("latents", "small picture"),
    schedulers=(LOW_RES_SCHEDULER,),
    check=_check,
    generation=_generation,
    reference=ReferenceCall(
        classes=("StableDiffusionUpscalePipeline",), conditions=text_states, sized_by_picture=True
    ),
)
