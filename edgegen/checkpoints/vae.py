"""Names and config of an autoencoder in the names of latent-diffusion.

| in the file | in diffusers |
|---|---|
| `encoder.down.1.block.0.nin_shortcut` | `encoder.down_blocks.1.resnets.0.conv_shortcut` |
| `encoder.mid.attn_1.q` (A, B, 1, 1) | `encoder.mid_block.attentions.0.to_q` (A, B) |
| `decoder.up.3.upsample.conv`, of four levels | `decoder.up_blocks.0.upsamplers.0.conv` |
| `decoder.norm_out` | `decoder.conv_norm_out` |

(diffusers 0.42, `convert_ldm_vae_checkpoint`.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from edgegen.checkpoints.base import Naming, Shapes, as_named
from edgegen.core.errors import SourceError

_ENDS = {
    **{
        f"{side}.{end}": f"{side}.{end}"
        for side in ("encoder", "decoder")
        for end in ("conv_in", "conv_out")
    },
    "encoder.norm_out": "encoder.conv_norm_out",
    "decoder.norm_out": "decoder.conv_norm_out",
    "quant_conv": "quant_conv",
    "post_quant_conv": "post_quant_conv",
}
_RESNET = {
    "norm1": "norm1",
    "conv1": "conv1",
    "norm2": "norm2",
    "conv2": "conv2",
    "nin_shortcut": "conv_shortcut",
}
_ATTENTION = {
    "norm": "group_norm",
    "q": "to_q",
    "k": "to_k",
    "v": "to_v",
    "proj_out": "to_out.0",
}
_KEY = re.compile(r"(.+)\.(weight|bias)")
_LEVEL = re.compile(r"(encoder\.down|decoder\.up)\.(\d{1,2})\.(.+)")
_BLOCK = re.compile(r"block\.(\d{1,2})\.(\w+)")
_MIDDLE = re.compile(r"(encoder|decoder)\.mid\.(?:block_([12])|attn_1)\.(\w+)")


def is_vae(shapes: Shapes) -> bool:
    """Return whether these are an autoencoder's keys, in the names of either."""
    return {"encoder.conv_in.weight", "decoder.conv_in.weight", "decoder.conv_out.weight"} <= set(
        shapes
    )


def read_vae(shapes: Shapes) -> tuple[Naming, Mapping[str, Any]]:
    """Map an autoencoder's keys; return what its config says besides what all of its kind say.

    Raises SourceError where its ends are missing.
    """
    if any(key.startswith("decoder.up_blocks.") for key in shapes):
        naming = as_named(shapes)
        return naming, _config(naming, _levels_named(shapes))
    naming = Naming(shapes)
    levels = 1 + max(
        (int(match[2]) for key in shapes if (match := _LEVEL.fullmatch(key))), default=0
    )
    for key in shapes:
        match = _KEY.fullmatch(key)
        layer = None if match is None else _layer(match[1], levels)
        if match is None or layer is None:
            naming.unknown.append(key)
        elif ".attentions." in layer and match[2] == "weight" and not layer.endswith("norm"):
            naming.put(f"{layer}.weight", key)
            _squeeze(naming, f"{layer}.weight")
        else:
            naming.put(f"{layer}.{match[2]}", key)
    return naming, _config(naming, levels)


def _levels_named(shapes: Shapes) -> int:
    return len({key.split(".")[2] for key in shapes if key.startswith("decoder.up_blocks.")})


def _layer(layer: str, levels: int) -> str | None:
    if layer in _ENDS:
        return _ENDS[layer]
    if match := _MIDDLE.fullmatch(layer):
        side, block, inner = match.groups()
        if block is None:
            name, place = _ATTENTION.get(inner), "attentions.0"
        else:
            name, place = _RESNET.get(inner), f"resnets.{int(block) - 1}"
        return None if name is None else f"{side}.mid_block.{place}.{name}"
    if match := _LEVEL.fullmatch(layer):
        return _of_level(match[1], int(match[2]), match[3], levels)
    return None


def _of_level(side: str, level: int, inner: str, levels: int) -> str | None:
    is_down = side == "encoder.down"
    block = f"encoder.down_blocks.{level}" if is_down else f"decoder.up_blocks.{levels - 1 - level}"
    if is_down and inner == "downsample.conv":
        return f"{block}.downsamplers.0.conv"
    if not is_down and inner == "upsample.conv":
        return f"{block}.upsamplers.0.conv"
    match = _BLOCK.fullmatch(inner)
    if match is None or match[2] not in _RESNET:
        return None
    return f"{block}.resnets.{match[1]}.{_RESNET[match[2]]}"


def _squeeze(naming: Naming, name: str) -> None:
    """Give a 1x1 convolution, as attentions have, the shape of the matrix that it is."""
    taken = naming.found[name]
    if len(taken.shape) in (3, 4) and set(taken.shape[2:]) == {1}:
        naming.found[name] = replace(taken, shape=taken.shape[:2])


def _config(naming: Naming, levels: int) -> dict[str, Any]:
    for side, block in (("encoder", "down_blocks"), ("decoder", "up_blocks")):
        found = {name.split(".")[2] for name in naming.found if name.startswith(f"{side}.{block}.")}
        if found != {str(level) for level in range(levels)}:
            raise SourceError(
                f"The autoencoder's {side} has the levels {', '.join(sorted(found)) or 'none'}, "
                f"and should have {levels}.",
                hint="The file is damaged: download it again.",
            )
    widths = [
        naming.shape_of(f"encoder.down_blocks.{level}.resnets.0.conv1.weight", 4)[0]
        for level in range(levels)
    ]
    prefix = "encoder.down_blocks.0.resnets."
    layers = {name.split(".")[4] for name in naming.found if name.startswith(prefix)}
    return {
        "in_channels": naming.shape_of("encoder.conv_in.weight", 4)[1],
        "out_channels": naming.shape_of("decoder.conv_out.weight", 4)[0],
        "latent_channels": naming.shape_of("decoder.conv_in.weight", 4)[1],
        "block_out_channels": widths,
        "layers_per_block": len(layers),
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "use_quant_conv": "quant_conv.weight" in naming.found,
        "use_post_quant_conv": "post_quant_conv.weight" in naming.found,
        "mid_block_add_attention": any(
            name.startswith("encoder.mid_block.attentions.") for name in naming.found
        ),
    }
