"""Names and config of a ControlNet in a file of its own.

| in the file | in diffusers |
|---|---|
| `control_model.input_blocks.…`, `middle_block.…`, `time_embed.…` | as in a UNet (`unet.py`) |
| `control_model.zero_convs.3.0` | `controlnet_down_blocks.3` |
| `control_model.middle_block_out.0` | `controlnet_mid_block` |
| `control_model.input_hint_block.0`, `….14` | `controlnet_cond_embedding.conv_in`, `….conv_out` |
| `control_model.input_hint_block.2`, `….4`, … | `controlnet_cond_embedding.blocks.0`, `….1`, … |

(diffusers 0.42, `convert_controlnet_checkpoint`.) Files with diffusers' own names are read, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from edgegen.checkpoints.base import Naming, Shapes, as_named, unlike
from edgegen.checkpoints.unet import Blocks, count, name_of, way_down

PREFIX = "control_model."
_HINT = "controlnet_cond_embedding"
_OWN = f"{_HINT}.conv_in.weight"
"""A key of files with diffusers' names."""
_LATER = re.compile(r"(zero_convs|input_hint_block)\.(\d{1,3})(\.0)?\.(weight|bias)")
_MIDDLE = re.compile(r"middle_block_out\.0\.(weight|bias)")
_LAYER = re.compile(r"down_blocks\.(\d{1,3})\.resnets\.(\d{1,3})\.")
_TIME_IDS = 256
"""The width of each of SDXL's embedded sizes, which no shape tells."""


def is_controlnet(shapes: Shapes) -> bool:
    """Return whether a file holds a ControlNet."""
    own = {key.removeprefix(PREFIX) for key in shapes}
    return _OWN in own or "input_hint_block.0.weight" in own


def read_controlnet(shapes: Shapes) -> tuple[Naming, Mapping[str, Any]]:
    """Map a ControlNet's keys, without their prefix; return what its config says.

    Raises SourceError for a structure that diffusers' ControlNetModel does not have.
    """
    if _OWN in shapes:
        naming, blocks = as_named(shapes), _blocks_of(shapes)
    else:
        naming, blocks = Naming(shapes), count(shapes, goes_up=False)
        last = max(
            (int(it[2]) for it in _matches(shapes) if it[1] == "input_hint_block"), default=0
        )
        for key in shapes:
            name = _later(key, last) or name_of(key, blocks)
            if name is None:
                naming.unknown.append(key)
            else:
                naming.put(name, key)
    return naming, _config(naming, blocks)


def _matches(shapes: Shapes) -> list[re.Match[str]]:
    return [match for key in shapes if (match := _LATER.fullmatch(key))]


def _later(key: str, last: int) -> str | None:
    """Return what diffusers calls a layer that a ControlNet has besides those of a UNet."""
    if match := _MIDDLE.fullmatch(key):
        return f"controlnet_mid_block.{match[1]}"
    match = _LATER.fullmatch(key)
    if match is None:
        return None
    side, number, inner, kind = match[1], int(match[2]), match[3], match[4]
    if side == "zero_convs":
        return f"controlnet_down_blocks.{number}.{kind}" if inner else None
    if inner or number % 2:
        return None
    ends = {0: "conv_in", last: "conv_out"}
    return f"{_HINT}.{ends.get(number, f'blocks.{number // 2 - 1}')}.{kind}"


def _blocks_of(names: Shapes) -> Blocks:
    layers = [(int(it[1]), int(it[2])) for name in names if (it := _LAYER.match(name))]
    if not layers:
        raise unlike("it has no blocks on its way down")
    return Blocks(1 + max(it[0] for it in layers), 1 + max(it[1] for it in layers))


def _config(naming: Naming, blocks: Blocks) -> dict[str, Any]:
    config, down, middle = way_down(naming, blocks)
    if any(len({*depths}) > 1 for depths in down):
        raise unlike("the transformers of one of its levels are of several depths")
    depths = [level[0] for level in down]
    depths[-1] = depths[-1] or middle
    if middle not in (0, depths[-1]):
        raise unlike("the transformer of its middle is of another depth than that above")
    config["transformer_layers_per_block"] = [depth or 1 for depth in depths]
    widths = [naming.shape_of(f"{_HINT}.conv_in.weight", 4)[0]]
    index = 1
    while f"{_HINT}.blocks.{index}.weight" in naming.found:
        widths.append(naming.shape_of(f"{_HINT}.blocks.{index}.weight", 4)[0])
        index += 2
    config["conditioning_embedding_out_channels"] = widths
    config["conditioning_channels"] = naming.shape_of(f"{_HINT}.conv_in.weight", 4)[1]
    if "add_embedding.linear_1.weight" in naming.found:
        config |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": _TIME_IDS,
            "projection_class_embeddings_input_dim": naming.shape_of(
                "add_embedding.linear_1.weight", 2
            )[1],
        }
    return config
