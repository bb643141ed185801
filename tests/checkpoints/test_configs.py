"""The configs that edgegen finds for a checkpoint are those that its authors published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from edgegen.checkpoints.form import Checkpoint, Said, read_checkpoint
from edgegen.core.errors import SourceError
from tests.checkpoints.original import (
    original_clip,
    original_open_clip,
    original_unet,
    original_vae,
)

SD1: Mapping[str, Any] = {
    "block_out_channels": [320, 640, 1280, 1280],
    "layers_per_block": 2,
    "attention_head_dim": 8,
    "cross_attention_dim": 768,
    "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"],
    "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3],
}
SD2 = dict(
    SD1, attention_head_dim=[5, 10, 20, 20], cross_attention_dim=1024, use_linear_projection=True
)
SDXL: Mapping[str, Any] = {
    "block_out_channels": [320, 640, 1280],
    "layers_per_block": 2,
    "attention_head_dim": [5, 10, 20],
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "transformer_layers_per_block": [1, 2, 10],
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
REFINER = dict(
    SDXL,
    block_out_channels=[384, 768, 1536, 1536],
    attention_head_dim=[6, 12, 24, 24],
    cross_attention_dim=1280,
    down_block_types=["DownBlock2D", *["CrossAttnDownBlock2D"] * 2, "DownBlock2D"],
    up_block_types=["UpBlock2D", *["CrossAttnUpBlock2D"] * 2, "UpBlock2D"],
    transformer_layers_per_block=4,
    projection_class_embeddings_input_dim=2560,
)
UNETS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "Stable Diffusion 1.5": ("1", SD1),
    "Stable Diffusion 1.5, inpainting": ("1", dict(SD1, in_channels=9)),
    "Stable Diffusion 2.1": ("2", SD2),
    "SDXL": ("xl", SDXL),
    "SDXL, inpainting": ("xl", dict(SDXL, in_channels=9)),
    "SDXL's refiner": ("refiner", REFINER),
    "SSD-1B": (
        "xl",
        dict(
            SDXL,
            mid_block_type="UNetMidBlock2D",
            transformer_layers_per_block=[1, 2, 4],
            reverse_transformer_layers_per_block=[[4, 4, 10], [2, 1, 1], 1],
        ),
    ),
    "Segmind Vega": (
        "xl",
        dict(
            SDXL,
            mid_block_type="UNetMidBlock2D",
            transformer_layers_per_block=[1, 1, 2],
        ),
    ),
    "KOALA-700M": (
        "xl",
        dict(
            SDXL,
            layers_per_block=1,
            mid_block_type=None,
            transformer_layers_per_block=[1, 2, 5],
        ),
    ),
    "BK-SDM-Small": (
        "1",
        dict(SD1, layers_per_block=1, mid_block_type=None),
    ),
    "BK-SDM-Tiny": (
        "1",
        dict(
            SD1,
            layers_per_block=1,
            mid_block_type=None,
            block_out_channels=[320, 640, 1280],
            down_block_types=["CrossAttnDownBlock2D"] * 3,
            up_block_types=["CrossAttnUpBlock2D"] * 3,
        ),
    ),
    "LCM Dreamshaper": ("1", dict(SD1, time_cond_proj_dim=256)),
}
"""Model -> its form, and what its config says besides diffusers' defaults."""
CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}
CLIP_H = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24}
CLIP_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32}
TEXTS: Mapping[str, tuple[tuple[str, bool, Mapping[str, int]], ...]] = {
    "1": (("cond_stage_model.transformer.", False, CLIP_L),),
    "2": (("cond_stage_model.model.", True, CLIP_H),),
    "xl": (
        ("conditioner.embedders.0.transformer.", False, CLIP_L),
        ("conditioner.embedders.1.model.", True, CLIP_G),
    ),
    "refiner": (("conditioner.embedders.0.model.", True, CLIP_G),),
}
VAE: Mapping[str, Any] = {
    "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2,
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "latent_channels": 4,
}


