"""AutoencoderTiny: a small autoencoder, whose encoder gives the latents themselves."""

from __future__ import annotations

from typing import Any

from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import SourceError
from edgegen.networks import autoencoder, unet
from edgegen.networks.base import Autoencoder, Neighbours, Signature, Tensors


def _encoded(config: ComponentConfig, neighbours: Neighbours) -> Signature:
    latents = autoencoder.latent(config, "latent_sample", neighbours.scale)
    return (autoencoder.pixels(config, "in_channels"),), (latents,)


def _encode(network: Any, inputs: Tensors) -> Tensors:
    return {"latent_sample": network.encode(inputs["sample"], return_dict=False)[0]}


def _check_levels(config: ComponentConfig) -> None:
    """Raise SourceError where the halves differ, or the levels of one do."""
    channels = [config.data.get(f"{half}_block_out_channels") for half in ("encoder", "decoder")]
    given = [each for each in channels if isinstance(each, list)]
    if len({*map(str, given)}) > 1 or any(len({*map(str, each)}) > 1 for each in given):
        raise SourceError(
            f"{config.path}: 'encoder_block_out_channels' and 'decoder_block_out_channels' are "
            f"{' and '.join(map(str, given))}; an AutoencoderTiny has one number of channels.",
            hint="Take the config from the model that the weights come from.",
        )


def _scale(config: ComponentConfig) -> int:
    key = "block_out_channels"
    if key not in config.data and "decoder_block_out_channels" in config.data:
        key = "decoder_block_out_channels"  # before diffusers saved it
    return int(2 ** (len(config.items(key)) - 1))


def _scaling_factor(config: ComponentConfig) -> float:
    return config.number("scaling_factor", 1.0)


AUTOENCODER_TINY = Autoencoder(
    class_name="AutoencoderTiny",
    library="diffusers",
    options={
        "act_fn": unet.ACTIVATIONS,
        "upsample_fn": ("nearest",),
        "upsampling_scaling_factor": (2,),
    },
    check=_check_levels,
    parts=(autoencoder.DECODER, autoencoder.encoder(_encoded, _encode)),
    scale=_scale,
    latent_channels=autoencoder.latent_channels,
    scaling_factor=_scaling_factor,
)
