"""Writes IP-Adapters as their authors publish them (h94/IP-Adapter), tiny and with random weights.

Names are those of tencent-ailab/IP-Adapter: `image_proj` is `ImageProjModel`, `MLPProjModel` or
`Resampler` of its ip_adapter.py and resampler.py, `ip_adapter` a ModuleList over all attentions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

HIDDEN, PROJECTED, SIDE, PATCH = 32, 24, 224, 56
NAME = "ip-adapter.safetensors"
_INNER, _HEADS, _QUERIES = 48, 2, 5


def write_image_encoder(folder: Path, *, projected: int = PROJECTED) -> Path:
    """Write a CLIP vision model into `folder`, and return it."""
    import torch
    import transformers

    config = transformers.CLIPVisionConfig(
        hidden_size=HIDDEN,
        intermediate_size=2 * HIDDEN,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=SIDE,
        patch_size=PATCH,
        projection_dim=projected,
    )
    torch.manual_seed(3)
    transformers.CLIPVisionModelWithProjection(config).save_pretrained(folder)
    return folder


def write_ip_adapter(folder: Path, model: Path, kind: str) -> Path:
    """Write an adapter for the UNet of `model`, and its image encoder beside it; return the file.

    `kind` is "plain", "plus" or "full".
    """
    import torch
    from diffusers import UNet2DConditionModel
    from safetensors.torch import save_file

    unet = UNet2DConditionModel.from_pretrained(model / "unet")
    width = unet.config["cross_attention_dim"]
    shapes: dict[str, tuple[int, ...]] = {
        f"image_proj.{name}": shape for name, shape in _projection(kind, width).items()
    }
    for number, name in enumerate(unet.attn_processors):
        if "attn2" in name:
            rows = unet.get_submodule(name.removesuffix(".processor")).to_k.out_features
            shapes |= {f"ip_adapter.{number}.to_{it}_ip.weight": (rows, width) for it in "kv"}
    generator = torch.Generator().manual_seed(11)
    tensors = {name: _random(name, shape, generator) for name, shape in shapes.items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / NAME)
    write_image_encoder(folder / "image_encoder")
    return folder / NAME


def _random(name: str, shape: tuple[int, ...], generator: Any) -> Any:
    import torch

    tensor = torch.randn(shape, generator=generator)
    if len(shape) == 1:
        return 0.1 * tensor + (0 if name.endswith("bias") else 1)
    return tensor / shape[-1] ** 0.5


def _projection(kind: str, width: int) -> Mapping[str, tuple[int, ...]]:
    if kind == "plain":
        return dict(
            [*_layer("proj", PROJECTED, 4 * width), *_norm("norm", width)],
        )
    if kind == "full":
        layers = (*_layer("proj.0", HIDDEN, HIDDEN), *_layer("proj.2", HIDDEN, width))
        return dict([*layers, *_norm("proj.3", width)])
    shapes: dict[str, tuple[int, ...]] = {"latents": (1, _QUERIES, _INNER)}
    shapes |= _layer("proj_in", HIDDEN, _INNER)
    shapes |= _layer("proj_out", _INNER, width)
    shapes |= _norm("norm_out", width)
    inner = 64 * _HEADS
    for layer in (f"layers.{number}" for number in range(4)):
        shapes |= {
            **dict(_norm(f"{layer}.0.norm1", _INNER)),
            **dict(_norm(f"{layer}.0.norm2", _INNER)),
        }
        shapes[f"{layer}.0.to_q.weight"] = (inner, _INNER)
        shapes[f"{layer}.0.to_kv.weight"] = (2 * inner, _INNER)
        shapes[f"{layer}.0.to_out.weight"] = (_INNER, inner)
        shapes |= _norm(f"{layer}.1.0", _INNER)
        shapes[f"{layer}.1.1.weight"] = (4 * _INNER, _INNER)
        shapes[f"{layer}.1.3.weight"] = (_INNER, 4 * _INNER)
    return shapes


def _layer(name: str, taken: int, given: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (given, taken)
    yield f"{name}.bias", (given,)


def _norm(name: str, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)
