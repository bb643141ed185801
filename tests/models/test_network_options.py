"""Networks that edgegen cannot export are named when a pipeline is read, long before a build."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgegen.core.configs import ComponentConfig
from edgegen.core.errors import SourceError
from edgegen.core.model import PipelineSpec
from edgegen.models.latent_sizes import size_problem
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from edgegen.networks import denoiser_of
from tests.conftest import TinyPipeline
from tests.tiny_models import write_json


def read(folder: Path) -> PipelineSpec:
    return read_pipeline(resolve(str(folder)))


def changed(source: Path, folder: Path, part: str, settings: Mapping[str, Any]) -> Path:
    """Copy a pipeline with other settings of one component."""
    shutil.copytree(source, folder)
    config = folder / part / "config.json"
    write_json(config, {**json.loads(config.read_text(encoding="utf-8")), **settings})
    return folder


@pytest.mark.parametrize(
    ("family", "part", "settings", "says"),
    [
        ("sd15", "unet", {"act_fn": "tanh"}, "'act_fn' is \"tanh\""),
        ("sd15", "unet", {"down_block_types": ["SkipDownBlock2D", "DownBlock2D"]}, "SkipDown"),
        ("sd15", "unet", {"up_block_types": ["UpBlock2D", "KUpBlock2D"]}, "KUpBlock2D"),
        ("sd15", "unet", {"down_block_types": ["KDownBlock2D", "DownBlock2D"]}, "stand together"),
        ("sd15", "unet", {"cross_attention_dim": [32, 48]}, "different widths"),
        ("sd15", "unet", {"norm_num_groups": None}, "'norm_num_groups' is null"),
        ("sd15", "unet", {"addition_embed_type": "image"}, "'addition_embed_type' 'image'"),
        (
            *("sd15", "unet"),
            {"encoder_hid_dim_type": "image_proj", "encoder_hid_dim": 32},
            "an image as a prompt",
        ),
        ("sd15", "unet", {"mid_block_type": "UNetMidBlock3DCrossAttn"}, "UNetMidBlock3D"),
        ("sd15", "unet", {"dual_cross_attention": True}, "'dual_cross_attention' is true"),
        ("sd15", "unet", {"num_attention_heads": 8}, "'num_attention_heads' is 8"),
        ("sd15", "unet", {"resnet_time_scale_shift": "ada_group"}, "ada_group"),
        ("sd15", "unet", {"out_channels": 8}, "predicts 8 channels"),
        ("ddpm", "unet", {"out_channels": 6}, "takes 3 channels and predicts 6"),
        ("ddpm", "unet", {"time_embedding_type": "rotary"}, "rotary"),
        ("ddpm", "unet", {"time_embedding_type": "learned"}, "num_train_timesteps"),
        ("ddpm", "unet", {"up_block_types": "UpBlock2D"}, "not a list"),
        ("ddpm", "unet", {"sample_size": 17}, "multiples of 2, and 17 × 17"),
        ("sd15", "vae", {"act_fn": "elu"}, "elu"),
        ("sd15", "vae", {"up_block_types": ["UpBlock2D", "UpDecoderBlock2D"]}, "UpBlock2D"),
        (
            *("sd-inpaint-asymmetric", "vae"),
            {"down_block_out_channels": [8, 16, 32]},
            "has 4 levels and 'down_block_out_channels' 3",
        ),
        ("taesd", "vae", {"upsample_fn": "bicubic"}, "bicubic"),
        ("taesd", "vae", {"upsampling_scaling_factor": 3}, "'upsampling_scaling_factor' is 3"),
        ("taesd", "vae", {"encoder_block_out_channels": [16, 32]}, "one number of channels"),
        ("sd15", "text_encoder", {"hidden_act": "laplace"}, "laplace"),
    ],
)
def test_what_edgegen_cannot_export_is_refused_by_name(
    family: str,
    part: str,
    settings: Mapping[str, Any],
    says: str,
    tiny_pipeline: TinyPipeline,
    tmp_path: Path,
) -> None:
    folder = changed(tiny_pipeline(family), tmp_path / "model", part, settings)
    with pytest.raises(SourceError, match=says) as caught:
        read(folder)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("settings", "multiple"),
    [
        ({}, 1),
        ({"up_block_types": ["UNetResUpBlock2D", "CrossAttnUpBlock2D"], "act_fn": "SiLU"}, 1),
        ({"up_block_types": ["SimpleCrossAttnUpBlock2D", "CrossAttnUpBlock2D"]}, 2),
        ({"up_block_types": ["CrossAttnUpBlock2D", "SimpleCrossAttnUpBlock2D"]}, 1),
    ],
)
def test_blocks_that_ignore_the_size_of_a_skip_want_multiples(
    settings: Mapping[str, Any], multiple: int, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = changed(tiny_pipeline("sd15"), tmp_path / "model", "unet", settings)
    unet = ComponentConfig.read(folder / "unet" / "config.json")
    assert denoiser_of("UNet2DConditionModel").multiple(unet) == multiple


@pytest.mark.parametrize(("family", "multiple_px"), [("sd15", 8), ("ddpm", 2)])
def test_sizes_are_those_that_diffusers_draws(
    family: str, multiple_px: int, tiny_pipeline: TinyPipeline
) -> None:
    generation = read(tiny_pipeline(family)).generation
    assert generation.vae_scale_factor * generation.latent_multiple == multiple_px
    right = replace(generation, width=5 * multiple_px, height=3 * multiple_px)
    assert size_problem(right) is None
    assert size_problem(replace(right, width=right.width + multiple_px // 2)) is not None
