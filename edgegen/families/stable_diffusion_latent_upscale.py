"""Stable Diffusion's latent upscaler: it doubles a picture, with a preconditioned denoiser.

The denoiser is told the pooled text, takes the logarithm of the noise level for a timestep, and
predicts a channel more than is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from edgegen.core.errors import SourceError
from edgegen.core.model import Generation
from edgegen.families import stable_diffusion
from edgegen.families.base import (
    PipelineClass,
    PipelineConfigs,
    ReferenceCall,
    without_pictures,
)
from edgegen.families.latents import check_text_width, generation_from_text, refuse_labels
from edgegen.networks.base import Denoiser, Tensors

LEVEL_WIDTH = 128
"""What says how much noise the picture has, before the pooled text: none, in diffusers."""
_SAMPLE_SIZE = 128
"""Of a config that says none: 512 pixels become 1024."""


def _check(configs: PipelineConfigs) -> None:
    refuse_labels(configs)
    check_text_width(configs)
    unet, config = configs.denoiser
    (text, of_text), *_ = configs.texts
    wanted = {
        "time_cond_proj_dim": (unet.guidance_width(config), LEVEL_WIDTH + text.width(of_text)),
        "out_channels": (unet.predicted(config), unet.taken(config) // 2 + 1),
    }
    for key, (found, fits) in wanted.items():
        if found != fits:
            raise SourceError(
                f"{config.path}: '{key}' is {found}, and a latent upscaler with these networks has "
                f"{fits}.",
                hint="Take the UNet, the text encoder and the autoencoder from the same version.",
            )


def _generation(configs: PipelineConfigs) -> Generation:
    """Read what the loop has to know; the embedding of the timestep isn't one of guidance."""
    plain = generation_from_text(_with_size(configs))
    return replace(plain, guidance_embedding_dim=None)


def _with_size(configs: PipelineConfigs) -> PipelineConfigs:
    """Return configs whose denoiser says a size: the published one's is null."""
    slots = dict(configs.slots)
    for name, filled in slots.items():
        data = filled.config.data
        if isinstance(filled.network, Denoiser) and data.get("sample_size") is None:
            sized = replace(filled.config, data={**data, "sample_size": _SAMPLE_SIZE})
            slots[name] = replace(filled, config=sized)
    return replace(configs, slots=slots)


def _conditions(pipeline: Any, prompts: Sequence[str]) -> Tensors:
    import torch

    states, _, pooled, _ = pipeline.encode_prompt(list(prompts), "cpu", False)
    level = torch.zeros(len(prompts), LEVEL_WIDTH)
    level[:, : LEVEL_WIDTH // 2] = 1.0
    return {"encoder_hidden_states": states, "timestep_cond": torch.cat([level, pooled], 1)}


LATENT_UPSCALE = replace(
    stable_diffusion.FROM_TEXT,
    name="stable-diffusion-latent-upscale",
    facts=replace(stable_diffusion.FROM_TEXT.facts, starts=("upscale-latents",)),
    pipelines={"StableDiffusionLatentUpscalePipeline": PipelineClass(steps=75, guidance=9.0)},
    slots=without_pictures(stable_diffusion.FROM_TEXT.slots),
    takes=("latents", "edited latents"),
    own_timesteps=True,
    check=_check,
    generation=_generation,
    text_outputs=("hidden_states.-1", "pooler_output"),
    reference=ReferenceCall(
        classes=("StableDiffusionLatentUpscalePipeline",),
        conditions=_conditions,
        sized_by_picture=True,
    ),
)
