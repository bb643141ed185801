"""Writes a diffusers folder as one file in its authors' names, as those wrote them.

It knows nothing of edgegen's reader: it walks over the modules of latent-diffusion's own networks,
in the order in which their constructors number them (`UNetModel`, `Encoder` and `Decoder` of
CompVis/latent-diffusion, `CLIP` of open_clip), and asks a diffusers folder for each one's weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

Tensors = dict[str, torch.Tensor]


def read_folder(folder: Path, name: str) -> tuple[dict[str, Any], Tensors]:
    """Return a component's config and weights, text encoders' without their prefix."""
    (file,) = (folder / name).glob("*.safetensors")
    weights = {key.removeprefix("text_model."): it for key, it in load_file(file).items()}
    return json.loads((folder / name / "config.json").read_text()), weights


class Taking:
    """Moves weights from diffusers' names to others; what is left at the end was forgotten."""

    def __init__(self, weights: Tensors, prefix: str) -> None:
        self.weights, self.prefix = dict(weights), prefix
        self.out: Tensors = {}

    def has(self, start: str) -> bool:
        return any(key.startswith(f"{start}.") for key in self.weights)

    def layer(self, theirs: str, ours: str) -> None:
        for kind in ("weight", "bias"):
            if f"{ours}.{kind}" in self.weights:
                self.out[f"{self.prefix}{theirs}.{kind}"] = self.weights.pop(f"{ours}.{kind}")

    def all_of(self, theirs: str, ours: str) -> None:
        for key in [key for key in self.weights if key.startswith(f"{ours}.")]:
            self.out[f"{self.prefix}{theirs}{key[len(ours) :]}"] = self.weights.pop(key)

    def done(self) -> Tensors:
        left = [key for key in self.weights if not key.endswith("position_ids")]
        assert not left, left
        return self.out


def original_unet(
    config: Mapping[str, Any], weights: Tensors, prefix: str = "model.diffusion_model."
) -> Tensors:
    """Return a UNet in the names of `UNetModel`."""
    take = Taking(weights, prefix)
    take.layer("time_embed.0", "time_embedding.linear_1")
    take.layer("time_embed.2", "time_embedding.linear_2")
    take.layer("time_embed.cond_proj", "time_embedding.cond_proj")
    take.layer("label_emb.0.0", "add_embedding.linear_1")
    take.layer("label_emb.0.2", "add_embedding.linear_2")
    take.layer("input_blocks.0.0", "conv_in")
    levels, layers = len(config["block_out_channels"]), config["layers_per_block"]
    number = 0
    for level in range(levels):
        for layer in range(layers):
            number += 1
            _resnet(take, f"input_blocks.{number}.0", f"down_blocks.{level}.resnets.{layer}")
            take.all_of(f"input_blocks.{number}.1", f"down_blocks.{level}.attentions.{layer}")
        if level < levels - 1:
            number += 1
            take.layer(f"input_blocks.{number}.0.op", f"down_blocks.{level}.downsamplers.0.conv")
    _resnet(take, "middle_block.0", "mid_block.resnets.0")
    take.all_of("middle_block.1", "mid_block.attentions.0")
    _resnet(take, "middle_block.2", "mid_block.resnets.1")
    number = 0
    for level in range(levels):
        for layer in range(layers + 1):
            _resnet(take, f"output_blocks.{number}.0", f"up_blocks.{level}.resnets.{layer}")
            place = 1
            if take.has(f"up_blocks.{level}.attentions.{layer}"):
                take.all_of(f"output_blocks.{number}.1", f"up_blocks.{level}.attentions.{layer}")
                place = 2
            if level < levels - 1 and layer == layers:
                upsampler = f"up_blocks.{level}.upsamplers.0.conv"
                take.layer(f"output_blocks.{number}.{place}.conv", upsampler)
            number += 1
    take.layer("out.0", "conv_norm_out")
    take.layer("out.2", "conv_out")
    return take.done()


def _resnet(take: Taking, theirs: str, ours: str) -> None:
    take.layer(f"{theirs}.in_layers.0", f"{ours}.norm1")
    take.layer(f"{theirs}.in_layers.2", f"{ours}.conv1")
    take.layer(f"{theirs}.emb_layers.1", f"{ours}.time_emb_proj")
    take.layer(f"{theirs}.out_layers.0", f"{ours}.norm2")
    take.layer(f"{theirs}.out_layers.3", f"{ours}.conv2")
    take.layer(f"{theirs}.skip_connection", f"{ours}.conv_shortcut")


