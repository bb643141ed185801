"""Builds tiny pipelines with random weights on disk: every family's real classes, in a second.

The weights are scaled so that activations stay near one: outputs are finite and not constant.
Images are 32×32, latents 16×16; prompts have 77 tokens.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

SENTENCEPIECE = Path(__file__).parent / "data" / "t5" / "spiece.model"
TIME_EMBEDDING = 8
PROJECTION = 24
HIDDEN, HIDDEN_2 = 32, 48
MERGES = ("c a", "ca t</w>", "d o", "do g</w>", "t h", "th e</w>", "i n", "in g</w>", "a n", "e r")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What `build` writes for one family; `denoiser` is the folder of what `unet` configures."""

    pipeline: str
    unet: Mapping[str, Any]
    scheduler: tuple[str, Mapping[str, Any]]
    low_res_scheduler: tuple[str, Mapping[str, Any]] | None = None
    denoiser: str = "unet"
    unet_class: str = "UNet2DConditionModel"
    vae: str | None = "AutoencoderKL"
    vae_settings: Mapping[str, Any] = field(default_factory=dict)
    text_encoder: Mapping[str, Any] | None = field(default_factory=dict)
    text_encoder_2: Mapping[str, Any] | None = None
    t5: Mapping[str, Any] | None = None
    pad_token: str = "<|endoftext|>"
    settings: Mapping[str, Any] = field(default_factory=dict)
    old_text_keys: bool = False
    controlnets: int = 0
    adapter: Mapping[str, Any] | None = None


