"""PixArtTransformer2DModel: PixArt's denoiser, a transformer over patches of latents.

Its position embedding is a constant of the size, so a graph of it draws one size only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgegen.core.configs import ComponentConfig
from edgegen.core.model import TensorSpec
from edgegen.networks import probes
from edgegen.networks.base import (
    Denoiser,
    KeyRules,
    Neighbours,
    Part,
    Probe,
    Probing,
    Signature,
    Tensors,
    nothing,
    scaled,
    tensor,
)

FLOAT32_LAYERS = ("*time_proj", "*additional_condition_proj")
"""Timesteps, and sizes such as 1024, whose angles float16 would lose."""
SENSITIVE_LAYERS = ("pos_embed.*", "adaln_single.*", "caption_projection.*", "proj_out")
"""The ends of the network, and what modulates all of its blocks."""
_CONDITIONED_SIZE = 128
"""The size of the only models that take the resolution, unless their config says otherwise."""


def _signature(config: ComponentConfig, neighbours: Neighbours) -> Signature:
    height, width = (scaled(axis, neighbours.scale) for axis in ("height", "width"))
    inputs = [
        tensor("sample", "batch", _taken(config), height, width),
        tensor("timestep"),
        tensor("encoder_hidden_states", "batch", "sequence", _text_width(config)[1]),
        tensor("encoder_attention_mask", "batch", "sequence", dtype="int64"),
    ]
    if _takes_resolution(config):
        inputs += [tensor("resolution", "batch", 2), tensor("aspect_ratio", "batch", 1)]
    return tuple(inputs), (tensor("out_sample", "batch", _predicted(config), height, width),)


def _forward(network: Any, inputs: Tensors) -> Tensors:
    prediction = network(
        inputs["sample"],
        encoder_hidden_states=inputs["encoder_hidden_states"],
        timestep=inputs["timestep"].expand(inputs["sample"].shape[0]),
        added_cond_kwargs={name: inputs.get(name) for name in ("resolution", "aspect_ratio")},
        encoder_attention_mask=inputs["encoder_attention_mask"],
        return_dict=False,
    )[0]
    return {"out_sample": prediction}


def _probe_resolution(probing: Probing, _tensor: TensorSpec, shape: tuple[int, ...]) -> Any:
    import torch

    return torch.tensor([float(probing.height), float(probing.width)]).expand(shape).clone()


def _probe_aspect_ratio(probing: Probing, _tensor: TensorSpec, shape: tuple[int, ...]) -> Any:
    import torch

    return torch.full(shape, probing.height / probing.width)


_PROBES: Mapping[str, Probe] = {
    "sample": probes.noise,
    "timestep": probes.timestep,
    "encoder_hidden_states": probes.text,
    "encoder_attention_mask": probes.text,
    "resolution": _probe_resolution,
    "aspect_ratio": _probe_aspect_ratio,
}


def _probe(probing: Probing, spec: TensorSpec, shape: tuple[int, ...]) -> Any:
    return _PROBES[spec.name](probing, spec, shape)


def _taken(config: ComponentConfig) -> int:
    return config.integer("in_channels", 4)


def _predicted(config: ComponentConfig) -> int:
    predicted = config.optional_integer("out_channels")
    return _taken(config) if predicted is None else predicted


def _takes_resolution(config: ComponentConfig) -> bool:
    given = config.data.get("use_additional_conditions")
    return config.integer("sample_size", 128) == _CONDITIONED_SIZE if given is None else bool(given)


def _patch(config: ComponentConfig) -> int:
    return config.integer("patch_size", 2)


def _native_size(config: ComponentConfig, _scale: int) -> tuple[int, int]:
    side = config.integer("sample_size", 128)
    return side, side


def _text_width(config: ComponentConfig) -> tuple[str, int]:
    """Return the width of the text's states, which are projected first where the config says so."""
    if config.data.get("caption_channels") is None:
        return "cross_attention_dim", config.integer("cross_attention_dim", 1152)
    return "caption_channels", config.integer("caption_channels")


PIXART_TRANSFORMER = Denoiser(
    class_name="PixArtTransformer2DModel",
    old_names=("Transformer2DModel",),  # as PixArt-Alpha calls it
    library="diffusers",
    options={
        "norm_type": ("ada_norm_single",),
        "activation_fn": ("gelu-approximate", "gelu"),
        "attention_type": ("default",),
        "norm_elementwise_affine": (False,),
    },
    parts=(
        Part(
            role="denoiser",
            signature=_signature,
            forward=_forward,
            probe=_probe,
            fixed_axes=("height", "width"),
            float32_layers=FLOAT32_LAYERS,
            sensitive_layers=SENSITIVE_LAYERS,
        ),
    ),
    keys=KeyRules(ignored=("pos_embed.pos_embed",)),
    prunable=True,
    taken=_taken,
    predicted=_predicted,
    native_size=_native_size,
    multiple=_patch,
    reduction=_patch,
    text_width=_text_width,
    guidance_width=nothing,
)
