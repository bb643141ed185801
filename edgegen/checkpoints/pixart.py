"""Names of PixArt's transformer as its authors wrote them.

| in the file | in diffusers |
|---|---|
| `blocks.3.attn.qkv` (3A, A) | `transformer_blocks.3.attn1.to_q`, `.to_k`, `.to_v` |
| `blocks.3.cross_attn.kv_linear` (2A, A) | `transformer_blocks.3.attn2.to_k`, `.to_v` |
| `x_embedder.proj`, `y_embedder.y_proj.fc1` | `pos_embed.proj`, `caption_projection.linear_1` |
| `t_embedder.mlp.0` | `adaln_single.emb.timestep_embedder.linear_1` |
| `t_block.1` | `adaln_single.linear` |
| `final_layer.linear` | `proj_out` |

(diffusers' scripts/convert_pixart_alpha_to_diffusers.py.) The config comes from a folder: sizes and
the interpolation of positions leave no trace in the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from edgegen.checkpoints.base import Naming, Shapes

_EMBEDDERS = {
    "t_embedder": "timestep_embedder",
    "csize_embedder": "resolution_embedder",
    "ar_embedder": "aspect_ratio_embedder",
}
_ENDS = {
    "x_embedder.proj": "pos_embed.proj",
    "y_embedder.y_proj.fc1": "caption_projection.linear_1",
    "y_embedder.y_proj.fc2": "caption_projection.linear_2",
    "t_block.1": "adaln_single.linear",
    "final_layer.linear": "proj_out",
    **{
        f"{theirs}.mlp.{place}": f"adaln_single.emb.{ours}.linear_{number}"
        for theirs, ours in _EMBEDDERS.items()
        for place, number in ((0, 1), (2, 2))
    },
}
_TABLES = {"final_layer.scale_shift_table": "scale_shift_table"}
_BLOCK = re.compile(r"blocks\.(\d{1,3})\.(.+)")
_LAYERS: Mapping[str, tuple[str, ...]] = {
    "attn.qkv": ("attn1.to_q", "attn1.to_k", "attn1.to_v"),
    "attn.proj": ("attn1.to_out.0",),
    "cross_attn.q_linear": ("attn2.to_q",),
    "cross_attn.kv_linear": ("attn2.to_k", "attn2.to_v"),
    "cross_attn.proj": ("attn2.to_out.0",),
    "mlp.fc1": ("ff.net.0.proj",),
    "mlp.fc2": ("ff.net.2",),
}
_UNUSED = ("pos_embed", "y_embedder.y_embedding")


def read_pixart(shapes: Shapes) -> tuple[Naming, Mapping[str, Any]]:
    """Map the keys of a transformer. Positions are computed, and the empty text isn't used."""
    naming = Naming(shapes)
    for key in shapes:
        layer, _, kind = key.rpartition(".")
        match = _BLOCK.fullmatch(key)
        if key in _TABLES:
            naming.put(_TABLES[key], key)
        elif layer in _ENDS and kind in ("weight", "bias"):
            naming.put(f"{_ENDS[layer]}.{kind}", key)
        elif match is not None and _put(naming, int(match[1]), match[2], key):
            continue
        elif key not in _UNUSED:
            naming.unknown.append(key)
    return naming, {}


def _put(naming: Naming, number: int, inner: str, key: str) -> bool:
    block = f"transformer_blocks.{number}"
    if inner == "scale_shift_table":
        naming.put(f"{block}.scale_shift_table", key)
        return True
    layer, _, kind = inner.rpartition(".")
    if layer not in _LAYERS or kind not in ("weight", "bias"):
        return False
    naming.put_parts((f"{block}.{name}.{kind}" for name in _LAYERS[layer]), key)
    return True
