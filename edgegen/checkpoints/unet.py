"""Names and config of a UNet in the names of latent-diffusion (CompVis, Stability).

| in the file | in diffusers |
|---|---|
| `input_blocks.4.0.in_layers.2` | `down_blocks.1.resnets.0.conv1` |
| `input_blocks.4.1.transformer_blocks.0` | `down_blocks.1.attentions.0.transformer_blocks.0` |
| `input_blocks.3.0.op` | `down_blocks.0.downsamplers.0.conv` |
| `middle_block.2.out_layers.3` | `mid_block.resnets.1.conv2` |
| `output_blocks.2.1.conv`, `output_blocks.2.2.conv` | `up_blocks.0.upsamplers.0.conv` |
| `time_embed.0`, `out.2` | `time_embedding.linear_1`, `conv_out` |
| `label_emb.0.0` | `add_embedding.linear_1` |

(diffusers 0.42, `convert_ldm_unet_checkpoint`.) How many blocks there are, how wide and how deep,
is counted, so that distilled networks (SSD-1B, Vega, BK-SDM, KOALA) are read like those that they
came from. The number of heads leaves no trace in any shape: it follows from the way that the
transformers are entered, 8 heads behind a convolution (Stable Diffusion 1), 64 channels each behind
a linear layer (Stable Diffusion 2, XL).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgegen.checkpoints.base import Naming, Shapes, unlike

_ENDS = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "time_embed.cond_proj": "time_embedding.cond_proj",
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_TRANSFORMER = re.compile(
    r"(?:norm|proj_in|proj_out)|transformer_blocks\.\d{1,3}\.(?:norm[123]|ff\.net\.(?:0\.proj|2)"
    r"|attn[12]\.(?:to_[qkv]|to_out\.0))"
)
_DEPTH = re.compile(r"transformer_blocks\.(\d{1,3})\..*")
_BLOCK = re.compile(r"(input_blocks|output_blocks)\.(\d{1,3})\.(\d)\.(.+)\.(weight|bias)")
_NUMBER = re.compile(r"(input_blocks|output_blocks)\.(\d{1,3})\.")
_MIDDLE = re.compile(r"middle_block\.([012])\.(.+)\.(weight|bias)")
_END = re.compile(r"(.+)\.(weight|bias)")
_HEAD_CHANNELS = 64
_HEADS = 8


@dataclass(frozen=True, slots=True)
class Blocks:
    """How the numbers of a file's blocks are those of diffusers: `layers` resnets a level."""

    levels: int
    layers: int

    def down(self, number: int) -> tuple[int, int]:
        return divmod(number - 1, self.layers + 1)

    def up(self, number: int) -> tuple[int, int]:
        return divmod(number, self.layers + 1)


def read_unet(shapes: Shapes) -> tuple[Naming, Mapping[str, Any]]:
    """Map a UNet's keys; return what its config says besides what all of its kind say.

    Raises SourceError for a structure that diffusers' UNet2DConditionModel does not have.
    """
    naming = Naming(shapes)
    blocks = count(shapes)
    for key in shapes:
        name = name_of(key, blocks)
        if name is None:
            naming.unknown.append(key)
        else:
            naming.put(name, key)
    return naming, _config(naming, blocks)


def count(shapes: Shapes, *, goes_up: bool = True) -> Blocks:
    """Count the blocks of a network; a ControlNet has none that `goes_up`.

    Raises SourceError for numbers that diffusers' classes don't have.
    """
    inputs = _numbers(shapes, "input_blocks")
    outputs = _numbers(shapes, "output_blocks")
    downs = [number for number in inputs if f"input_blocks.{number}.0.op.weight" in shapes]
    layers = (downs[0] if downs else len(inputs)) - 1
    levels = len(downs) + 1
    expected = [(layers + 1) * level for level in range(1, levels)]
    if (
        layers < 1
        or downs != expected
        or inputs != list(range(levels * (layers + 1)))
        or outputs != (inputs if goes_up else [])
    ):
        raise unlike(
            f"it has {len(inputs)} blocks on its way down, {len(outputs)} on its way up, and is "
            f"halved after {', '.join(map(str, downs)) or 'none'}"
        )
    return Blocks(levels, layers)


def _numbers(shapes: Shapes, side: str) -> list[int]:
    matches = (_NUMBER.match(key) for key in shapes)
    return sorted({int(match[2]) for match in matches if match and match[1] == side})


def name_of(key: str, blocks: Blocks) -> str | None:
    """Return what diffusers calls a key, None for one that is none of the network's."""
    if (match := _END.fullmatch(key)) and match[1] in _ENDS:
        return f"{_ENDS[match[1]]}.{match[2]}"
    if match := _MIDDLE.fullmatch(key):
        place, layer, kind = match.groups()
        inner = _resnet(layer) if place != "1" else _attention(layer)
        part = {"0": "resnets.0", "1": "attentions.0", "2": "resnets.1"}[place]
        return None if inner is None else f"mid_block.{part}.{inner}.{kind}"
    if match := _BLOCK.fullmatch(key):
        side, number, place, layer, kind = match.groups()
        inner = _inner(side, int(number), place, layer, blocks)
        return None if inner is None else f"{inner}.{kind}"
    return None


def _inner(side: str, number: int, place: str, layer: str, blocks: Blocks) -> str | None:
    level, index = (blocks.down if side == "input_blocks" else blocks.up)(number)
    block = f"{'down' if side == 'input_blocks' else 'up'}_blocks.{level}"
    if side == "input_blocks" and place == "0" and layer == "op":
        return f"{block}.downsamplers.0.conv"
    if side == "output_blocks" and place in "12" and layer == "conv":
        return f"{block}.upsamplers.0.conv"
    if place == "0" and (resnet := _resnet(layer)):
        return f"{block}.resnets.{index}.{resnet}"
    if place == "1" and (attention := _attention(layer)):
        return f"{block}.attentions.{index}.{attention}"
    return None


