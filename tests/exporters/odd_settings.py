"""Settings of networks beyond those that edgegen's tables list: each is held against torch.

They follow the constructors of diffusers' classes, and what diffusers' own tests set there
(tests/models/unets, tests/models/autoencoders).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.tiny_models import HIDDEN

_SIMPLE: Mapping[str, Any] = {  # as in DeepFloyd IF
    "down_block_types": ("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
    "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
    "up_block_types": ("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
}
LATENT_UPSCALER: Mapping[str, Any] = {  # as in stabilityai/sd-x2-latent-upscaler
    "act_fn": "gelu",
    "attention_head_dim": 8,
    "block_out_channels": (32, 64, 64),  # the last two and the time's are alike there, too
    "conv_in_kernel": 1,
    "conv_out_kernel": 1,
    "down_block_types": ("KDownBlock2D", "KCrossAttnDownBlock2D", "KCrossAttnDownBlock2D"),
    "layers_per_block": 2,
    "mid_block_type": None,
    "norm_num_groups": None,
    "only_cross_attention": False,
    "resnet_time_scale_shift": "scale_shift",
    "time_cond_proj_dim": 16,
    "time_embedding_type": "fourier",
    "timestep_post_act": "gelu",
    "up_block_types": ("KCrossAttnUpBlock2D", "KCrossAttnUpBlock2D", "KUpBlock2D"),
}
SETTINGS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "UNet2DConditionModel": {
        "addition_embed_type": {"addition_embed_type": "text", "addition_embed_type_num_heads": 4},
        "attention_head_dim": {"attention_head_dim": [2, 8]},
        "center_input_sample": {"center_input_sample": True},
        "conv_in_kernel": {"conv_in_kernel": 5},
        "conv_out_kernel": {"conv_out_kernel": 1},
        "cross_attention_dim": {
            "cross_attention_dim": [16, HIDDEN],
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        },
        "cross_attention_norm": {**_SIMPLE, "cross_attention_norm": "group_norm"},
        "downsample_padding": {"downsample_padding": 0},
        "dropout": {"dropout": 0.3},
        "encoder_hid_dim": {"encoder_hid_dim": HIDDEN, "cross_attention_dim": 24},
        "encoder_hid_dim_type": {
            "encoder_hid_dim": HIDDEN,
            "encoder_hid_dim_type": "text_proj",
            "cross_attention_dim": 24,
            "addition_embed_type": "text",
            "addition_embed_type_num_heads": 2,
        },
        "flip_sin_to_cos": {"flip_sin_to_cos": False},
        "freq_shift": {"freq_shift": 1},
        "K-diffusion's blocks": LATENT_UPSCALER,
        "layers_per_block": {"layers_per_block": [1, 2]},
        "mid_block_only_cross_attention": {**_SIMPLE, "mid_block_only_cross_attention": True},
        "mid_block_scale_factor": {"mid_block_scale_factor": 1.4},
        "norm_eps": {"norm_eps": 1e-3},
        "only_cross_attention": {"only_cross_attention": [False, True]},
        "resnet_out_scale_factor": {**_SIMPLE, "resnet_out_scale_factor": 1.4},
        "resnet_skip_time_act": {**_SIMPLE, "resnet_skip_time_act": True},
        "time_cond_proj_dim": {"time_cond_proj_dim": 16},
        "time_embedding_dim": {"time_embedding_dim": 48},
        "transformer_layers_per_block": {
            "transformer_layers_per_block": [[2], 1],
            "reverse_transformer_layers_per_block": [[1, 2], 1],
        },
        "upcast_attention": {"upcast_attention": True},
        "use_linear_projection": {"use_linear_projection": True},
    },
    "UNet2DModel": {
        "add_attention": {"add_attention": False},
        "attention_head_dim": {"attention_head_dim": None},
        "attn_norm_num_groups": {"attn_norm_num_groups": 4},
        "center_input_sample": {"center_input_sample": True},
        "downsample_padding": {"downsample_padding": 0},
        "dropout": {"dropout": 0.3},
        "flip_sin_to_cos": {"flip_sin_to_cos": False},
        "freq_shift": {"freq_shift": 1},
        "mid_block_scale_factor": {"mid_block_scale_factor": 1.4},
        "norm_eps": {"norm_eps": 1e-3},
        "time_embedding_dim": {"time_embedding_dim": 48},
        "time_embedding_type": {"time_embedding_type": "learned", "num_train_timesteps": 1000},
    },
    "AutoencoderKL": {
        "force_upcast": {"force_upcast": True},
        "latents": {"latents_mean": [0.1, 0.2, -0.1, 0.0], "latents_std": [0.9, 1.1, 1.0, 1.2]},
        "mid_block_add_attention": {"mid_block_add_attention": False},
        "norm_num_groups": {"norm_num_groups": 4},
        "shift_factor": {"shift_factor": 0.1},
        "use_post_quant_conv": {"use_post_quant_conv": False},
        "use_quant_conv": {"use_quant_conv": False},
    },
    "AsymmetricAutoencoderKL": {
        "layers_per_down_block": {"layers_per_down_block": 2},
        "layers_per_up_block": {"layers_per_up_block": 2},
        "norm_num_groups": {"norm_num_groups": 8},
    },
    "AutoencoderTiny": {
        "force_upcast": {"force_upcast": True},
        "latent_channels": {"latent_channels": 4, "latent_magnitude": 2},
        "latent_shift": {"latent_shift": 0.4},
        "num_blocks": {"num_encoder_blocks": (1, 2), "num_decoder_blocks": (2, 1)},
    },
}
"""Class of a network -> what is set -> the settings."""
