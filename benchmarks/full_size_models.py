"""Writes pipelines in the exact shape of published ones, with random fp16 weights.

    python benchmarks/full_size_models.py sd15 FOLDER      2.1 GB
    python benchmarks/full_size_models.py sdxl FOLDER      7.0 GB, in about 1 GB of memory
    python benchmarks/full_size_models.py pixart FOLDER   10.9 GB (PixArt-Sigma XL/2 at 1024 px)
    python benchmarks/full_size_models.py sd15-controlnet FOLDER   0.7 GB, sdxl-controlnet 2.5 GB
    python benchmarks/full_size_models.py sd15-ip-adapter FOLDER   1.3 GB, sdxl-ip-adapter 2.0 GB

The models exist on torch's meta device only; each tensor is drawn and written in pieces.
`--shard-gb 2` splits the weights of a component into shards with an index.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.tiny_models import write_json, write_t5_tokenizer, write_tokenizer

VOCABULARY = 49408
PIECE_ELEMENTS = 4 << 20

SD15_UNET: dict[str, Any] = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
}
SDXL_UNET: dict[str, Any] = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "layers_per_block": 2,
    "cross_attention_dim": 2048,
    "attention_head_dim": [5, 10, 20],
    "transformer_layers_per_block": [1, 2, 10],
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
}
VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 4,
    "norm_num_groups": 32,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
}
CLIP_L: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "projection_dim": 768,
    "hidden_act": "quick_gelu",
}
CLIP_BIG_G: dict[str, Any] = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "projection_dim": 1280,
    "hidden_act": "gelu",
}
CLIP_H_VISION: dict[str, Any] = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 16,
    "projection_dim": 1024,
    "patch_size": 14,
    "image_size": 224,
    "hidden_act": "gelu",
}
PIXART_SIGMA: dict[str, Any] = {
    "sample_size": 128,
    "num_layers": 28,
    "num_attention_heads": 16,
    "attention_head_dim": 72,
    "in_channels": 4,
    "out_channels": 8,
    "cross_attention_dim": 1152,
    "caption_channels": 4096,
    "interpolation_scale": 2,
    "use_additional_conditions": False,
}
T5_XXL: dict[str, Any] = {
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
    "feed_forward_proj": "gated-gelu",
    "vocab_size": 32128,
    "tie_word_embeddings": False,
}
BETAS: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
}


class PipelineWriter:
    """Writes components into a folder and remembers what `model_index.json` says of them."""

    def __init__(self, folder: Path, shard_bytes: int | None, *, sparse: bool) -> None:
        self.folder, self.shard_bytes, self.sparse = folder, shard_bytes, sparse
        self.index: dict[str, Any] = {"_diffusers_version": "0.30.0"}
        self.generator = np.random.default_rng(0)

    def model(self, name: str, class_name: str, settings: dict[str, Any]) -> None:
        import diffusers

        model = on_meta(lambda: getattr(diffusers, class_name)(**settings))
        model.save_config(self.folder / name)
        shapes = {key: tuple(it.shape) for key, it in model.named_parameters()}
        self.weights(name, "diffusion_pytorch_model", shapes)
        self.index[name] = ["diffusers", class_name]

    def text_encoder(
        self, name: str, class_name: str, settings: dict[str, Any], pad_token: str
    ) -> None:
        import transformers

        config = transformers.CLIPTextConfig(
            **settings,
            vocab_size=VOCABULARY,
            max_position_embeddings=77,
            bos_token_id=0,
            eos_token_id=2,
            pad_token_id=1,
        )
        config.architectures = [class_name]
        model = on_meta(lambda: getattr(transformers, class_name)(config))
        config.save_pretrained(self.folder / name)
        shapes = {key: tuple(it.shape) for key, it in model.named_parameters()}
        prefixed = {k if k.startswith("text_") else f"text_model.{k}": s for k, s in shapes.items()}
        self.weights(name, "model", prefixed)
        self.index[name] = ["transformers", class_name]
        tokenizer = name.replace("text_encoder", "tokenizer")
        write_tokenizer(self.folder / tokenizer, pad_token=pad_token, vocabulary_size=VOCABULARY)
        self.index[tokenizer] = ["transformers", "CLIPTokenizer"]

    def controlnet(self, unet: dict[str, Any]) -> None:
        """Write a ControlNet of a UNet's settings as the folder itself."""
        import diffusers

        whole = on_meta(lambda: diffusers.UNet2DConditionModel(**unet))
        model = on_meta(
            lambda: diffusers.ControlNetModel.from_unet(whole, load_weights_from_unet=False)
        )
        model.save_config(self.folder)
        shapes = {key: tuple(it.shape) for key, it in model.named_parameters()}
        self.weights(".", "diffusion_pytorch_model", shapes)

    def ip_adapter(self, unet: dict[str, Any]) -> None:
        """Write an IP-Adapter of four tokens for a UNet, and what it looks at pictures with."""
        import diffusers
        import transformers

        model = on_meta(lambda: diffusers.UNet2DConditionModel(**unet))
        width, seen = unet["cross_attention_dim"], CLIP_H_VISION["projection_dim"]
        shapes = {
            "image_proj.proj.weight": (4 * width, seen),
            "image_proj.proj.bias": (4 * width,),
            "image_proj.norm.weight": (width,),
            "image_proj.norm.bias": (width,),
        }
        modules = dict(model.named_modules())
        for number, name in enumerate(model.attn_processors):
            if name.endswith("attn2.processor"):
                inner = modules[name.removesuffix(".processor")].to_k.weight.shape[0]
                for part in ("to_k_ip", "to_v_ip"):
                    shapes[f"ip_adapter.{number}.{part}.weight"] = (inner, width)
        self.weights(".", "ip-adapter", shapes)
        config = transformers.CLIPVisionConfig(**CLIP_H_VISION)
        config.architectures = ["CLIPVisionModelWithProjection"]
        encoder = on_meta(lambda: transformers.CLIPVisionModelWithProjection(config))
        config.save_pretrained(self.folder / "image_encoder")
        shapes = {key: tuple(it.shape) for key, it in encoder.named_parameters()}
        self.weights("image_encoder", "model", shapes)
        processor = transformers.CLIPImageProcessor()
        processor.save_pretrained(self.folder / "image_encoder")

    def t5(self, settings: dict[str, Any]) -> None:
        import transformers

        config = transformers.T5Config(**settings)
        config.architectures = ["T5EncoderModel"]
        model = on_meta(lambda: transformers.T5EncoderModel(config))
        config.save_pretrained(self.folder / "text_encoder")
        shapes = {key: tuple(it.shape) for key, it in model.named_parameters()}
        self.weights("text_encoder", "model", shapes)
        self.index["text_encoder"] = ["transformers", "T5EncoderModel"]
        write_t5_tokenizer(self.folder / "tokenizer")
        self.index["tokenizer"] = ["transformers", "T5Tokenizer"]

    def scheduler(self, class_name: str, **settings: Any) -> None:
        import diffusers

        getattr(diffusers, class_name)(**settings).save_pretrained(self.folder / "scheduler")
        self.index["scheduler"] = ["diffusers", class_name]

    def finish(self, class_name: str, **settings: Any) -> None:
        index = {"_class_name": class_name} | self.index | settings
        write_json(self.folder / "model_index.json", index)

    def weights(self, component: str, stem: str, shapes: dict[str, tuple[int, ...]]) -> None:
        """Write float16 tensors of these shapes, in one file or in shards with an index."""
        shards = list(split(shapes, self.shard_bytes))
        folder, weight_map = self.folder / component, {}
        for number, shard in enumerate(shards, start=1):
            name = f"{stem}.safetensors"
            if len(shards) > 1:
                name = f"{stem}-{number:05}-of-{len(shards):05}.safetensors"
            write_safetensors(folder / name, shard, None if self.sparse else self.generator)
            weight_map.update(dict.fromkeys(shard, name))
        if len(shards) > 1:
            total = sum(size_bytes(shape) for shape in shapes.values())
            index = {"metadata": {"total_size": total}, "weight_map": weight_map}
            write_json(folder / f"{stem}.safetensors.index.json", index)
        print(f"{component}: {sum(map(size_bytes, shapes.values())) / 2e6:,.0f} M parameters")


