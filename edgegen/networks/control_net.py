"""ControlNetModel: a copy of the half of a UNet that looks at a picture, and steers that UNet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import SourceError
from edgegen.core.model import TensorSpec
from edgegen.networks import probes, residuals, unet, unet_2d_condition
from edgegen.networks.base import (
    NativeNames,
    Neighbours,
    Part,
    Probing,
    Signature,
    Steering,
    Tensors,
    scaled,
    tensor,
)

PICTURE = "controlnet_cond"


def _signature(config: ComponentConfig, neighbours: Neighbours) -> Signature:
    unet.refuse_conditions(config)
    _check_scale(config, neighbours.scale)
    height, width = (scaled(axis, neighbours.scale) for axis in ("height", "width"))
    inputs = (
        tensor("sample", "batch", config.integer("in_channels", 4), height, width),
        tensor("timestep"),
        *unet_2d_condition.text_inputs(config, neighbours),
    )
    outputs = residuals.residuals(config, neighbours.scale)
    if config.flag("global_pool_conditions", default=False):  # as in ControlNet-Shuffle
        outputs = tuple(replace(it, shape=(*it.shape[:2], 1, 1)) for it in outputs)
    return (*inputs, tensor(PICTURE, "batch", 3, "height", "width")), outputs


def _check_scale(config: ComponentConfig, scale: int) -> None:
    """Refuse a ControlNet that halves its picture to another size than that of the latents."""
    halvings = len(config.items("conditioning_embedding_out_channels")) - 1
    if 1 << halvings != scale:
        raise SourceError(
            f"{config.path}: 'conditioning_embedding_out_channels' halves the picture "
            f"{halvings} times, and a latent is {scale} pixels wide.",
            hint="Take the ControlNet and the autoencoder from the same kind of model.",
        )


def _check(config: ComponentConfig) -> None:
    if not isinstance(config.data.get("cross_attention_dim", 1280), int):
        raise SourceError(
            f"{config.path}: 'cross_attention_dim' is {config.data['cross_attention_dim']!r}, not "
            "a number.",
            hint="Take the config.json that belongs to these weights.",
        )


def _forward(network: Any, inputs: Tensors) -> Tensors:
    down, middle = network(
        inputs["sample"],
        inputs["timestep"],
        inputs["encoder_hidden_states"],
        inputs[PICTURE],
        added_cond_kwargs=unet_2d_condition.added_conditions(inputs) or None,
        return_dict=False,
    )
    return {residuals.name_of(index): it for index, it in enumerate((*down, middle))}


def _probe(probing: Probing, spec: TensorSpec, shape: tuple[int, ...]) -> Any:
    if spec.name != PICTURE:
        return unet_2d_condition.probe(probing, spec, shape)
    return probes.levels(probing, spec, shape)


CONTROL_NET = Steering(
    class_name="ControlNetModel",
    library="diffusers",
    options={
        "act_fn": unet.ACTIVATIONS,
        "down_block_types": tuple(sorted(residuals.BLOCKS)),
        "mid_block_type": ("UNetMidBlock2DCrossAttn", "UNetMidBlock2D"),
        "resnet_time_scale_shift": unet.NORMS,
        "conditioning_channels": (3,),
        "controlnet_conditioning_channel_order": ("rgb", "bgr"),
        "encoder_hid_dim_type": (None,),
        "encoder_hid_dim": (None,),
        "num_attention_heads": (None,),
    },
    parts=(
        Part(
            role="controlnet",
            signature=_signature,
            forward=_forward,
            probe=_probe,
            float32_layers=unet.FLOAT32_LAYERS,
            sensitive_layers=(
                *unet.SENSITIVE_LAYERS,
                *(
                    "controlnet_cond_embedding.*",
                    "controlnet_down_blocks.*",
                    "controlnet_mid_block",
                ),
            ),
            natives={"coreml": NativeNames(file="ControlNet{number}", tensors=unet.COREML.tensors)},
        ),
    ),
    check=_check,
    keys=unet.KEYS,
)