def original_vae(
    config: Mapping[str, Any], weights: Tensors, prefix: str = "first_stage_model."
) -> Tensors:
    """Return an autoencoder in the names of `Encoder` and `Decoder`, attentions as convolutions."""
    take = Taking(weights, prefix)
    levels, layers = len(config["block_out_channels"]), config["layers_per_block"]
    for side, way, down in (("encoder", "down", True), ("decoder", "up", False)):
        take.layer(f"{side}.conv_in", f"{side}.conv_in")
        for level in range(levels):
            theirs = level if down else levels - 1 - level
            block = f"{side}.{way}_blocks.{level}"
            for layer in range(layers + (not down)):
                _vae_resnet(
                    take, f"{side}.{way}.{theirs}.block.{layer}", f"{block}.resnets.{layer}"
                )
            sampler = "downsample" if down else "upsample"
            take.layer(f"{side}.{way}.{theirs}.{sampler}.conv", f"{block}.{sampler}rs.0.conv")
        _vae_resnet(take, f"{side}.mid.block_1", f"{side}.mid_block.resnets.0")
        middle = f"{side}.mid_block.attentions.0"
        take.layer(f"{side}.mid.attn_1.norm", f"{middle}.group_norm")
        for theirs, ours in (("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("proj_out", "to_out.0")):
            if f"{middle}.{ours}.weight" in take.weights:
                take.weights[f"{middle}.{ours}.weight"].unsqueeze_(-1).unsqueeze_(-1)
            take.layer(f"{side}.mid.attn_1.{theirs}", f"{middle}.{ours}")
        _vae_resnet(take, f"{side}.mid.block_2", f"{side}.mid_block.resnets.1")
        take.layer(f"{side}.norm_out", f"{side}.conv_norm_out")
        take.layer(f"{side}.conv_out", f"{side}.conv_out")
    take.layer("quant_conv", "quant_conv")
    take.layer("post_quant_conv", "post_quant_conv")
    return take.done()


def _vae_resnet(take: Taking, theirs: str, ours: str) -> None:
    for name in ("norm1", "conv1", "norm2", "conv2"):
        take.layer(f"{theirs}.{name}", f"{ours}.{name}")
    take.layer(f"{theirs}.nin_shortcut", f"{ours}.conv_shortcut")


def original_clip(weights: Tensors, prefix: str) -> Tensors:
    """Return a text encoder as transformers named it when the checkpoints were saved."""
    kept = {f"{prefix}text_model.{key}": it for key, it in weights.items()}
    kept[f"{prefix}text_model.embeddings.position_ids"] = torch.arange(77)[None]
    return kept


def original_open_clip(weights: Tensors, prefix: str, layers: int) -> Tensors:
    """Return a text encoder in the names of open_clip's `CLIP`."""
    take = Taking(weights, prefix)
    words = take.weights.pop("embeddings.token_embedding.weight")
    take.out[f"{prefix}token_embedding.weight"] = words
    positions = take.weights.pop("embeddings.position_embedding.weight")
    take.out[f"{prefix}positional_embedding"] = positions
    for layer in range(layers):
        theirs, ours = f"transformer.resblocks.{layer}", f"encoder.layers.{layer}"
        for kind in ("weight", "bias"):
            parts = [take.weights.pop(f"{ours}.self_attn.{it}_proj.{kind}") for it in "qkv"]
            take.out[f"{prefix}{theirs}.attn.in_proj_{kind}"] = torch.cat(parts)
        take.layer(f"{theirs}.attn.out_proj", f"{ours}.self_attn.out_proj")
        take.layer(f"{theirs}.ln_1", f"{ours}.layer_norm1")
        take.layer(f"{theirs}.ln_2", f"{ours}.layer_norm2")
        take.layer(f"{theirs}.mlp.c_fc", f"{ours}.mlp.fc1")
        take.layer(f"{theirs}.mlp.c_proj", f"{ours}.mlp.fc2")
    take.layer("ln_final", "final_layer_norm")
    if "text_projection.weight" in take.weights:
        projection = take.weights.pop("text_projection.weight")
        take.out[f"{prefix}text_projection"] = projection.T.contiguous()
    take.out[f"{prefix}logit_scale"] = torch.tensor(4.6)
    return take.done()


TEXTS: Mapping[str, tuple[tuple[str, str, bool], ...]] = {
    "1": (("text_encoder", "cond_stage_model.transformer.", False),),
    "2": (("text_encoder", "cond_stage_model.model.", True),),
    "xl": (
        ("text_encoder", "conditioner.embedders.0.transformer.", False),
        ("text_encoder_2", "conditioner.embedders.1.model.", True),
    ),
    "refiner": (("text_encoder_2", "conditioner.embedders.0.model.", True),),
}
"""Form -> each text encoder's folder, its prefix, and whether open_clip trained it."""


def original_tensors(folder: Path, form: str, *, vae: bool = True) -> Tensors:
    """Return all weights of a diffusers folder, in the names of a form of TEXTS."""
    tensors = original_unet(*read_folder(folder, "unet"))
    if vae:
        tensors |= original_vae(*read_folder(folder, "vae"))
    for name, prefix, is_open in TEXTS[form]:
        config, weights = read_folder(folder, name)
        if is_open:
            tensors |= original_open_clip(weights, prefix, config["num_hidden_layers"])
        else:
            tensors |= original_clip(weights, prefix)
    return tensors


def original_pixart(weights: Tensors) -> Tensors:
    """Name a transformer as PixArt's own `PixArtMS` does."""
    left, out = dict(weights), {}

    def move(theirs: str, *ours: str) -> None:
        for kind in ("weight", "bias"):
            parts = [left.pop(f"{it}.{kind}") for it in ours]
            out[f"{theirs}.{kind}"] = torch.cat(parts)

    move("x_embedder.proj", "pos_embed.proj")
    move("y_embedder.y_proj.fc1", "caption_projection.linear_1")
    move("y_embedder.y_proj.fc2", "caption_projection.linear_2")
    move("t_embedder.mlp.0", "adaln_single.emb.timestep_embedder.linear_1")
    move("t_embedder.mlp.2", "adaln_single.emb.timestep_embedder.linear_2")
    move("t_block.1", "adaln_single.linear")
    move("final_layer.linear", "proj_out")
    out["final_layer.scale_shift_table"] = left.pop("scale_shift_table")
    for block in range(sum(key.endswith("attn1.to_q.weight") for key in weights)):
        ours, theirs = f"transformer_blocks.{block}", f"blocks.{block}"
        out[f"{theirs}.scale_shift_table"] = left.pop(f"{ours}.scale_shift_table")
        move(f"{theirs}.attn.qkv", *(f"{ours}.attn1.to_{it}" for it in "qkv"))
        move(f"{theirs}.attn.proj", f"{ours}.attn1.to_out.0")
        move(f"{theirs}.cross_attn.q_linear", f"{ours}.attn2.to_q")
        move(f"{theirs}.cross_attn.kv_linear", *(f"{ours}.attn2.to_{it}" for it in "kv"))
        move(f"{theirs}.cross_attn.proj", f"{ours}.attn2.to_out.0")
        move(f"{theirs}.mlp.fc1", f"{ours}.ff.net.0.proj")
        move(f"{theirs}.mlp.fc2", f"{ours}.ff.net.2")
    assert not left, sorted(left)
    out["pos_embed"] = torch.zeros(1, 64, 24)
    out["y_embedder.y_embedding"] = torch.zeros(120, 32)
    return out


def write_original(
    folder: Path,
    form: str,
    file: Path,
    *,
    vae: bool = True,
    dtype: torch.dtype | None = None,
    more: Tensors | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write a diffusers folder as one file, with `more` tensors, and return it."""
    tensors = original_tensors(folder, form, vae=vae) | (more or {})
    if dtype is not None:
        tensors = {
            key: it.to(dtype) if it.is_floating_point() else it for key, it in tensors.items()
        }
    tensors = {key: it.clone().contiguous() for key, it in tensors.items()}
    save_file(tensors, file, metadata=dict(metadata or {"format": "pt"}))
    return file


def keys_of(tensors: Mapping[str, Any]) -> Iterator[str]:
    yield from tensors
