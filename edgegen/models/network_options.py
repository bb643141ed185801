"""Which settings of a network's config edgegen can export, into every target.

What diffusers itself refuses, or cannot run, is left out of the tables, and so is what none of its
pipelines that edgegen knows uses. `tests/exporters/test_odd_networks.py` exports all of the rest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import SourceError

Options = Mapping[str, tuple[Any, ...]]
"""Setting -> the values that it may have; where it is a list, each of its entries."""

OLD_PREFIX = "UNetRes"
"""What diffusers drops from the name of a block."""

_ACTIVATIONS = ("swish", "silu", "mish", "gelu", "relu")
_NORMS = ("default", "scale_shift")

_TEXT: Options = {
    "hidden_act": (
        *("quick_gelu", "gelu", "gelu_10", "gelu_accurate", "gelu_fast", "gelu_new"),
        *("gelu_pytorch_tanh", "linear", "mish", "relu", "relu2", "relu6", "sigmoid"),
        *("silu", "swish", "tanh"),
    ),
}
OPTIONS: Mapping[str, Options] = {
    "CLIPTextModel": _TEXT,
    "CLIPTextModelWithProjection": _TEXT,
    "UNet2DConditionModel": {
        "act_fn": _ACTIVATIONS,
        "down_block_types": (
            *("DownBlock2D", "ResnetDownsampleBlock2D", "AttnDownBlock2D"),
            *("CrossAttnDownBlock2D", "SimpleCrossAttnDownBlock2D"),
        ),
        "mid_block_type": (
            *("UNetMidBlock2DCrossAttn", "UNetMidBlock2DSimpleCrossAttn", "UNetMidBlock2D"),
            None,
        ),
        "up_block_types": (
            *("UpBlock2D", "ResnetUpsampleBlock2D", "AttnUpBlock2D"),
            *("CrossAttnUpBlock2D", "SimpleCrossAttnUpBlock2D"),
        ),
        "resnet_time_scale_shift": _NORMS,
        "time_embedding_type": ("positional", "fourier"),
        "time_embedding_act_fn": (*_ACTIVATIONS, None),
        "timestep_post_act": (*_ACTIVATIONS, None),
        "cross_attention_norm": ("layer_norm", "group_norm", None),
        "attention_type": ("default", "gated"),
        "dual_cross_attention": (False, None),
        "class_embeddings_concat": (False, None),
        "num_attention_heads": (None,),
    },
    "UNet2DModel": {
        "act_fn": _ACTIVATIONS,
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
        "resnet_time_scale_shift": _NORMS,
        "time_embedding_type": ("positional", "fourier"),
    },
    "AutoencoderKL": {
        "act_fn": _ACTIVATIONS,
        "down_block_types": ("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
        "up_block_types": ("UpDecoderBlock2D", "AttnUpDecoderBlock2D"),
    },
    "AutoencoderTiny": {
        "act_fn": _ACTIVATIONS,
        "upsample_fn": ("nearest",),
        "upsampling_scaling_factor": (2,),
    },
}
"""Class of a network -> its settings that decide which layers it has."""


def check_options(config: ComponentConfig, class_name: str) -> None:
    """Raise SourceError that names a setting, and the values it may have, where one is another."""
    for key, allowed in OPTIONS.get(class_name, {}).items():
        if key not in config.data:
            continue
        value = config.items(key) if key.endswith("_types") else config.data[key]
        for item in value if isinstance(value, list) else [value]:
            if not _is_one_of(item, allowed):
                known = ", ".join(json.dumps(other) for other in allowed)
                shown = json.dumps(item)[:80]
                raise SourceError(
                    f"{config.path}: '{key}' is {shown}, which edgegen cannot export.",
                    hint=f"Choose another model. For a {class_name}, edgegen knows {known}.",
                )
    if class_name == "AutoencoderTiny":
        _check_levels(config)


def _is_one_of(item: Any, allowed: tuple[Any, ...]) -> bool:
    if not isinstance(item, str):
        return any(item is other or (type(item) is int and item == other) for other in allowed)
    # as diffusers reads them: activations in any case, blocks also by their names of 2022
    return item.lower() in allowed or item.removeprefix(OLD_PREFIX) in allowed


def _check_levels(tiny: ComponentConfig) -> None:
    """Raise SourceError for a tiny autoencoder whose halves differ, or whose levels do."""
    channels = [tiny.data.get(f"{half}_block_out_channels") for half in ("encoder", "decoder")]
    given = [each for each in channels if isinstance(each, list)]
    if len({*map(str, given)}) > 1 or any(len({*map(str, each)}) > 1 for each in given):
        raise SourceError(
            f"{tiny.path}: 'encoder_block_out_channels' and 'decoder_block_out_channels' are "
            f"{' and '.join(map(str, given))}; an AutoencoderTiny has one number of channels.",
            hint="Take the config from the model that the weights come from.",
        )
