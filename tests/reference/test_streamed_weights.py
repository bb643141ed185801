"""Streamed weights compute what loaded ones do, and are in memory one layer at a time."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from edgegen.core.errors import SourceError
from edgegen.core.model import PipelineSpec
from edgegen.models.pipeline_source import FolderSource
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from edgegen.reference import probes, streaming
from edgegen.reference.modules import build_module, parameters_on_meta
from edgegen.reference.pipeline import Reference, load_reference
from edgegen.reference.streaming import StreamedWeights
from tests.conftest import TinyPipeline
from tests.tiny_models import FAMILIES

SIZE = probes.ProbeSize(latent_height=4, latent_width=8)
LARGER = probes.ProbeSize(latent_height=8, latent_width=16)
"""Blocks of K-diffusion mirror edges, of which there must be some at every level."""


def read(folder: Path) -> tuple[PipelineSpec, Reference]:
    spec = read_pipeline(resolve(str(folder)))
    return spec, load_reference(spec, FolderSource(folder))


def stream(module: torch.nn.Module) -> StreamedWeights:
    """Stream a module's own weights from copies of them."""
    tensors = {name: value.clone().numpy() for name, value in module.state_dict().items()}
    weights = StreamedWeights()
    weights.add(module, component="it", names=tensors, read=lambda name: tensors[name].copy())
    return weights


FAST = ("ddpm", "sd15", "sdxl", "pixart", "consistency", "sd-latent-upscale")
"""Every family's picture is drawn with streamed weights in test_golden_case."""


@pytest.mark.parametrize(
    "family",
    [it if it in FAST else pytest.param(it, marks=pytest.mark.slow) for it in FAMILIES],
)
def test_every_component_computes_what_it_computes_with_loaded_weights(
    family: str, tiny_pipeline: TinyPipeline
) -> None:
    folder = tiny_pipeline(family, dtype="float16")
    spec, reference = read(folder)
    for component in spec.components:
        with torch.inference_mode(), reference.weights:
            size = LARGER if family == "sd-latent-upscale" else SIZE
            inputs = probes.make_inputs(reference, spec, component, size)
            streamed = probes.compute(reference, component, inputs)
        loaded = type(reference.modules[component.folder]).from_pretrained(
            folder / component.folder, dtype=torch.float32
        )
        whole = Reference(
            pipeline=reference.pipeline,
            modules={component.folder: loaded.eval()},
            weights=reference.weights,
        )
        with torch.inference_mode():
            expected = probes.compute(whole, component, inputs)
        assert [*streamed] == [tensor.name for tensor in component.outputs]
        for name, value in expected.items():
            assert torch.equal(streamed[name], value), (component.name, name)


def test_only_one_layer_is_in_memory_at_a_time(tiny_pipeline: TinyPipeline) -> None:
    spec, reference = read(tiny_pipeline("sdxl"))
    unet = next(component for component in spec.components if component.role == "denoiser")
    module = reference.modules["unet"]
    with torch.inference_mode(), reference.weights:
        inputs = probes.make_inputs(reference, spec, unet, SIZE)
        weights = reference.weights
        weights.peak_bytes, weights.read_bytes = 0, 0
        probes.compute(reference, unet, inputs)
    sizes = [4 * parameter.numel() for parameter in module.parameters()]
    biggest_layer = max(
        sum(4 * parameter.numel() for parameter in layer.parameters(recurse=False))
        for layer in module.modules()
    )
    assert weights.read_bytes == sum(sizes)
    assert weights.peak_bytes == biggest_layer < sum(sizes) / 10
    assert weights.live_bytes == 0


@pytest.mark.parametrize(("limit_bytes", "reads"), [(1 << 20, 1), (0, 2)])
def test_weights_that_are_small_together_are_read_once_where_they_may_stay(
    limit_bytes: int, reads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "KEPT_BYTES", limit_bytes)
    module = torch.nn.Linear(4, 4)
    sample = torch.randn(2, 4)
    expected = module(sample)
    weights = stream(module)
    weights.keep_small()
    with torch.inference_mode(), weights:
        assert torch.equal(module(sample), expected)
        assert torch.equal(module(sample), expected)
    assert weights.read_bytes == reads * 4 * (16 + 4)


