"""What CompVis's and Stability's code calls the modules of a UNet: many adapters are saved so.

| diffusers | there |
|---|---|
| `conv_in`, `conv_norm_out`, `conv_out` | `input_blocks.0.0`, `out.0`, `out.2` |
| `time_embedding.linear_1`, `add_embedding.linear_2` | `time_embed.0`, `label_emb.0.2` |
| `down_blocks.1.attentions.0…` of two layers a block | `input_blocks.4.1…` |
| `down_blocks.0.downsamplers.0.conv` | `input_blocks.3.0.op` |
| `mid_block.resnets.1…` | `middle_block.2…` |
| `up_blocks.0.upsamplers.0.conv` | `output_blocks.2.2.conv`, or `.1.conv` without attention |
| of a resnet: `conv1`, `conv2` | `in_layers.2`, `out_layers.3`; the others are in `_RESNET` |

Source: `openaimodel.py` of github.com/CompVis/latent-diffusion, which numbers blocks as it builds
them; diffusers' `convert_ldm_unet_checkpoint` reads the same numbers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

_ENDS = {
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_PLACE = re.compile(
    r"(?P<way>down|up)_blocks\.(?P<block>\d{1,3})\."
    r"(?P<kind>resnets|attentions|downsamplers|upsamplers)\.(?P<layer>\d{1,3})\.(?P<rest>.+)"
)
_MIDDLE = re.compile(r"mid_block\.(?P<kind>resnets|attentions)\.(?P<layer>\d{1,3})\.(?P<rest>.+)")


def ldm_names(modules: Collection[str]) -> Mapping[str, str]:
    """Return the other name of each of a UNet's modules that has one."""
    places = {name: match for name in modules if (match := _PLACE.fullmatch(name))}
    layers = _layers(places.values())
    attends = {it["block"] for it in places.values() if _is(it, "up", "attentions")}
    found = {}
    for name in modules:
        place, middle = places.get(name), _MIDDLE.fullmatch(name)
        if place is not None:
            found[name] = _of_block(place, layers, attends)
        elif middle is not None:
            number = int(middle["layer"]) * 2 + (middle["kind"] == "attentions")
            found[name] = f"middle_block.{number}.{_inside(middle['kind'], middle['rest'])}"
        elif name in _ENDS:
            found[name] = _ENDS[name]
    return found


def _layers(places: Collection[re.Match[str]]) -> int:
    """Return the resnets in a block on the way down."""
    return max((int(it["layer"]) + 1 for it in places if _is(it, "down", "resnets")), default=0)


def _of_block(place: re.Match[str], layers: int, attends: Collection[str]) -> str:
    block, layer, kind = int(place["block"]), int(place["layer"]), place["kind"]
    rest = _inside(kind, place["rest"])
    if kind == "downsamplers":
        return f"input_blocks.{(block + 1) * (layers + 1)}.0.op"
    if kind == "upsamplers":
        inner = 2 if place["block"] in attends else 1
        return f"output_blocks.{block * (layers + 1) + layers}.{inner}.{rest}"
    inner = int(kind == "attentions")
    if place["way"] == "down":
        return f"input_blocks.{1 + block * (layers + 1) + layer}.{inner}.{rest}"
    return f"output_blocks.{block * (layers + 1) + layer}.{inner}.{rest}"


def _inside(kind: str, rest: str) -> str:
    return _RESNET.get(rest, rest) if kind == "resnets" else rest


def _is(place: re.Match[str], way: str, kind: str) -> bool:
    return place["way"] == way and place["kind"] == kind
