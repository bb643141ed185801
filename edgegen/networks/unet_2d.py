"""UNet2DModel: a denoiser that works on pixels, without a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgegen.core.configs import ComponentConfig
from edgegen.core.model import DType, TensorSpec
from edgegen.networks import feature_cache, probes, unet
from edgegen.networks.base import (
    Caching,
    Denoiser,
    Neighbours,
    Part,
    Probe,
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
    # a learned embedding has a row for each timestep
    kind: DType = "int64" if config.data.get("time_embedding_type") == "learned" else "float32"
    return (sample, tensor("timestep", dtype=kind), *unet.labels_of(config)), (out,)


def _forward(network: Any, inputs: Tensors) -> Tensors:
    with feature_cache.overheard(network) as heard:
        prediction = network(
            inputs["sample"],
            inputs["timestep"],
            class_labels=inputs.get(unet.LABELS),
            return_dict=False,
        )[0]
    return {"out_sample": prediction, **heard}


def _shallow_forward(network: Any, inputs: Tensors) -> Tensors:
    """Compute the layers that every step computes, as `UNet2DModel.forward` does."""
    sample = inputs["sample"]
    if network.config.center_input_sample:
        sample = 2 * sample - 1.0
    moment = inputs["timestep"].expand(sample.shape[0])
    embedding = network.time_embedding(network.time_proj(moment).to(sample.dtype))
    if network.class_embedding is not None:
        embedding = embedding + network.class_embedding(inputs[unet.LABELS])
    prediction = feature_cache.last_layer(
        network, inputs[feature_cache.FEATURES], network.conv_in(sample), embedding
    )
    if network.config.time_embedding_type == "fourier":
        prediction = prediction / moment.reshape(-1, 1, 1, 1)
    return {"out_sample": prediction}


def _shallow_prefixes(config: ComponentConfig) -> tuple[str, ...]:
    return (*feature_cache.shallow_prefixes(config), "class_embedding.")


_PROBES: Mapping[str, Probe] = {
    "sample": probes.noise,
    "timestep": probes.timestep,
    unet.LABELS: probes.labels,
    feature_cache.FEATURES: probes.features,
}


def _probe(probing: Probing, spec: TensorSpec, shape: tuple[int, ...]) -> Any:
    return _PROBES[spec.name](probing, spec, shape)


def _taken(config: ComponentConfig) -> int:
    return config.integer("in_channels", 3)


def _predicted(config: ComponentConfig) -> int:
    return config.integer("out_channels", 3)


def _check(config: ComponentConfig) -> None:
    """Refuse a learned embedding of an unknown number of timesteps."""
    if config.data.get("time_embedding_type") == "learned":
        config.integer("num_train_timesteps")


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
        "time_embedding_type": ("positional", "fourier", "learned"),
        "mid_block_type": ("UNetMidBlock2D", None),
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
    check=_check,
    keys=unet.KEYS,
    prunable=True,
    taken=_taken,
    predicted=_predicted,
    native_size=unet.sample_size,
    multiple=unet.reduction,  # each level doubles what was halved on the way down
    reduction=unet.reduction,
    text_width=nothing,
    guidance_width=nothing,
    classes=unet.classes,
    caching=Caching(
        signature=feature_cache.whole_signature(_signature),
        part=Part(
            role="shallow_denoiser",
            signature=feature_cache.shallow_signature(_signature),
            forward=_shallow_forward,
            probe=_probe,
            suffix=feature_cache.SUFFIX,
            float32_layers=unet.FLOAT32_LAYERS,
            sensitive_layers=unet.SENSITIVE_LAYERS,
            natives={"coreml": unet.COREML_SHALLOW},
        ),
        prefixes=_shallow_prefixes,
        check=feature_cache.check_last_block,
        kept=feature_cache.kept_modules,
    ),
)
