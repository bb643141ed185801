"""litert-torch and ai-edge-quantizer as they come, run by path, by the python of the LiteRT peer.

    litert_export.py convert MODEL COMPONENT FILE.tflite
    litert_export.py quantize FILE.tflite RECIPE OUTPUT.tflite [--repair]

A conversion is for one image: batch 1, at the model's own size. Inputs that a static recipe is
calibrated with lie beside the file, as `.npz`. RECIPE is a function of `ai_edge_quantizer.recipe`,
or `fp16`, which is the quantizer's float casting.

`--repair` mends one defect of ai-edge-quantizer 0.10.0: weights of more than two axes and more than
32 MiB make it fail, since it broadcasts (O, 1, 1, 1) scales onto a view of two axes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

SAMPLES = 2
"""Inputs that a static recipe is calibrated with."""


def convert(model: Path, component: str, output: Path) -> None:
    """Convert a component in float32, and write samples of its inputs beside it."""
    import litert_torch
    import torch

    torch.manual_seed(0)
    network, samples = COMPONENTS[component](model)
    names = list(samples[0])
    np.savez(
        output.with_suffix(".npz"),
        **{
            f"{index}.{name}": each[name].numpy()
            for index, each in enumerate(samples)
            for name in names
        },
    )
    converted = litert_torch.convert(network.eval(), sample_kwargs=samples[0])
    converted.export(str(output))


def text_encoder(model: Path) -> tuple[Any, list[dict[str, Any]]]:
    import torch
    import transformers

    class Wrapper(torch.nn.Module):
        def __init__(self, network: torch.nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, input_ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return self.network(input_ids.long(), return_dict=False)

    network = transformers.CLIPTextModel.from_pretrained(
        model / "text_encoder", dtype=torch.float32
    )
    config = network.config
    shape = (1, config.max_position_embeddings)
    return Wrapper(network), [
        {"input_ids": torch.randint(0, config.vocab_size, shape, dtype=torch.int32)}
        for _ in range(SAMPLES)
    ]


def unet(model: Path) -> tuple[Any, list[dict[str, Any]]]:
    import diffusers
    import torch

    class Wrapper(torch.nn.Module):
        def __init__(self, network: torch.nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(
            self, sample: torch.Tensor, timestep: torch.Tensor, encoder_hidden_states: torch.Tensor
        ) -> torch.Tensor:
            return self.network(sample, timestep, encoder_hidden_states, return_dict=False)[0]

    network = diffusers.UNet2DConditionModel.from_pretrained(
        model / "unet", torch_dtype=torch.float32
    )
    config, size = network.config, network.config.sample_size
    tokens = _config(model / "text_encoder")["max_position_embeddings"]
    return Wrapper(network), [
        {
            "sample": torch.randn(1, config.in_channels, size, size),
            "timestep": torch.tensor([500.0]),
            "encoder_hidden_states": torch.randn(1, tokens, config.cross_attention_dim),
        }
        for _ in range(SAMPLES)
    ]


def vae_decoder(model: Path) -> tuple[Any, list[dict[str, Any]]]:
    import torch

    class Wrapper(torch.nn.Module):
        def __init__(self, network: torch.nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, latent_sample: torch.Tensor) -> torch.Tensor:
            return self.network.decode(latent_sample, return_dict=False)[0]

    network = _vae(model)
    size = _config(model / "unet")["sample_size"]
    shape = (1, network.config.latent_channels, size, size)
    return Wrapper(network), [{"latent_sample": torch.randn(shape)} for _ in range(SAMPLES)]


def vae_encoder(model: Path) -> tuple[Any, list[dict[str, Any]]]:
    import torch

    class Wrapper(torch.nn.Module):
        def __init__(self, network: torch.nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, sample: torch.Tensor) -> torch.Tensor:
            return self.network._encode(sample)

    network = _vae(model)
    scale = 2 ** (len(network.config.block_out_channels) - 1)
    size = _config(model / "unet")["sample_size"] * scale
    shape = (1, network.config.in_channels, size, size)
    return Wrapper(network), [{"sample": torch.rand(shape) * 2 - 1} for _ in range(SAMPLES)]


COMPONENTS = {
    "text_encoder": text_encoder,
    "unet": unet,
    "vae_decoder": vae_decoder,
    "vae_encoder": vae_encoder,
}


def quantize(source: Path, name: str, output: Path, *, repair: bool) -> None:
    """Quantize a file by a recipe of the quantizer's."""
    from ai_edge_quantizer import qtyping, quantizer, recipe

    if repair:
        repair_large_weights()
    work = quantizer.Quantizer(str(source))
    if name == "fp16":
        half = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
        work.update_quantization_recipe(
            regex=".*",
            operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
            op_config=qtyping.OpQuantizationConfig(
                weight_tensor_config=half,
                compute_precision=qtyping.ComputePrecision.FLOAT,
                explicit_dequantize=True,
            ),
            algorithm_key=recipe.AlgorithmName.FLOAT_CASTING,
        )
    else:
        work.load_quantization_recipe(getattr(recipe, name)())
    calibrated = None
    if work.need_calibration:
        calibrated = work.calibrate({"serving_default": _samples(source.with_suffix(".npz"))})
    work.quantize(calibrated).export_model(str(output), overwrite=True)


def repair_large_weights() -> None:
    """Let the quantizer take weights above its limit in slices of their first axis, each below."""
    from ai_edge_quantizer.algorithms.uniform_quantize import uniform_quantize_tensor as module

    original, limit_bytes = module.uniform_quantize, 32 << 20

    def in_slices(data: Any, parameters: Any, is_blockwise_quant: bool = False) -> Any:
        if is_blockwise_quant or data.ndim <= 2 or data.nbytes <= limit_bytes:
            return original(data, parameters, is_blockwise_quant)
        parameters = module.fix_quantization_params_rank(data, parameters)
        rows = max(1, limit_bytes // data[:1].nbytes)
        slices = []
        for start in range(0, len(data), rows):
            cut, own = slice(start, start + rows), parameters
            if len(parameters.scale) > 1:  # a scale for each of the first axis
                own = dataclasses.replace(
                    parameters,
                    scale=parameters.scale[cut],
                    zero_point=parameters.zero_point[cut],
                )
            slices.append(original(data[cut], own))
        return np.concatenate(slices)

    module.uniform_quantize = in_slices


def _samples(path: Path) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    with np.load(path) as arrays:
        for key in arrays.files:
            index, _, name = key.partition(".")
            found.setdefault(index, {})[name] = arrays[key]
    return list(found.values())


def _vae(model: Path) -> Any:
    import diffusers
    import torch

    return diffusers.AutoencoderKL.from_pretrained(model / "vae", torch_dtype=torch.float32)


def _config(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    converts = commands.add_parser("convert")
    converts.add_argument("model", type=Path)
    converts.add_argument("component", choices=COMPONENTS)
    converts.add_argument("output", type=Path)
    quantizes = commands.add_parser("quantize")
    quantizes.add_argument("source", type=Path)
    quantizes.add_argument("recipe")
    quantizes.add_argument("output", type=Path)
    quantizes.add_argument("--repair", action="store_true")
    options = parser.parse_args(sys.argv[1:])
    if options.command == "convert":
        convert(options.model, options.component, options.output)
    else:
        quantize(options.source, options.recipe, options.output, repair=options.repair)


if __name__ == "__main__":
    main()
