"""Pruned networks: built, exported and computed as torch computes them, smaller than before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edgegen.models.weights import Weights
from edgegen.reference.modules import build_module
from tests.exporters.harness import TinyPipeline, component_of, inputs_of, torch_module
from tests.exporters.test_odd_networks import EVEN, coreml, onnx, openvino, tflite
from tests.pruning.models import all_kinds, pruned, structure_of

TARGETS = {"onnx": onnx, "openvino": openvino, "coreml": coreml, "tflite": tflite}
CELLS = [
    pytest.param("tflite", "sdxl", id="tflite-sdxl"),
    *[
        pytest.param(target, family, id=f"{target}-{family}", marks=pytest.mark.slow)
        for target in TARGETS
        for family in ("pixart", "ddpm", "sd15")
    ],
    *[
        pytest.param(target, "sdxl", id=f"{target}-sdxl", marks=pytest.mark.slow)
        for target in ("onnx", "openvino", "coreml")
    ],
]


def folder_of_denoiser(folder: Path) -> Path:
    return next(folder / name for name in ("unet", "transformer") if (folder / name).is_dir())


@pytest.mark.parametrize(("target", "family"), CELLS)
def test_a_pruned_denoiser_computes_in_every_target_what_it_computes_in_torch(
    target: str, family: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    whole = tiny_pipeline(family)
    structure = structure_of(whole)
    kept = all_kinds(structure)
    assert kept.dropped
    assert {structure.layers[path].kind for path in kept.units} >= {"heads"}
    folder = pruned(whole, tmp_path / "model", kept)
    name = folder_of_denoiser(folder).name
    lowest = TARGETS[target](folder, name, tmp_path / "small", EVEN)
    assert lowest > 60
    TARGETS[target](whole, name, tmp_path / "large", EVEN)
    assert size_bytes(tmp_path / "small") < 0.8 * size_bytes(tmp_path / "large")


@pytest.mark.parametrize("family", ["sdxl", "pixart", "ddpm"])
def test_what_is_cut_is_what_zeros_would_have_left(
    family: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    whole = tiny_pipeline(family)
    structure = structure_of(whole)
    kept = all_kinds(structure)
    folder = pruned(whole, tmp_path / "model", kept)
    name = folder_of_denoiser(folder).name
    _, component = component_of(whole, name, target="onnx", shapes="dynamic")
    values = inputs_of(component, {"batch": 1, "sequence": 20, "height": 128, "width": 64})
    zeroed = torch_module(whole, component)
    with torch.no_grad():
        for path, units in kept.units.items():
            layer = structure.layers[path]
            weight = zeroed.network.get_parameter(layer.out)
            width = weight.shape[1] // layer.units
            for unit in set(range(layer.units)) - set(units):
                weight[:, unit * width : (unit + 1) * width] = 0
        for path in kept.dropped:
            for end in structure.blocks[path].ends:
                zeroed.network.get_parameter(end).zero_()
        (wanted,) = zeroed(*values.values())
        (computed,) = torch_module(folder, component)(*values.values())
    assert np.abs(wanted.numpy() - computed.numpy()).max() < 1e-4 * float(wanted.abs().max())


def test_weights_keep_the_type_that_they_were_stored_in(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    whole = tiny_pipeline("sd15", dtype="bfloat16")
    kept = all_kinds(structure_of(whole))
    folder = pruned(whole, tmp_path / "model", kept)
    weights = Weights.open(folder / "unet")
    assert {entry.dtype for entry in weights.entries.values()} == {"bfloat16"}
    path, units = next(iter(kept.units.items()))
    layer = structure_of(whole).layers[path]
    old = Weights.open(whole / "unet").array(layer.out)
    rows = old.shape[0]
    chosen = old.reshape(rows, layer.units, -1)[:, list(units)].reshape(rows, -1)
    assert np.array_equal(weights.array(layer.out).reshape(rows, -1), chosen)


def test_a_pruned_network_holds_no_weights_of_what_was_dropped(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    whole = tiny_pipeline("sd15")
    folder = pruned(whole, tmp_path / "model", all_kinds(structure_of(whole)))
    network = build_module(folder / "unet", "UNet2DConditionModel")
    shapes = {name: tuple(it.shape) for name, it in network.named_parameters()}
    entries = Weights.open(folder / "unet").entries
    assert shapes == {name: entry.shape for name, entry in entries.items()}


def size_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
