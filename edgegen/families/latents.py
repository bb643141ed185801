"""What families have in common that draw latents from a text, and decode them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from edgegen.core.errors import SourceError
from edgegen.core.model import Generation
from edgegen.families.base import PipelineConfigs
from edgegen.networks.base import Tensors

_TEXT_PX = 8
"""diffusers' pipelines take sizes that it divides, whatever their networks do."""


def check_networks(configs: PipelineConfigs) -> None:
    """Raise SourceError where text encoders, denoiser and autoencoder don't fit one another."""
    refuse_labels(configs)
    check_text_width(configs)
    check_prediction(configs, latents=1)


def refuse_labels(configs: PipelineConfigs) -> None:
    """Refuse a denoiser that takes class labels, which its pipeline doesn't give."""
    denoiser, config = configs.denoiser
    if denoiser.classes(config) is not None:
        raise SourceError(
            f"{config.path}: this UNet takes class labels ('num_class_embeds'), which a "
            f"{configs.class_name} does not give.",
            hint="Choose the pipeline class that does, or a UNet without them.",
        )


def check_text_width(configs: PipelineConfigs) -> None:
    """Refuse text encoders whose states are not as wide as the denoiser takes them."""
    denoiser, config = configs.denoiser
    found = denoiser.text_width(config)
    if found is None:
        return
    key, wanted = found
    given = [text.width(it) for text, it in configs.texts]
    if isinstance(wanted, int) and wanted != sum(given):
        raise SourceError(
            f"{config.path}: '{key}' is {wanted}, the text encoders give "
            f"{' + '.join(map(str, given))}.",
            hint="Take the denoiser and the text encoders from the same version of the model.",
        )


def check_prediction(configs: PipelineConfigs, *, latents: int) -> None:
    """Refuse a denoiser that predicts another number of channels than `latents` latents have."""
    denoiser, config = configs.denoiser
    predicted, channels = denoiser.predicted(config), latent_channels(configs)
    if predicted != latents * channels:
        raise SourceError(
            f"{config.path}: the denoiser predicts {predicted} channels, the autoencoder's latents "
            f"have {channels}.",
            hint="Take the denoiser and the autoencoder from the same version of the model.",
        )


def generation_from_text(configs: PipelineConfigs) -> Generation:
    """Read what the denoising loop has to know from the configurations."""
    denoiser, config = configs.denoiser
    scale = pixels_a_latent(configs)
    width, height = denoiser.native_size(config, scale)
    found = configs.autoencoder
    return Generation(
        width=width * scale,
        height=height * scale,
        latent_channels=latent_channels(configs),
        vae_scale_factor=scale,
        latent_multiple=math.lcm(denoiser.multiple(config), _TEXT_PX // math.gcd(_TEXT_PX, scale)),
        scaling_factor=1.0 if found is None else found[0].scaling_factor(found[1]),
        text_length=configs.text_length,
        guidance_embedding_dim=denoiser.guidance_width(config),
        requires_aesthetics_score=configs.settings.flag("requires_aesthetics_score", default=False),
    )


def pixels_a_latent(configs: PipelineConfigs) -> int:
    """Return how many pixels a latent covers, 1 where the pipeline works on pixels."""
    found = configs.autoencoder
    return 1 if found is None else found[0].scale(found[1])


def latent_channels(configs: PipelineConfigs) -> int:
    """Return the channels of latents, those of pixels where the pipeline works on these."""
    found = configs.autoencoder
    if found is None:
        denoiser, config = configs.denoiser
        return denoiser.taken(config)
    return found[0].latent_channels(found[1])


def text_states(pipeline: Any, prompts: Sequence[str]) -> Tensors:
    """Return the states that Stable Diffusion's pipelines make of prompts."""
    return {"encoder_hidden_states": encode_prompt(pipeline, prompts)[0]}


def encode_prompt(pipeline: Any, prompts: Sequence[str], **options: Any) -> Any:
    """Return what a pipeline's `encode_prompt` does, without an empty prompt to compare with."""
    return pipeline.encode_prompt(
        list(prompts),
        device="cpu",
        num_images_per_prompt=1,
        do_classifier_free_guidance=False,
        **options,
    )