def unet_of(config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        return dict(UNet2DConditionModel(**config).state_dict())


def text_of(prefix: str, is_open: bool, sizes: Mapping[str, int]) -> dict[str, torch.Tensor]:
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    config = CLIPTextConfig(**sizes, vocab_size=49_408, projection_dim=sizes["hidden_size"])
    with torch.device("meta"):
        state = CLIPTextModelWithProjection(config).state_dict()
    weights = {key.removeprefix("text_model."): it for key, it in state.items()}
    weights = {key: it for key, it in weights.items() if not key.endswith("position_ids")}
    if is_open:
        return original_open_clip(weights, prefix, sizes["num_hidden_layers"])
    del weights["text_projection.weight"]
    return original_clip(weights, prefix)


def file_of(form: str, unet: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a file at full size; nothing of it has memory."""
    from diffusers import AutoencoderKL

    with torch.device("meta"):
        vae = dict(AutoencoderKL(**VAE).state_dict())
    defaults = {"layers_per_block": 2, "block_out_channels": (320, 640, 1280, 1280)}
    tensors = original_unet({**defaults, **unet}, unet_of(unet)) | original_vae(VAE, vae)
    for prefix, is_open, sizes in TEXTS[form]:
        tensors |= text_of(prefix, is_open, sizes)
    return {key: tuple(it.shape) for key, it in tensors.items()}


def read(shapes: Mapping[str, tuple[int, ...]], **said: Any) -> Checkpoint:
    return read_checkpoint(shapes, Said(**{"metadata": {}, **said}), where="model.safetensors")


@pytest.mark.parametrize("name", UNETS)
def test_a_unet_s_config_is_counted_from_its_shapes(name: str) -> None:
    form, published = UNETS[name]

    found = read(file_of(form, published)).components["unet"]

    assert found.config is not None
    for key, value in published.items():
        assert found.config.get(key) == value, key
    settings = {key: it for key, it in found.config.items() if key != "sample_size"}
    expected = {key: tuple(it.shape) for key, it in unet_of(settings).items()}
    assert {key: it.shape for key, it in found.parameters.items()} == expected


@pytest.mark.parametrize("form", TEXTS)
def test_a_text_encoder_s_config_is_counted_from_its_shapes(form: str) -> None:
    unet = {"1": SD1, "2": SD2, "xl": SDXL, "refiner": REFINER}[form]

    components = read(file_of(form, unet)).components

    texts = [it for name, it in components.items() if name.startswith("text_encoder")]
    for component, (_, is_open, sizes) in zip(texts, TEXTS[form], strict=True):
        config = component.config
        assert config is not None
        layers = sizes["num_hidden_layers"] - (form == "2")  # the last is never read
        assert config["num_hidden_layers"] == layers
        assert config["num_attention_heads"] == sizes["hidden_size"] // 64
        assert config["hidden_act"] == ("gelu" if is_open else "quick_gelu")
    vae = components["vae"].config
    assert vae is not None
    assert vae["scaling_factor"] == (0.13025 if form in ("xl", "refiner") else 0.18215)
    for key, value in VAE.items():
        assert vae[key] == value


@pytest.mark.parametrize(
    ("said", "expected", "side"),
    [
        ({}, "v_prediction", 96),
        ({"global_step": 875_000}, "epsilon", 64),
        ({"global_step": 110_000}, "v_prediction", 96),
        ({"metadata": {"modelspec.prediction_type": "epsilon"}}, "epsilon", 64),
        ({"prediction": "epsilon"}, "epsilon", 64),
        ({"prediction": "v_prediction", "global_step": 875_000}, "v_prediction", 96),
    ],
)
def test_stable_diffusion_2_predicts_what_is_said_or_v(
    said: Mapping[str, Any], expected: str, side: int
) -> None:
    found = read(file_of("2", SD2), **said)

    assert found.scheduler["prediction_type"] == expected
    config = found.components["unet"].config
    assert config is not None
    assert config["sample_size"] == side


def test_a_mark_in_the_file_says_that_it_predicts_v_down_to_no_signal() -> None:
    shapes = file_of("xl", SDXL) | {"v_pred": (0,), "ztsnr": (0,)}

    scheduler = read(shapes).scheduler

    assert scheduler["prediction_type"] == "v_prediction"
    assert scheduler["rescale_betas_zero_snr"] is True


def test_what_training_kept_is_left_out_and_counted() -> None:
    shapes = file_of("1", SD1)
    unet = [key for key in shapes if key.startswith("model.diffusion_model.")]
    shapes |= {f"model_ema.{key[6:].replace('.', '')}": shapes[key] for key in unet}
    shapes |= {"model_ema.decay": (), "betas": (1000,), "sqrt_alphas_cumprod": (1000,)}
    shapes |= {
        "global_step": (),
        "cond_stage_model.transformer.text_model.embeddings.position_ids": (1, 77),
    }

    found = read(shapes)

    assert found.left_out["averaged weights (EMA)"] == len(unet) + 1
    assert found.left_out["noise schedule"] == 2
    assert len(found.components["unet"].parameters) == len(unet)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (["double_blocks.0.img_attn.norm.key_norm.scale"], "FLUX"),
        (["model.diffusion_model.joint_blocks.0.x_block.mlp.fc1.weight"], "Stable Diffusion 3"),
        (["lora_unet_mid_block_attentions_0_proj_in.lora_down.weight"], "a LoRA"),
        (["emb_params"], "a textual inversion"),
        (["control_model.time_embed.0.weight"], "a ControlNet"),
        (["model.0.weight", "model.1.sub.0.RDB1.conv1.0.weight"], "an upscaler"),
        (["edm_mean", "edm_std", "model.diffusion_model.out.2.weight"], "Playground"),
        (["first_stage_model.encoder.conv_in.weight"], "--vae"),
        (["something.else"], "holds no UNet"),
    ],
)
def test_a_file_of_another_kind_is_refused_by_its_name(keys: list[str], words: str) -> None:
    with pytest.raises(SourceError) as caught:
        read(dict.fromkeys(keys, (8, 8)))

    assert words in caught.value.message + caught.value.hint
    assert caught.value.hint


def test_a_key_that_matches_nothing_is_an_error_that_names_it() -> None:
    shapes = file_of("1", SD1)
    shapes["model.diffusion_model.input_blocks.1.0.in_layers.9.weight"] = (3,)

    with pytest.raises(SourceError, match=r"input_blocks\.1\.0\.in_layers\.9"):
        read(shapes)
