"""AutoencoderKL: latents with a mean and a variance."""

from __future__ import annotations

from typing import Any

from edgegen.core.configs import ComponentConfig
from edgegen.networks import autoencoder, unet
from edgegen.networks.base import Autoencoder, Neighbours, Signature, Tensors


def _encoded(config: ComponentConfig, neighbours: Neighbours) -> Signature:
    """Return pictures to means, then log variances: twice the channels of latents."""
    moments = autoencoder.latent(config, "latent_parameters", neighbours.scale, times=2)
    return (autoencoder.pixels(config, "in_channels"),), (moments,)


def _encode(network: Any, inputs: Tensors) -> Tensors:
    # `encode` would go on to a distribution, of which a package has no use
    return {"latent_parameters": network._encode(inputs["sample"])}


def _scaling_factor(config: ComponentConfig) -> float:
    return config.number("scaling_factor", 0.18215)


AUTOENCODER_KL = Autoencoder(
    class_name="AutoencoderKL",
    library="diffusers",
    options={
        "act_fn": unet.ACTIVATIONS,
        "down_block_types": ("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
        "up_block_types": ("UpDecoderBlock2D", "AttnUpDecoderBlock2D"),
    },
    parts=(autoencoder.DECODER, autoencoder.encoder(_encoded, _encode)),
    keys=unet.KEYS,
    scale=unet.reduction,
    latent_channels=autoencoder.latent_channels,
    scaling_factor=_scaling_factor,
)
