"""What autoencoders have in common: a decoder and an encoder, and the shapes of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgegen.core.configs import ComponentConfig
from edgegen.core.model import TensorSpec
from edgegen.networks import probes
from edgegen.networks.base import (
    NativeNames,
    NativeTensor,
    Neighbours,
    Part,
    Signature,
    Tensors,
    scaled,
    tensor,
)

_FLOAT32_LAYERS = ("*",)
"""Activations of Stable Diffusion XL's autoencoder pass 65504, the largest float16. Apple's and
optimum's converters leave autoencoders in 32 bits, too."""
_SENSITIVE_LAYERS = ("*",)
"""A few percent of a pipeline's weights, whose errors nothing behind them mends."""


def latent(config: ComponentConfig, name: str, scale: int, *, times: int = 1) -> TensorSpec:
    """Return latents, or several numbers (`times`) for each channel of them."""
    channels = times * latent_channels(config)
    return tensor(name, "batch", channels, scaled("height", scale), scaled("width", scale))


def pixels(config: ComponentConfig, key: str) -> TensorSpec:
    """Return pictures in −1…1, with as many channels as the setting `key` says."""
    return tensor("sample", "batch", config.integer(key, 3), "height", "width")


def latent_channels(config: ComponentConfig) -> int:
    """Return the channels of latents."""
    return config.integer("latent_channels", 4)


def _decoded(config: ComponentConfig, neighbours: Neighbours) -> Signature:
    return (latent(config, "latent_sample", neighbours.scale),), (pixels(config, "out_channels"),)


def _decode(network: Any, inputs: Tensors) -> Tensors:
    return {"sample": network.decode(inputs["latent_sample"], return_dict=False)[0]}


DECODER = Part(
    role="decoder",
    suffix="_decoder",
    prefixes=("decoder.", "post_quant_conv."),
    signature=_decoded,
    forward=_decode,
    probe=probes.latents,
    float32_layers=_FLOAT32_LAYERS,
    sensitive_layers=_SENSITIVE_LAYERS,
    natives={
        "coreml": NativeNames(
            file="VAEDecoder",
            tensors={
                "latent_sample": NativeTensor(name="z"),
                "sample": NativeTensor(name="image"),
            },
        )
    },
)
_ENCODER_PREFIXES = ("encoder.", "quant_conv.")
_ENCODER_COREML = NativeNames(
    file="VAEEncoder",
    tensors={
        "sample": NativeTensor(name="z"),
        "latent_parameters": NativeTensor(name="latent"),
        "latent_sample": NativeTensor(name="latent"),
    },
)


def encoder(
    signature: Callable[[ComponentConfig, Neighbours], Signature],
    forward: Callable[[Any, Tensors], Tensors],
) -> Part:
    """Return the encoder, whose output each class makes in its own way."""
    return Part(
        role="encoder",
        suffix="_encoder",
        prefixes=_ENCODER_PREFIXES,
        signature=signature,
        forward=forward,
        probe=probes.picture,
        float32_layers=_FLOAT32_LAYERS,
        sensitive_layers=_SENSITIVE_LAYERS,
        natives={"coreml": _ENCODER_COREML},
    )
