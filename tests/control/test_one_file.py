"""ControlNets in one file: read under the names that diffusers' own conversion gives them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import EdgegenError
from edgegen.core.reading import Reading
from edgegen.models.pipeline_source import folder_source, open_source
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from tests.conftest import TinyPipeline
from tests.tiny_models import write_controlnet

HINT = (8, 8, 8, 16)
"""As many as lllyasviel's have: diffusers knows the last layer by its number, 14."""
WEIGHTS = "diffusion_pytorch_model.safetensors"
RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "controlnet_mid_block": "middle_block_out.0",
    "controlnet_cond_embedding.conv_in": "input_hint_block.0",
    "controlnet_cond_embedding.conv_out": "input_hint_block.14",
}


def in_the_authors_names(tensors: Mapping[str, Any], layers: int) -> dict[str, Any]:
    """Return a ControlNet's tensors as lllyasviel's code names them."""
    return {f"control_model.{old_name(name, layers)}": it for name, it in tensors.items()}


def old_name(name: str, layers: int) -> str:
    path, _, kind = name.rpartition(".")
    if path in ENDS:
        return f"{ENDS[path]}.{kind}"
    if match := re.fullmatch(r"controlnet_down_blocks\.(\d+)", path):
        return f"zero_convs.{match[1]}.0.{kind}"
    if match := re.fullmatch(r"controlnet_cond_embedding\.blocks\.(\d+)", path):
        return f"input_hint_block.{2 * int(match[1]) + 2}.{kind}"
    if match := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.+)", path):
        place = 1 if match[1] == "attentions" else 2 * int(match[2])
        inner = match[3] if place == 1 else RESNET[match[3]]
        return f"middle_block.{place}.{inner}.{kind}"
    match = re.fullmatch(
        r"down_blocks\.(\d+)\.(resnets|attentions|downsamplers)\.(\d+)\.(.+)", path
    )
    assert match is not None, name
    level, part, layer, inner = int(match[1]), match[2], int(match[3]), match[4]
    number = 1 + level * (layers + 1) + (layers if part == "downsamplers" else layer)
    if part == "downsamplers":
        return f"input_blocks.{number}.0.op.{kind}"
    if part == "attentions":
        return f"input_blocks.{number}.1.{inner}.{kind}"
    return f"input_blocks.{number}.0.{RESNET[inner]}.{kind}"


@pytest.mark.parametrize(
    ("family", "names"),
    [("sd15", "the authors'"), ("sd15", "diffusers'"), ("sdxl", "diffusers'")],
)
def test_a_file_is_read_as_diffusers_converts_it(
    family: str, names: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    net = write_controlnet(family, tmp_path / "net", conditioning_embedding_out_channels=HINT)
    tensors = load_file(net / WEIGHTS)
    file = tmp_path / "control.safetensors"
    save_file(tensors if names == "diffusers'" else in_the_authors_names(tensors, 1), file)
    model = resolve(str(tiny_pipeline(family)), reading=Reading(controlnets=(str(file),)))
    weights = open_source(folder_source(model.path)).weights("controlnet")
    assert set(weights.entries) == set(tensors)
    assert all(np.array_equal(weights.array(name), tensors[name]) for name in tensors)
    converted = converted_by_diffusers(load_file(file))
    assert set(converted) == set(tensors)
    assert all(np.array_equal(converted[name].numpy(), tensors[name]) for name in tensors)
    written = ComponentConfig.read(net / "config.json").data
    found = ComponentConfig.read(model.path / "controlnet" / "config.json").data
    for key in (
        *("block_out_channels", "layers_per_block", "down_block_types", "cross_attention_dim"),
        *("conditioning_embedding_out_channels", "use_linear_projection", "addition_embed_type"),
        *("conditioning_channels", "projection_class_embeddings_input_dim"),
    ):
        assert found.get(key) == written[key], key


def test_a_network_of_a_file_steers_as_that_of_its_folder(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    net = write_controlnet("sd15", tmp_path / "net")
    save_file(load_file(net / WEIGHTS), tmp_path / "control.safetensors")
    specs = [
        read_pipeline(
            resolve(str(tiny_pipeline("sd15")), reading=Reading(controlnets=(str(given),)))
        )
        for given in (net, tmp_path / "control.safetensors")
    ]
    assert specs[0].components == specs[1].components


def converted_by_diffusers(tensors: Mapping[str, Any]) -> Mapping[str, Any]:
    import torch
    from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint

    held = {name: torch.from_numpy(it) for name, it in tensors.items()}
    converted: Mapping[str, Any] = convert_controlnet_checkpoint(held, {"layers_per_block": 1})
    return {name: it for name, it in converted.items() if it is not None}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"control_model.input_blocks.9.0.in_layers.2.weight": (4, 4, 3, 3)}, "blocks on its way"),
        ({"control_model.strange.weight": (4,)}, "strange"),
        ({"control_model.input_hint_block.0.weight": None}, "no ControlNet"),
    ],
)
def test_a_file_that_is_none_is_refused(
    change: Mapping[str, Any], says: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    net = write_controlnet("sd15", tmp_path / "net")
    tensors = in_the_authors_names(load_file(net / WEIGHTS), 1)
    for key, shape in change.items():
        tensors.pop(key, None)
        if shape is not None:
            tensors[key] = np.zeros(shape, np.float32)
    save_file(tensors, tmp_path / "control.safetensors")
    reading = Reading(controlnets=(str(tmp_path / "control.safetensors"),))
    with pytest.raises(EdgegenError, match=says) as caught:
        read_pipeline(resolve(str(tiny_pipeline("sd15")), reading=reading))
    assert caught.value.hint
