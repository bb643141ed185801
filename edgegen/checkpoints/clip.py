"""Names and config of CLIP's text encoders, in those of transformers and of open_clip.

| in open_clip's file | in transformers |
|---|---|
| `transformer.resblocks.3.attn.in_proj_weight` | `encoder.layers.3.self_attn.q_proj.weight`, … |
| `transformer.resblocks.3.mlp.c_fc` | `encoder.layers.3.mlp.fc1` |
| `text_projection` (A, B), which is multiplied from the right | `text_projection.weight` (B, A) |
| `positional_embedding`, `ln_final` | `embeddings.position_embedding.weight`, `final_layer_norm` |

(diffusers 0.42, `convert_open_clip_checkpoint`.) Stable Diffusion 2 reads the last state but one;
its configs say 23 layers, and the 24th of the file is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from edgegen.checkpoints.base import Naming, Shapes

_PREFIX = "text_model."
_HF = re.compile(
    r"(?:embeddings\.(?:token|position)_embedding\.weight|final_layer_norm\.(?:weight|bias)"
    r"|encoder\.layers\.\d{1,3}\.(?:layer_norm[12]|self_attn\.(?:[qkv]|out)_proj|mlp\.fc[12])"
    r"\.(?:weight|bias))"
)
_HF_UNUSED = ("embeddings.position_ids", "logit_scale")
_HF_PROJECTION = "text_projection.weight"
_OPEN_ENDS = {
    "positional_embedding": "embeddings.position_embedding.weight",
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
_OPEN_LAYER = re.compile(r"transformer\.resblocks\.(\d{1,3})\.(.+)")
_OPEN_LAYERS = {
    f"{theirs}.{kind}": f"{ours}.{kind}"
    for theirs, ours in {
        "ln_1": "layer_norm1",
        "ln_2": "layer_norm2",
        "attn.out_proj": "self_attn.out_proj",
        "mlp.c_fc": "mlp.fc1",
        "mlp.c_proj": "mlp.fc2",
    }.items()
    for kind in ("weight", "bias")
}
_OPEN_UNUSED = ("logit_scale", "attn_mask")
_OPEN_PROJECTION = "text_projection"
_VIT_H_LAYERS = 24
_HEAD_CHANNELS = 64


def read_clip(shapes: Shapes) -> tuple[Naming, Mapping[str, Any]]:
    """Map the keys of a text encoder that transformers named, with `text_model.` or without it."""
    naming = Naming(shapes)
    for key in shapes:
        bare = key.removeprefix(_PREFIX)
        if _HF.fullmatch(bare):
            naming.put(_PREFIX + bare, key)
        elif bare == _HF_PROJECTION:
            naming.put(_HF_PROJECTION, key)
        elif bare not in _HF_UNUSED:
            naming.unknown.append(key)
    return naming, _config(naming, projects=False)


def read_open_clip(shapes: Shapes) -> tuple[Naming, Mapping[str, Any]]:
    """Map the keys of a text encoder of open_clip, with its projection."""
    return _open_clip(shapes, projects=True)


def read_open_clip_penultimate(shapes: Shapes) -> tuple[Naming, Mapping[str, Any]]:
    """Map the keys of Stable Diffusion 2's text encoder: no projection, and not the last layer."""
    return _open_clip(shapes, projects=False)


def _open_clip(shapes: Shapes, *, projects: bool) -> tuple[Naming, Mapping[str, Any]]:
    naming = Naming(shapes)
    numbers = [int(match[1]) for key in shapes if (match := _OPEN_LAYER.fullmatch(key))]
    layers = max(numbers, default=-1) + 1
    left_out = _VIT_H_LAYERS - 1 if not projects and layers == _VIT_H_LAYERS else None
    for key in shapes:
        match = _OPEN_LAYER.fullmatch(key)
        if key in _OPEN_ENDS:
            naming.put(_PREFIX + _OPEN_ENDS[key], key)
        elif key == _OPEN_PROJECTION:
            if projects:
                naming.put_transposed("text_projection.weight", key)
        elif match is not None and (
            int(match[1]) == left_out or _put_layer(naming, int(match[1]), match[2], key)
        ):
            continue
        elif key not in _OPEN_UNUSED:
            naming.unknown.append(key)
    return naming, _config(naming, projects=projects)


def _put_layer(naming: Naming, number: int, inner: str, key: str) -> bool:
    layer = f"{_PREFIX}encoder.layers.{number}"
    if inner in _OPEN_LAYERS:
        naming.put(f"{layer}.{_OPEN_LAYERS[inner]}", key)
        return True
    for kind in ("weight", "bias"):
        if inner == f"attn.in_proj_{kind}":
            naming.put_parts((f"{layer}.self_attn.{it}_proj.{kind}" for it in "qkv"), key)
            return True
    return False


def _config(naming: Naming, *, projects: bool) -> dict[str, Any]:
    words, width = naming.shape_of(f"{_PREFIX}embeddings.token_embedding.weight", 2)
    positions, _ = naming.shape_of(f"{_PREFIX}embeddings.position_embedding.weight", 2)
    prefix = f"{_PREFIX}encoder.layers."
    layers = {name.split(".")[3] for name in naming.found if name.startswith(prefix)}
    inner = naming.shape_of(f"{prefix}0.mlp.fc1.weight", 2)[0]
    config: dict[str, Any] = {
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": len(layers),
        "num_attention_heads": max(1, width // _HEAD_CHANNELS),
        "max_position_embeddings": positions,
        "vocab_size": words,
    }
    if projects:
        config["projection_dim"] = naming.shape_of("text_projection.weight", 2)[0]
    return config
