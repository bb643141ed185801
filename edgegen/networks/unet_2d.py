"""UNet2DModel: a denoiser that works on pixels, without a text."""

from __future__ import annotations

from typing import Any

from edgegen.core.configs import ComponentConfig
from edgegen.core.model import TensorSpec
from edgegen.networks import probes, unet
from edgegen.networks.base import (
    Denoiser,
    Neighbours,
    Part,
    Probing,
    Signature,
    Tensors,
    nothing,
    tensor,
)


def _signature(config: ComponentConfig, _: Neighbours) -> Signature:
    unet.refuse_conditions(config)
    sample = tensor("sample", "batch", _taken(config), "height", "width")
    out = tensor("out_sample", "batch", _predicted(config), "height", "width")
    return (sample, tensor("timestep")), (out,)


def _forward(network: Any, inputs: Tensors) -> Tensors:
    prediction = network(inputs["sample"], inputs["timestep"], return_dict=False)[0]
    return {"out_sample": prediction}


def _probe(probing: Probing, spec: TensorSpec, shape: tuple[int, ...]) -> Any:
    make = probes.timestep if spec.name == "timestep" else probes.noise
    return make(probing, spec, shape)


def _taken(config: ComponentConfig) -> int:
    return config.integer("in_channels", 3)


def _predicted(config: ComponentConfig) -> int:
    return config.integer("out_channels", 3)


UNET_2D = Denoiser(
    class_name="UNet2DModel",
    library="diffusers",
    options={
        "act_fn": unet.ACTIVATIONS,
        "down_block_types": (
            *("DownBlock2D", "ResnetDownsampleBlock2D", "AttnDownBlock2D"),
            *("SkipDownBlock2D", "AttnSkipDownBlock2D"),
        ),
        "up_block_types": (
            *("UpBlock2D", "ResnetUpsampleBlock2D", "AttnUpBlock2D"),
            *("SkipUpBlock2D", "AttnSkipUpBlock2D"),
        ),
        "downsample_type": ("conv", "resnet"),
        "upsample_type": ("conv", "resnet"),
        "resnet_time_scale_shift": unet.NORMS,
        "time_embedding_type": ("positional", "fourier"),
    },
    parts=(
        Part(
            role="denoiser",
            signature=_signature,
            forward=_forward,
            probe=_probe,
            float32_layers=unet.FLOAT32_LAYERS,
            sensitive_layers=unet.SENSITIVE_LAYERS,
            natives={"coreml": unet.COREML},
        ),
    ),
    keys=unet.KEYS,
    taken=_taken,
    predicted=_predicted,
    native_size=unet.sample_size,
    multiple=unet.reduction,  # each level doubles what was halved on the way down
    reduction=unet.reduction,
    text_width=nothing,
    guidance_width=nothing,
)