def _resnet(layer: str) -> str | None:
    return _RESNET.get(layer)


def _attention(layer: str) -> str | None:
    return layer if _TRANSFORMER.fullmatch(layer) else None


def way_down(naming: Naming, blocks: Blocks) -> tuple[dict[str, Any], list[list[int]], int]:
    """Return what a config says of the way down and of the middle, and how deep these are."""
    widths = [
        naming.shape_of(f"down_blocks.{level}.resnets.0.conv1.weight", 4)[0]
        for level in range(blocks.levels)
    ]
    down = [
        _depths(naming, f"down_blocks.{level}", blocks.layers) for level in range(blocks.levels)
    ]
    middle = _depth(naming, "mid_block.attentions.0")
    projects = _proj_in(naming)
    config: dict[str, Any] = {
        "in_channels": naming.shape_of("conv_in.weight", 4)[1],
        "block_out_channels": widths,
        "layers_per_block": blocks.layers,
        "down_block_types": [
            "CrossAttnDownBlock2D" if any(depths) else "DownBlock2D" for depths in down
        ],
        "mid_block_type": _middle(naming, middle),
        "cross_attention_dim": _text_width(naming),
        "use_linear_projection": projects,
        "attention_head_dim": (
            [max(1, width // _HEAD_CHANNELS) for width in widths] if projects else _HEADS
        ),
    }
    return config, down, middle


def _config(naming: Naming, blocks: Blocks) -> dict[str, Any]:
    config, down, middle = way_down(naming, blocks)
    up = [
        _depths(naming, f"up_blocks.{level}", blocks.layers + 1) for level in range(blocks.levels)
    ]
    config |= {
        "out_channels": naming.shape_of("conv_out.weight", 4)[0],
        "up_block_types": ["CrossAttnUpBlock2D" if any(depths) else "UpBlock2D" for depths in up],
        **_transformer_layers(down, middle, up),
    }
    if "time_embedding.cond_proj.weight" in naming.found:
        config["time_cond_proj_dim"] = naming.shape_of("time_embedding.cond_proj.weight", 2)[1]
    if "add_embedding.linear_1.weight" in naming.found:
        config["projection_class_embeddings_input_dim"] = naming.shape_of(
            "add_embedding.linear_1.weight", 2
        )[1]
    return config


def _depths(naming: Naming, block: str, layers: int) -> list[int]:
    found = [_depth(naming, f"{block}.attentions.{layer}") for layer in range(layers)]
    if any(found) and not all(found):
        raise unlike(f"{block} has transformers in some of its layers only")
    return found


def _depth(naming: Naming, attention: str) -> int:
    prefix = f"{attention}."
    numbers = {
        int(match[1])
        for name in naming.found
        if name.startswith(prefix) and (match := _DEPTH.fullmatch(name.removeprefix(prefix)))
    }
    if numbers != set(range(len(numbers))):
        raise unlike(f"{attention} lacks some of its transformer's blocks")
    return len(numbers)


def _middle(naming: Naming, depth: int) -> str | None:
    if depth:
        return "UNetMidBlock2DCrossAttn"
    there = any(name.startswith("mid_block.resnets.0.") for name in naming.found)
    if any(name.startswith("mid_block.resnets.1.") for name in naming.found):
        raise unlike("its middle has two resnets and no transformer")
    return "UNetMidBlock2D" if there else None


def _proj_in(naming: Naming) -> bool:
    """Return whether the transformers are entered by linear layers."""
    ranks = {len(it.shape) for name, it in naming.found.items() if name.endswith(".proj_in.weight")}
    if ranks - {2, 4} or len(ranks) > 1:
        raise unlike("its transformers are entered in several ways")
    return ranks == {2}


def _text_width(naming: Naming) -> int:
    widths = {
        it.shape[-1] for name, it in naming.found.items() if name.endswith(".attn2.to_k.weight")
    }
    if len(widths) != 1:
        raise unlike(f"its transformers read texts of the widths {sorted(widths)}")
    return widths.pop()


def _transformer_layers(
    down: Sequence[Sequence[int]], middle: int, up: Sequence[Sequence[int]]
) -> dict[str, Any]:
    """Return how deep the transformers are, in as few numbers as say it.

    diffusers gives the middle the depth of the last level, whether that has transformers or not.
    """
    there = [_few(depths) for depths in down]
    back = [_few(depths) for depths in up]
    if there[-1] == 0 and middle:
        there[-1] = middle
    last = there[-1] if isinstance(there[-1], int) else there[-1][0]
    if middle and last != middle:
        raise unlike(
            f"the transformer of its middle has {middle} blocks, and the level above {last}"
        )
    depths = {depth for depth in (*there, *back) if isinstance(depth, int) and depth}
    if all(isinstance(depth, int) for depth in (*there, *back)) and len(depths) <= 1:
        return {"transformer_layers_per_block": depths.pop() if depths else 1}
    named: dict[str, Any] = {"transformer_layers_per_block": [depth or 1 for depth in there]}
    mirrored = [depth or 1 for depth in reversed(there)]
    read = [depth or mirrored[level] for level, depth in enumerate(back)]
    if any(isinstance(depth, list) for depth in (*there, *back)) or read != mirrored:
        named["reverse_transformer_layers_per_block"] = [depth or 1 for depth in back]
    return named


def _few(depths: Sequence[int]) -> int | list[int]:
    return depths[0] if len(set(depths)) == 1 else list(depths)