def sd15_full(folder: Path, *, shard_bytes: int | None = None, sparse: bool = False) -> Path:
    """Write a pipeline in the shape of Stable Diffusion 1.5; see `write_safetensors` for sparse."""
    writer = PipelineWriter(folder, shard_bytes, sparse=sparse)
    writer.model("unet", "UNet2DConditionModel", SD15_UNET)
    writer.model("vae", "AutoencoderKL", VAE | {"sample_size": 512, "scaling_factor": 0.18215})
    writer.text_encoder("text_encoder", "CLIPTextModel", CLIP_L, "<|endoftext|>")
    writer.scheduler("PNDMScheduler", **BETAS, skip_prk_steps=True, set_alpha_to_one=False)
    writer.finish(
        "StableDiffusionPipeline",
        safety_checker=[None, None],
        feature_extractor=[None, None],
        image_encoder=[None, None],
        requires_safety_checker=False,
    )
    return folder


def sdxl_full(folder: Path, *, shard_bytes: int | None = None, sparse: bool = False) -> Path:
    """Write a pipeline in the shape of SDXL base 1.0; see `write_safetensors` for sparse."""
    writer = PipelineWriter(folder, shard_bytes, sparse=sparse)
    writer.model("unet", "UNet2DConditionModel", SDXL_UNET)
    vae = VAE | {"sample_size": 1024, "scaling_factor": 0.13025, "force_upcast": True}
    writer.model("vae", "AutoencoderKL", vae)
    writer.text_encoder("text_encoder", "CLIPTextModel", CLIP_L, "<|endoftext|>")
    writer.text_encoder("text_encoder_2", "CLIPTextModelWithProjection", CLIP_BIG_G, "!")
    writer.scheduler("EulerDiscreteScheduler", **BETAS, timestep_spacing="leading")
    writer.finish(
        "StableDiffusionXLPipeline",
        feature_extractor=[None, None],
        image_encoder=[None, None],
        force_zeros_for_empty_prompt=True,
    )
    return folder


