"""What diffusers' UNets and, in part, its autoencoders have in common."""

from __future__ import annotations

import re
from collections.abc import Iterator

from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import SourceError
from edgegen.core.model import TensorSpec
from edgegen.networks.base import KeyRules, NativeNames, NativeTensor

OLD_PREFIX = "UNetRes"
"""What diffusers drops from the name of a block."""
ACTIVATIONS = ("swish", "silu", "mish", "gelu", "relu")
NORMS = ("default", "scale_shift")
MAXIMUM_SIDE_PX = 8192
"""As of pictures that are read; the largest models draw 1024 or 2048."""

FLOAT32_LAYERS = ("*time_proj",)
"""A timestep such as 873.4 has no float16, and the angles of its embedding would be off by up to a
quarter of a radian; diffusers computes them in 32 bits too."""

SENSITIVE_LAYERS = (
    *("conv_in", "conv_out", "time_embedding.*", "add_embedding.*", "*time_emb_proj"),
    *("encoder_hid_proj*", "time_embed_act*", "time_cond_proj", "class_embedding*"),
)
"""The ends of the network, and what brings the timestep and further conditions in: together they
are a few percent of its weights, and each of their errors reaches all layers behind."""

_REFUSED_CONDITIONS = {
    "class_embed_type": "class labels",
}
_OLD_ATTENTION = re.compile(
    r"(?P<block>(?:.*\.)?attentions\.\d+\.)(?P<layer>query|key|value|proj_attn)"
    r"(?P<kind>\.weight|\.bias)"
)
_NEW_LAYERS = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def newer_attention(key: str) -> Iterator[str]:
    """Yield the name since diffusers 0.14 of an attention's layer that was saved before."""
    if match := _OLD_ATTENTION.fullmatch(key):
        yield match["block"] + _NEW_LAYERS[match["layer"]] + match["kind"]


KEYS = KeyRules(newer=newer_attention)
LABELS = "class_labels"
COREML_SHALLOW = NativeNames(
    file="UnetShallow",
    tensors={
        "encoder_hidden_states": NativeTensor(
            name="encoder_hidden_states", layout="channels-first"
        ),
        "out_sample": NativeTensor(name="noise_pred"),
    },
)
"""Apple's package doesn't know it; its tensors are called as those of the whole UNet."""
COREML = NativeNames(
    file="Unet",
    steered_file="ControlledUnet",
    tensors={
        "encoder_hidden_states": NativeTensor(
            name="encoder_hidden_states", layout="channels-first"
        ),
        "out_sample": NativeTensor(name="noise_pred"),
    },
    chunked=True,
)


def refuse_conditions(config: ComponentConfig) -> None:
    """Raise SourceError for a UNet that wants more than a text."""
    for key, what in _REFUSED_CONDITIONS.items():
        if config.data.get(key) is not None:
            raise SourceError(
                f"{config.path}: this UNet takes {what} ('{key}'), which edgegen cannot feed.",
                hint="Choose a model that is conditioned on text alone, or on nothing.",
            )


def classes(config: ComponentConfig) -> int | None:
    """Return how many class labels a UNet has an embedding of, None without."""
    return config.optional_integer("num_class_embeds")


def labels_of(config: ComponentConfig) -> tuple[TensorSpec, ...]:
    """Return the input of class labels, one a sample, where a UNet has one."""
    if classes(config) is None:
        return ()
    return (TensorSpec(name=LABELS, dtype="int64", shape=("batch",)),)


def sample_size(config: ComponentConfig, scale: int) -> tuple[int, int]:
    """Return width and height of the native sample, `scale` pixels each."""
    size = config.data.get("sample_size")
    sides = size if isinstance(size, list) else [size]
    if any(isinstance(side, int) and side * scale > MAXIMUM_SIDE_PX for side in sides):
        raise SourceError(
            f"{config.path}: 'sample_size' is {size!r}, which makes pictures of more than "
            f"{MAXIMUM_SIDE_PX} pixels a side.",
            hint="Correct it: it is the native size in latents (64 for Stable Diffusion 1.5).",
        )
    if isinstance(size, list):
        if len(size) == 2 and all(type(side) is int and side > 0 for side in size):
            return size[1], size[0]
        raise SourceError(
            f"{config.path}: 'sample_size' is {size!r}, not a height and a width.",
            hint="Correct it: it is the native size in latents (64 for Stable Diffusion 1.5).",
        )
    side = config.integer("sample_size")
    return side, side


def reduction(config: ComponentConfig) -> int:
    """Return how many times smaller the innermost features are than the sample."""
    return int(2 ** (len(config.items("block_out_channels")) - 1))
