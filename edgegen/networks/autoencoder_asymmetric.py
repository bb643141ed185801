"""AsymmetricAutoencoderKL: its decoder also sees the picture around a mask (arXiv 2306.04632)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import SourceError
from edgegen.core.model import TensorSpec
from edgegen.networks import autoencoder, probes, unet
from edgegen.networks.autoencoder_kl import AUTOENCODER_KL
from edgegen.networks.base import (
    Autoencoder,
    Neighbours,
    Probe,
    Probing,
    Signature,
    Tensors,
    tensor,
)

CONDITION_PICTURE, CONDITION_MASK = "condition_picture", "condition_mask"
"""The runner's names of what a decoder is given behind a mask."""


def _decoded(config: ComponentConfig, neighbours: Neighbours) -> Signature:
    inputs, outputs = autoencoder.DECODER.signature(config, neighbours)
    picture = replace(autoencoder.pixels(config, "out_channels"), name=CONDITION_PICTURE)
    mask = tensor(CONDITION_MASK, "batch", 1, "height", "width")
    return (*inputs, picture, mask), outputs


def _decode(network: Any, inputs: Tensors) -> Tensors:
    decoded = network.decode(
        inputs["latent_sample"],
        image=inputs[CONDITION_PICTURE],
        mask=inputs[CONDITION_MASK],
        return_dict=False,
    )
    return {"sample": decoded[0]}


def _encode(network: Any, inputs: Tensors) -> Tensors:
    return {"latent_parameters": network.quant_conv(network.encoder(inputs["sample"]))}


def _probe_mask(probing: Probing, _tensor: TensorSpec, shape: tuple[int, ...]) -> Any:
    """Return a mask of ones and zeros, as pipelines make them."""
    import torch

    return (torch.rand(shape, generator=probing.generator) < 0.5).float()


_PROBES: Mapping[str, Probe] = {
    "latent_sample": probes.latents,
    CONDITION_PICTURE: probes.picture,
    CONDITION_MASK: _probe_mask,
}


def _probe(probing: Probing, spec: TensorSpec, shape: tuple[int, ...]) -> Any:
    return _PROBES[spec.name](probing, spec, shape)


def _scale(config: ComponentConfig) -> int:
    return int(2 ** (len(config.items("up_block_out_channels")) - 1))


_ENCODER = next(part for part in AUTOENCODER_KL.parts if part.role == "encoder")


def _check(config: ComponentConfig) -> None:
    """Refuse halves that disagree on how many pixels a latent has."""
    up, down = (config.items(f"{half}_block_out_channels") for half in ("up", "down"))
    if len(up) != len(down):
        raise SourceError(
            f"{config.path}: 'up_block_out_channels' has {len(up)} levels and "
            f"'down_block_out_channels' {len(down)}.",
            hint="Take the config from the model that the weights come from.",
        )


AUTOENCODER_ASYMMETRIC = Autoencoder(
    class_name="AsymmetricAutoencoderKL",
    library="diffusers",
    options=AUTOENCODER_KL.options,
    check=_check,
    parts=(
        replace(autoencoder.DECODER, signature=_decoded, forward=_decode, probe=_probe),
        replace(_ENCODER, forward=_encode),
    ),
    keys=unet.KEYS,
    scale=_scale,
    latent_channels=autoencoder.latent_channels,
    scaling_factor=AUTOENCODER_KL.scaling_factor,
)