def pixart_full(folder: Path, *, shard_bytes: int | None = None, sparse: bool = False) -> Path:
    """Write a pipeline in the shape of PixArt-Sigma; see `write_safetensors` for sparse."""
    writer = PipelineWriter(folder, shard_bytes, sparse=sparse)
    writer.model("transformer", "PixArtTransformer2DModel", PIXART_SIGMA)
    writer.model("vae", "AutoencoderKL", VAE | {"sample_size": 1024, "scaling_factor": 0.13025})
    writer.t5(T5_XXL)
    writer.scheduler(
        "DPMSolverMultistepScheduler", beta_start=0.0001, beta_end=0.02, beta_schedule="linear"
    )
    writer.finish("PixArtSigmaPipeline")
    return folder


def controlnet_full(
    unet: dict[str, Any], folder: Path, *, shard_bytes: int | None = None, sparse: bool = False
) -> Path:
    """Write a ControlNet for a UNet of full size; see `write_safetensors` for sparse."""
    PipelineWriter(folder, shard_bytes, sparse=sparse).controlnet(unet)
    return folder


def ip_adapter_full(
    unet: dict[str, Any], folder: Path, *, shard_bytes: int | None = None, sparse: bool = False
) -> Path:
    """Write `ip-adapter.safetensors` for a UNet of full size, and `image_encoder/` beside it."""
    PipelineWriter(folder, shard_bytes, sparse=sparse).ip_adapter(unet)
    return folder


def on_meta(make: Callable[[], Any]) -> Any:
    import torch

    with torch.device("meta"):
        return make()


def split(
    shapes: dict[str, tuple[int, ...]], shard_bytes: int | None
) -> Iterator[dict[str, tuple[int, ...]]]:
    shard: dict[str, tuple[int, ...]] = {}
    filled = 0
    for name, shape in shapes.items():
        if shard and shard_bytes is not None and filled + size_bytes(shape) > shard_bytes:
            yield shard
            shard, filled = {}, 0
        shard[name] = shape
        filled += size_bytes(shape)
    yield shard


def size_bytes(shape: tuple[int, ...]) -> int:
    return 2 * math.prod(shape)


def write_safetensors(
    path: Path, shapes: dict[str, tuple[int, ...]], generator: np.random.Generator | None
) -> None:
    """Write float16 tensors drawn from `generator`; without one, a sparse file of zeros."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + size_bytes(shape)
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        if generator is None:
            file.truncate(8 + len(text) + end)
            return
        for name, shape in shapes.items():
            write_tensor(file, name, shape, generator)


def write_tensor(
    file: BinaryIO, name: str, shape: tuple[int, ...], generator: np.random.Generator
) -> None:
    """Draw a tensor like `tests.tiny_models.random_tensors`: activations stay near one."""
    scale, shift = 1 / math.prod(shape[1:]) ** 0.5, 0.0
    if name.endswith("bias"):
        scale = 0.02
    elif len(shape) == 1:
        scale, shift = 0.05, 1.0
    elif name.endswith(("token_embedding.weight", "position_embedding.weight", "shared.weight")):
        scale = 0.5
    elements = math.prod(shape)
    for start in range(0, elements, PIECE_ELEMENTS):
        piece = generator.standard_normal(min(PIECE_ELEMENTS, elements - start), np.float32)
        piece *= np.float32(scale)
        piece += np.float32(shift)
        file.write(piece.astype("<f2").tobytes())


WRITERS: dict[str, Callable[..., Path]] = {
    "sd15": sd15_full,
    "sdxl": sdxl_full,
    "pixart": pixart_full,
    "sd15-controlnet": functools.partial(controlnet_full, SD15_UNET),
    "sdxl-controlnet": functools.partial(controlnet_full, SDXL_UNET),
    "sd15-ip-adapter": functools.partial(ip_adapter_full, SD15_UNET),
    "sdxl-ip-adapter": functools.partial(ip_adapter_full, SDXL_UNET),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", choices=list(WRITERS))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shard-gb", type=float, help="split the weights into shards of this size")
    arguments = parser.parse_args()
    shard_bytes = None if arguments.shard_gb is None else int(arguments.shard_gb * 1e9)
    WRITERS[arguments.model](arguments.folder, shard_bytes=shard_bytes)


if __name__ == "__main__":
    main()