UNET: Mapping[str, Any] = {
    "sample_size": 16,
    "in_channels": 4,
    "out_channels": 4,
    "layers_per_block": 1,
    "block_out_channels": (32, 64),
    "norm_num_groups": 8,
    "cross_attention_dim": HIDDEN,
    "attention_head_dim": 4,
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
}
SDXL_UNET: Mapping[str, Any] = dict(
    UNET,
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    attention_head_dim=[2, 4],
    transformer_layers_per_block=[1, 2],
    use_linear_projection=True,
    cross_attention_dim=HIDDEN + HIDDEN_2,
    addition_embed_type="text_time",
    addition_time_embed_dim=TIME_EMBEDDING,
    projection_class_embeddings_input_dim=PROJECTION + 6 * TIME_EMBEDDING,
)
UNCONDITIONAL_UNET: Mapping[str, Any] = {
    "sample_size": 16,
    "in_channels": 3,
    "out_channels": 3,
    "layers_per_block": 1,
    "block_out_channels": (32, 64),
    "norm_num_groups": 8,
    "attention_head_dim": 8,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
}
PIXART: Mapping[str, Any] = {
    "sample_size": 16,
    "num_layers": 2,
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "in_channels": 4,
    "out_channels": 8,
    "cross_attention_dim": 24,
    "caption_channels": HIDDEN,
}
OF_CONTROLNETS = (
    *("layers_per_block", "block_out_channels", "norm_num_groups", "cross_attention_dim"),
    *("attention_head_dim", "down_block_types", "transformer_layers_per_block"),
    *("use_linear_projection", "addition_embed_type", "addition_time_embed_dim"),
    "projection_class_embeddings_input_dim",
)
"""What a ControlNet has of its UNet's settings."""
ADAPTER: Mapping[str, Any] = {
    "channels": [32, 64],
    "num_res_blocks": 1,
    "downscale_factor": 2,
    "adapter_type": "full_adapter",
}
ADAPTER_XL: Mapping[str, Any] = dict(ADAPTER, downscale_factor=4, adapter_type="full_adapter_xl")
BETAS: Mapping[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
}
DDIM = ("DDIMScheduler", dict(BETAS, clip_sample=False, set_alpha_to_one=False))
PNDM = ("PNDMScheduler", dict(BETAS, skip_prk_steps=True, set_alpha_to_one=False))
DPM_SOLVER = (
    "DPMSolverMultistepScheduler",
    {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear"},
)
EULER = ("EulerDiscreteScheduler", dict(BETAS, timestep_spacing="leading"))

FAMILIES: Mapping[str, Recipe] = {
    "sd15": Recipe(
        pipeline="StableDiffusionPipeline", unet=UNET, scheduler=PNDM, old_text_keys=True
    ),
    "sd21": Recipe(
        pipeline="StableDiffusionPipeline",
        unet=dict(UNET, use_linear_projection=True, attention_head_dim=[2, 4]),
        scheduler=("DDIMScheduler", dict(DDIM[1], prediction_type="v_prediction")),
        text_encoder={"hidden_act": "gelu"},
        pad_token="!",
    ),
    "sdxl": Recipe(
        pipeline="StableDiffusionXLPipeline",
        unet=SDXL_UNET,
        scheduler=EULER,
        text_encoder_2={"hidden_act": "gelu"},
        settings={"force_zeros_for_empty_prompt": True},
    ),
    "sdxl-refiner": Recipe(
        pipeline="StableDiffusionXLImg2ImgPipeline",
        unet=dict(
            SDXL_UNET,
            cross_attention_dim=HIDDEN_2,
            projection_class_embeddings_input_dim=PROJECTION + 5 * TIME_EMBEDDING,
        ),
        scheduler=EULER,
        text_encoder=None,
        text_encoder_2={"hidden_act": "gelu"},
        settings={"requires_aesthetics_score": True, "force_zeros_for_empty_prompt": False},
    ),
    "sdxl-inpaint": Recipe(
        pipeline="StableDiffusionXLInpaintPipeline",
        unet=dict(SDXL_UNET, in_channels=9),
        scheduler=EULER,
        text_encoder_2={"hidden_act": "gelu"},
        settings={"requires_aesthetics_score": False, "force_zeros_for_empty_prompt": True},
    ),
    "lcm": Recipe(
        pipeline="LatentConsistencyModelPipeline",
        unet=dict(UNET, time_cond_proj_dim=16),
        scheduler=("LCMScheduler", dict(BETAS, steps_offset=0, original_inference_steps=50)),
    ),
    "sd-inpaint": Recipe(
        pipeline="StableDiffusionInpaintPipeline", unet=dict(UNET, in_channels=9), scheduler=PNDM
    ),
    "sd15-controlnet": Recipe(
        pipeline="StableDiffusionControlNetPipeline", unet=UNET, scheduler=PNDM, controlnets=1
    ),
    "sd-inpaint-controlnet": Recipe(
        pipeline="StableDiffusionControlNetInpaintPipeline",
        unet=dict(UNET, in_channels=9),
        scheduler=DDIM,
        controlnets=1,
    ),
    "sdxl-controlnets": Recipe(
        pipeline="StableDiffusionXLControlNetPipeline",
        unet=SDXL_UNET,
        scheduler=EULER,
        text_encoder_2={"hidden_act": "gelu"},
        settings={"force_zeros_for_empty_prompt": True},
        controlnets=2,
    ),
    "sdxl-inpaint-controlnet": Recipe(
        pipeline="StableDiffusionXLControlNetInpaintPipeline",
        unet=dict(SDXL_UNET, in_channels=9),
        scheduler=EULER,
        text_encoder_2={"hidden_act": "gelu"},
        settings={"requires_aesthetics_score": False, "force_zeros_for_empty_prompt": True},
        controlnets=1,
    ),
    "sd-edit": Recipe(
        pipeline="StableDiffusionInstructPix2PixPipeline",
        unet=dict(UNET, in_channels=8),
        scheduler=PNDM,
    ),
    "sd-upscale": Recipe(
        pipeline="StableDiffusionUpscalePipeline",
        unet=dict(UNET, in_channels=7, num_class_embeds=1000, use_linear_projection=True),
        scheduler=DDIM,
        low_res_scheduler=("DDPMScheduler", {"beta_schedule": "squaredcos_cap_v2"}),
        vae_settings={"scaling_factor": 0.08333},
        settings={"max_noise_level": 350},
    ),
    "sd-latent-upscale": Recipe(
        pipeline="StableDiffusionLatentUpscalePipeline",
        unet=dict(  # as in stabilityai/sd-x2-latent-upscaler, with a level less
            UNET,
            in_channels=8,
            out_channels=5,
            act_fn="gelu",
            layers_per_block=2,
            norm_num_groups=None,
            time_cond_proj_dim=128 + HIDDEN,
            conv_in_kernel=1,
            conv_out_kernel=1,
            attention_head_dim=8,
            block_out_channels=(32, 64, 64),
            down_block_types=("KDownBlock2D", "KCrossAttnDownBlock2D", "KCrossAttnDownBlock2D"),
            mid_block_type=None,
            up_block_types=("KCrossAttnUpBlock2D", "KCrossAttnUpBlock2D", "KUpBlock2D"),
            resnet_time_scale_shift="scale_shift",
            time_embedding_type="fourier",
            timestep_post_act="gelu",
        ),
        scheduler=("EulerDiscreteScheduler", {"prediction_type": "sample"}),
    ),
    "sd-depth": Recipe(
        pipeline="StableDiffusionDepth2ImgPipeline",
        unet=dict(UNET, in_channels=5, use_linear_projection=True),
        scheduler=PNDM,
        settings={"depth_estimator": [None, None]},
    ),
    "sdxl-edit": Recipe(
        pipeline="StableDiffusionXLInstructPix2PixPipeline",
        unet=dict(SDXL_UNET, in_channels=8),
        scheduler=EULER,
        text_encoder_2={"hidden_act": "gelu"},
        settings={"force_zeros_for_empty_prompt": True},
    ),
    "sd-inpaint-asymmetric": Recipe(
        pipeline="StableDiffusionInpaintPipeline",
        unet=dict(UNET, in_channels=9, sample_size=8),
        scheduler=PNDM,
        vae="AsymmetricAutoencoderKL",
    ),
    "sd15-adapter": Recipe(
        pipeline="StableDiffusionAdapterPipeline", unet=UNET, scheduler=DDIM, adapter=ADAPTER
    ),
    "sdxl-adapter": Recipe(
        pipeline="StableDiffusionXLAdapterPipeline",
        unet=SDXL_UNET,
        scheduler=EULER,
        text_encoder_2={"hidden_act": "gelu"},
        settings={"force_zeros_for_empty_prompt": True},
        adapter=ADAPTER_XL,
    ),
    "taesd": Recipe(
        pipeline="StableDiffusionPipeline", unet=UNET, scheduler=DDIM, vae="AutoencoderTiny"
    ),
    "pixart": Recipe(
        pipeline="PixArtAlphaPipeline",
        denoiser="transformer",
        unet=dict(PIXART, use_additional_conditions=False),
        unet_class="PixArtTransformer2DModel",
        scheduler=DPM_SOLVER,
        text_encoder=None,
        t5={},
    ),
    "pixart-sigma": Recipe(
        pipeline="PixArtSigmaPipeline",
        denoiser="transformer",
        unet=dict(PIXART, interpolation_scale=2),
        unet_class="PixArtTransformer2DModel",
        scheduler=DPM_SOLVER,
        text_encoder=None,
        t5={},
    ),
    "consistency": Recipe(
        pipeline="ConsistencyModelPipeline",
        unet=dict(  # as in openai/diffusers-cd_imagenet64_l2
            UNCONDITIONAL_UNET,
            num_class_embeds=10,
            resnet_time_scale_shift="scale_shift",
            down_block_types=("ResnetDownsampleBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "ResnetUpsampleBlock2D"),
            downsample_type="resnet",
            upsample_type="resnet",
        ),
        unet_class="UNet2DModel",
        scheduler=("CMStochasticIterativeScheduler", {}),
        vae=None,
        text_encoder=None,
    ),
    "ddpm": Recipe(
        pipeline="DDPMPipeline",
        unet=UNCONDITIONAL_UNET,
        unet_class="UNet2DModel",
        scheduler=("DDPMScheduler", {"beta_schedule": "linear"}),
        vae=None,
        text_encoder=None,
    ),
    "ddim": Recipe(
        pipeline="DDIMPipeline",
        unet=dict(  # as in google/ddpm-cifar10-32
            UNCONDITIONAL_UNET,
            attention_head_dim=None,
            downsample_padding=0,
            flip_sin_to_cos=False,
            freq_shift=1,
            act_fn="silu",
        ),
        unet_class="UNet2DModel",
        scheduler=("DDIMScheduler", {"beta_schedule": "linear"}),
        vae=None,
        text_encoder=None,
    ),
}


def absent(family: str) -> dict[str, None]:
    """Return the components that diffusers wants to be told to do without."""
    return dict.fromkeys(("depth_estimator", "feature_extractor")) if family == "sd-depth" else {}


def build(
    family: str,
    folder: Path,
    *,
    dtype: str = "float32",
    seed: int = 0,
    changes: Mapping[str, Mapping[str, Any]] | None = None,
) -> Path:
    """Write the pipeline of a family (a key of FAMILIES) into `folder`, and return it.

    `changes` are settings of the components `unet`, `vae` and `text_encoder` that differ.
    """
    import diffusers

    changed: Mapping[str, Mapping[str, Any]] = changes or {}
    recipe = FAMILIES[family]
    recipe = replace(recipe, unet={**recipe.unet, **changed.get("unet", {})})
    if recipe.text_encoder is not None:
        text_encoder = {**recipe.text_encoder, **changed.get("text_encoder", {})}
        recipe = replace(recipe, text_encoder=text_encoder)
    write = _Writer(folder, dtype, seed)
    index: dict[str, Any] = {"_class_name": recipe.pipeline, "_diffusers_version": "0.35.0"}
    unet = _on_meta(lambda: getattr(diffusers, recipe.unet_class)(**recipe.unet))
    write.diffusers_model(recipe.denoiser, unet)
    index[recipe.denoiser] = ["diffusers", recipe.unet_class]
    for number in range(recipe.controlnets):
        name = f"controlnet_{number}" if number else "controlnet"
        write.diffusers_model(name, tiny_controlnet(recipe.unet))
    if recipe.controlnets:
        several = recipe.controlnets > 1
        index["controlnet"] = [
            "diffusers",
            "MultiControlNetModel" if several else "ControlNetModel",
        ]
    if recipe.adapter is not None:
        write.diffusers_model("adapter", tiny_adapter(**recipe.adapter))
        index["adapter"] = ["diffusers", "T2IAdapter"]
    if recipe.vae is not None:
        vae = {**recipe.vae_settings, **changed.get("vae", {})}
        write.diffusers_model("vae", _on_meta(lambda: _vae(str(recipe.vae), vae)))
        index["vae"] = ["diffusers", recipe.vae]
    if recipe.t5 is not None:
        write.t5(dict(recipe.t5))
        write_t5_tokenizer(folder / "tokenizer", serialized=True)
    elif recipe.vae is not None and "XL" not in recipe.pipeline:
        index |= {"safety_checker": [None, None], "requires_safety_checker": False}
    if recipe.vae is not None and recipe.t5 is None:
        index |= {"feature_extractor": [None, None], "image_encoder": [None, None]}
        index["text_encoder"] = index["tokenizer"] = [None, None]
    if "Refiner" in recipe.pipeline or "XLI" in recipe.pipeline:
        del index["image_encoder"], index["feature_extractor"]
    if recipe.text_encoder is not None:
        write.text_encoder(
            "text_encoder",
            "CLIPTextModel",
            dict(recipe.text_encoder),
            old_keys=recipe.old_text_keys,
        )
        write_tokenizer(folder / "tokenizer", pad_token=recipe.pad_token)
        index["text_encoder"] = ["transformers", "CLIPTextModel"]
        index["tokenizer"] = ["transformers", "CLIPTokenizer"]
    if recipe.text_encoder_2 is not None:
        configuration = dict(recipe.text_encoder_2, hidden_size=HIDDEN_2, num_hidden_layers=3)
        write.text_encoder("text_encoder_2", "CLIPTextModelWithProjection", configuration)
        write_tokenizer(folder / "tokenizer_2", pad_token="!")
        index["text_encoder_2"] = ["transformers", "CLIPTextModelWithProjection"]
        index["tokenizer_2"] = ["transformers", "CLIPTokenizer"]
    if recipe.t5 is not None:
        index["text_encoder"] = ["transformers", "T5EncoderModel"]
        index["tokenizer"] = ["transformers", "T5Tokenizer"]
    for entry, scheduler in (
        ("scheduler", recipe.scheduler),
        ("low_res_scheduler", recipe.low_res_scheduler),
    ):
        if scheduler is not None:
            name, settings = scheduler
            getattr(diffusers, name)(**settings).save_pretrained(folder / entry)
            index[entry] = ["diffusers", name]
    write_json(folder / "model_index.json", index | dict(recipe.settings))
    return folder


def write_controlnet(family: str, folder: Path, *, seed: int = 7, **settings: Any) -> Path:
    """Write a ControlNet for the pipeline of a family (a key of FAMILIES), and return its folder.

    `settings` replace those that it has of the UNet.
    """
    model = tiny_controlnet(FAMILIES[family].unet, **settings)
    _Writer(folder.parent, "float32", seed).diffusers_model(folder.name, model)
    return folder


def write_adapter(folder: Path, *, seed: int = 7, **settings: Any) -> Path:
    """Write a T2I-Adapter, and return its folder."""
    _Writer(folder.parent, "float32", seed).diffusers_model(folder.name, tiny_adapter(**settings))
    return folder


def tiny_adapter(**settings: Any) -> Any:
    """Return a T2I-Adapter without weights."""
    import diffusers

    return _on_meta(lambda: diffusers.T2IAdapter(**settings))


def tiny_controlnet(unet: Mapping[str, Any], **settings: Any) -> Any:
    """Return a ControlNet of a UNet's settings, without weights; a latent has two pixels."""
    import diffusers

    own = {name: unet[name] for name in OF_CONTROLNETS if name in unet}
    wanted = {**own, "conditioning_embedding_out_channels": (8, 16), **settings}
    return _on_meta(lambda: diffusers.ControlNetModel(**wanted))


def write_tokenizer(
    folder: Path,
    *,
    pad_token: str = "<|endoftext|>",
    length: int = 77,
    vocabulary_size: int | None = None,
) -> None:
    """Write the four files of a CLIP tokenizer that encodes any text: bytes and a few merges.

    Tokens that no text gives fill the vocabulary up to `vocabulary_size`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = _vocabulary()
    unused = (vocabulary_size or len(vocabulary)) - len(vocabulary)
    vocabulary[-2:-2] = [f"<|unused{i}|>" for i in range(unused)]
    write_json(folder / "vocab.json", {token: i for i, token in enumerate(vocabulary)})
    lines = ["#version: 0.2", *MERGES]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    special = {
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": pad_token,
    }
    write_json(folder / "special_tokens_map.json", special)
    settings = {
        "add_prefix_space": False,
        "do_lower_case": True,
        "errors": "replace",
        "model_max_length": length,
        "tokenizer_class": "CLIPTokenizer",
    }
    write_json(folder / "tokenizer_config.json", special | settings)


def write_t5_tokenizer(folder: Path, *, serialized: bool = False) -> None:
    """Write T5's tokenizer: `spiece.model`, as PixArt has it, or `tokenizer.json`.

    transformers reads the former with the package sentencepiece only.
    """
    folder.mkdir(parents=True, exist_ok=True)
    special = {"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    write_json(folder / "special_tokens_map.json", special)
    settings = {"extra_ids": 100, "model_max_length": 512, "tokenizer_class": "T5Tokenizer"}
    write_json(folder / "tokenizer_config.json", special | settings)
    shutil.copy(SENTENCEPIECE, folder / "spiece.model")
    if not serialized:
        return
    from edgegen_runner.tokenizers.t5_files import read_t5_files
    from transformers import T5Tokenizer

    files = read_t5_files(folder)
    (folder / "spiece.model").unlink()
    tokenizer = T5Tokenizer(
        vocab=list(files.pieces), _spm_precompiled_charsmap=files.charsmap, model_max_length=512
    )
    tokenizer.save_pretrained(folder)


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def random_tensors(model: Any, dtype: str, seed: int) -> dict[str, Any]:
    """Return random weights for a model that is on the meta device: activations stay near one."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, parameter in model.named_parameters():
        tensor = torch.randn(parameter.shape, generator=generator)
        if name.endswith("bias"):
            tensor *= 0.02
        elif parameter.ndim < 2:
            tensor = 1 + 0.05 * tensor
        elif name.endswith(
            ("token_embedding.weight", "position_embedding.weight", "shared.weight")
        ):
            tensor *= 0.5
        else:
            tensor /= parameter[0].numel() ** 0.5
        tensors[name] = tensor.to(getattr(torch, dtype)).contiguous()
    return tensors


class _Writer:
    def __init__(self, folder: Path, dtype: str, seed: int) -> None:
        self.folder, self.dtype = folder, dtype
        self.seeds = itertools.count(seed * 100)

    def diffusers_model(self, name: str, model: Any) -> None:
        model.save_config(self.folder / name)
        tensors = random_tensors(model, self.dtype, next(self.seeds))
        self._save(self.folder / name / "diffusion_pytorch_model.safetensors", tensors)

    def text_encoder(
        self, name: str, class_name: str, settings: dict[str, Any], *, old_keys: bool = False
    ) -> None:
        import torch
        import transformers

        hidden = settings.pop("hidden_size", HIDDEN)
        config = transformers.CLIPTextConfig(
            **{
                "hidden_size": hidden,
                "intermediate_size": 2 * hidden,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "vocab_size": len(_vocabulary()),
                "projection_dim": PROJECTION,
                "max_position_embeddings": 77,
                "bos_token_id": 0,
                "eos_token_id": 2,  # as in every old file: transformers then takes the highest id
                "pad_token_id": 1,
            }
            | settings
        )
        config.architectures = [class_name]
        model = _on_meta(lambda: getattr(transformers, class_name)(config))
        config.save_pretrained(self.folder / name)
        tensors = random_tensors(model, self.dtype, next(self.seeds))
        tensors = {_with_prefix(key): tensor for key, tensor in tensors.items()}
        if old_keys:
            tensors["text_model.embeddings.position_ids"] = torch.arange(77)[None]
        self._save(self.folder / name / "model.safetensors", tensors)

    def t5(self, settings: dict[str, Any]) -> None:
        import transformers

        config = transformers.T5Config(
            **{
                "d_model": HIDDEN,
                "d_kv": 8,
                "d_ff": 2 * HIDDEN,
                "num_layers": 2,
                "num_heads": 4,
                "feed_forward_proj": "gated-gelu",
                "vocab_size": 1008,
                "tie_word_embeddings": False,
            }
            | settings
        )
        config.architectures = ["T5EncoderModel"]
        model = _on_meta(lambda: transformers.T5EncoderModel(config))
        config.save_pretrained(self.folder / "text_encoder")
        tensors = random_tensors(model, self.dtype, next(self.seeds))
        self._save(self.folder / "text_encoder" / "model.safetensors", tensors)

    def _save(self, path: Path, tensors: dict[str, Any]) -> None:
        from safetensors.torch import save_file

        save_file(tensors, path, metadata={"format": "pt"})


def _with_prefix(key: str) -> str:
    return key if key.startswith("text_") else f"text_model.{key}"


def _on_meta(make: Callable[[], Any]) -> Any:
    import torch

    with torch.device("meta"):
        return make()


def _vae(class_name: str, changes: Mapping[str, Any]) -> Any:
    import diffusers

    if class_name == "AutoencoderTiny":
        settings: dict[str, Any] = {
            "encoder_block_out_channels": (16, 16),
            "decoder_block_out_channels": (16, 16),
            "num_encoder_blocks": (1, 1),
            "num_decoder_blocks": (1, 1),
        }
    elif class_name == "AsymmetricAutoencoderKL":
        levels = (8, 16, 32, 32)  # its encoder of conditions is made for four, as wide as these
        settings = {
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "down_block_out_channels": levels,
            "up_block_types": ("UpDecoderBlock2D",) * 4,
            "up_block_out_channels": levels,
            "norm_num_groups": 4,
        }
    else:
        settings = {
            "block_out_channels": (16, 32),
            "layers_per_block": 1,
            "norm_num_groups": 8,
            "latent_channels": 4,
            "sample_size": 32,
            "down_block_types": ("DownEncoderBlock2D",) * 2,
            "up_block_types": ("UpDecoderBlock2D",) * 2,
        }
    return getattr(diffusers, class_name)(**{**settings, **changes})


def _vocabulary() -> list[str]:
    """Return CLIP's order: 256 bytes, those again at a word's end, the merges, start and end."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    printable += range(ord("®"), ord("ÿ") + 1)
    others = (chr(256 + i) for i in range(256 - len(printable)))
    letters = [*map(chr, printable), *others]
    merged = [pair.replace(" ", "") for pair in MERGES]
    return [*letters, *(f"{it}</w>" for it in letters), *merged, "<|startoftext|>", "<|endoftext|>"]