def test_a_module_outside_the_mode_computes_nan_instead_of_something_wrong(
    tiny_pipeline: TinyPipeline,
) -> None:
    _, reference = read(tiny_pipeline("ddpm"))
    with torch.inference_mode():
        output = reference.modules["unet"](torch.zeros(1, 3, 8, 8), 1).sample
    assert bool(output.isnan().all())


def test_weights_of_a_child_that_is_never_called_are_streamed() -> None:
    torch.manual_seed(0)
    attention = torch.nn.MultiheadAttention(8, 2, batch_first=True).eval().requires_grad_(False)
    x = torch.randn(2, 5, 8)
    expected = attention(x, x, x)[0]
    weights = stream(attention)  # its forward reads out_proj.weight, and never calls out_proj
    with torch.inference_mode(), weights:
        streamed = attention(x, x, x)[0]  # not by torch's fused path, so equal but for rounding
    assert torch.allclose(streamed, expected, atol=1e-6)


def test_tied_weights_are_streamed_by_both_their_names() -> None:
    class Tied(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(6, 4)
            self.head = torch.nn.Linear(4, 6)
            self.head.weight = self.embedding.weight

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.head(self.embedding(ids))

    module = Tied().requires_grad_(False)
    ids = torch.tensor([[1, 5]])
    expected = module(ids)
    weights = stream(module)
    with weights:
        assert torch.equal(module(ids), expected)
    assert module.head.weight is module.embedding.weight


def test_views_and_lists_of_weights_are_filled() -> None:
    class Odd(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3))
            self.right = torch.nn.Parameter(torch.ones(2, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            both = torch.cat([self.left, self.right], dim=0)
            return x @ self.left.T.contiguous() + both.sum() + self.left.shape[0]

    module = Odd().requires_grad_(False)
    x = torch.ones(1, 3)
    expected = module(x)
    weights = stream(module)
    with weights:
        assert torch.equal(module(x), expected)
    assert weights.live_bytes == 0


def test_a_weight_that_is_not_finite_is_named(tiny_pipeline: TinyPipeline, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_pipeline("ddpm"), folder)
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors["conv_in.weight"][0, 0, 0, 0] = torch.inf
    save_file(tensors, path)
    from edgegen.reference import pipeline

    weights = StreamedWeights()
    (unet,) = read_pipeline(resolve(str(folder))).components
    module = pipeline._load_module(FolderSource(folder), unet, weights)
    with (
        torch.inference_mode(),
        weights,
        pytest.raises(SourceError, match=r"unet\.conv_in\.weight"),
    ):
        module(torch.zeros(1, 3, 8, 8), 1)


def test_a_module_is_built_with_real_buffers_and_no_parameters(tiny_pipeline: TinyPipeline) -> None:
    module = build_module(tiny_pipeline("sd15") / "text_encoder", "CLIPTextModel")
    assert all(parameter.is_meta for parameter in module.parameters())
    buffers = dict(module.named_buffers())
    assert [name.rpartition(".")[2] for name in buffers] == ["position_ids"]
    assert np.array_equal(next(iter(buffers.values())).numpy(), np.arange(77)[None])


def test_modules_outside_the_block_get_real_parameters_again() -> None:
    with parameters_on_meta():
        assert torch.nn.Linear(2, 2).weight.is_meta
    assert not torch.nn.Linear(2, 2).weight.is_meta


@pytest.mark.parametrize(
    ("class_name", "config", "message"),
    [
        ("UNet3DModel", "{}", "the network class 'UNet3DModel'"),
        ("UNet2DModel", '{"down_block_types": ["NoSuchBlock"]}', "makes no UNet2DModel"),
    ],
)
def test_what_cannot_be_built_is_an_error_of_the_source(
    class_name: str, config: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(SourceError, match=message):
        build_module(tmp_path, class_name)


def test_weights_that_are_cut_off_after_their_header_was_read_are_an_error(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_pipeline("ddpm"), folder)
    _, reference = read(folder)
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with (
        torch.inference_mode(),
        reference.weights,
        pytest.raises(SourceError, match="became shorter"),
    ):
        reference.modules["unet"](torch.zeros(1, 3, 8, 8), 1)
