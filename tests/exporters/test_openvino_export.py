"""Holds the OpenVINO exporter against torch: every family, every form of the weights."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import openvino
import pytest

from edgegen.core.errors import ExportError
from edgegen.core.model import Component, PipelineSpec
from edgegen.core.profile import Shapes
from edgegen.core.recipe import Recipe, Rule
from edgegen.exporters.base import ExportResult
from edgegen.models.source import resolve
from tests.exporters.harness import (
    OTHER_COMPONENTS,
    SOME_FAMILIES,
    TOLERANCE,
    Heard,
    TinyPipeline,
    assert_laid_out,
    export_component,
    lowest_psnr_db,
)

IN_FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}


def export(
    folder: Path,
    name: str,
    destination: Path,
    recipe: Recipe | str = "fp32",
    *,
    shapes: Shapes = "dynamic",
) -> tuple[PipelineSpec, Component, Heard, ExportResult]:
    done = export_component("openvino", folder, name, destination, recipe, shapes=shapes)
    return done.spec, done.component, done.heard, done.result


def compare(folder: Path, component: Component, exported: Path, sizes: dict[str, int]) -> float:
    """Return the lowest PSNR of any output, after checking names, types and shapes."""
    compiled = openvino.Core().compile_model(exported / "openvino_model.xml", "CPU", IN_FLOAT32)
    assert [port.any_name for port in compiled.inputs] == [it.name for it in component.inputs]
    assert [port.any_name for port in compiled.outputs] == [it.name for it in component.outputs]

    def compute(values: dict[str, np.ndarray]) -> list[np.ndarray]:
        found = compiled(values)
        return [found[port] for port in compiled.outputs]

    return lowest_psnr_db(folder, component, compute, sizes)


def layers_of(folder: Path) -> list[ElementTree.Element]:
    return ElementTree.parse(folder / "openvino_model.xml").findall("layers/layer")


def stored_types(folder: Path) -> dict[str, str]:
    """Return the type of each constant, by its name."""
    return {
        layer.attrib["name"]: layer.find("data").attrib["element_type"]
        for layer in layers_of(folder)
        if layer.attrib["type"] == "Const"
    }


@pytest.mark.parametrize("family", SOME_FAMILIES)
def test_every_familys_denoiser_computes_what_torch_computes_at_any_size(
    family: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline(family)
    _, unet, heard, result = export(folder, "unet", tmp_path)
    for sizes in (
        {"batch": 2, "sequence": 77, "height": 64, "width": 96},
        {"batch": 1, "sequence": 20, "height": 32, "width": 32},
    ):
        assert compare(folder, unet, tmp_path, sizes) > 110
    assert heard.steps == ["toolkits", "graph", "weights", "save"]
    assert heard.done_bytes == heard.total_bytes > 0
    written = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert result.storage_bytes == written
    assert result.path == "openvino_model.xml"


@pytest.mark.parametrize(("family", "name"), OTHER_COMPONENTS)
def test_every_other_component_computes_what_torch_computes(
    family: str, name: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline(family)
    _, component, _, _ = export(folder, name, tmp_path)
    sizes = {"batch": 3, "height": 32, "width": 48}
    assert compare(folder, component, tmp_path, sizes) > 110


def test_fixed_shapes_are_in_the_graph(tiny_pipeline: TinyPipeline, tmp_path: Path) -> None:
    folder = tiny_pipeline("sd15")
    _, unet, _, _ = export(folder, "unet", tmp_path, shapes="fixed")
    assert compare(folder, unet, tmp_path, {}) > 110
    assert not any(layer.attrib["type"] == "ShapeOf" for layer in layers_of(tmp_path))
    model = openvino.Core().read_model(tmp_path / "openvino_model.xml")
    assert [tuple(port.shape) for port in model.inputs] == [it.shape for it in unet.inputs]


def test_open_axes_are_open_and_the_others_are_not(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    _, unet, _, _ = export(tiny_pipeline("sd15"), "unet", tmp_path)
    model = openvino.Core().read_model(tmp_path / "openvino_model.xml")
    for port, tensor in zip(model.inputs, unet.inputs, strict=True):
        axes = [None if axis.is_dynamic else axis.get_length() for axis in port.partial_shape]
        assert axes == [axis if isinstance(axis, int) else None for axis in tensor.shape]


@pytest.mark.slow  # ONNX has the same test
def test_fp16_storage_halves_the_weights_and_changes_nothing_where_they_were_fp16(
    tmp_path: Path,
) -> None:
    folder = resolve("builtin:emoji").path
    export(folder, "unet", tmp_path / "fp32")
    _, unet, _, _ = export(folder, "unet", tmp_path / "fp16", "fp16-storage")
    large = (tmp_path / "fp32/openvino_model.bin").stat().st_size
    small = (tmp_path / "fp16/openvino_model.bin").stat().st_size
    assert 0.5 <= small / large < 0.52
    sizes = {"batch": 2, "sequence": 24, "height": 64, "width": 64}
    assert compare(folder, unet, tmp_path / "fp16", sizes) > 110


@pytest.mark.parametrize("name", ["unet", "text_encoder", "vae_decoder"])
def test_int8_stores_large_weights_in_8_bits_and_stays_near(
    name: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline("sd15")
    _, component, _, _ = export(folder, name, tmp_path, "int8")
    sizes = {"batch": 2, "sequence": 77, "height": 64, "width": 96}
    assert 30 < compare(folder, component, tmp_path, sizes) < 90
    types = stored_types(tmp_path)
    weights = {it for it in types if it.endswith((".weight", ".bias"))}
    assert "i8" in {types[it] for it in weights}
    assert {types[it] for it in weights} == {"i8", "f32"}
    assert all(types[it] == "f32" for it in weights if it.endswith(".bias"))


@pytest.mark.slow
def test_int8_quarters_the_weights(tmp_path: Path) -> None:
    folder = resolve("builtin:emoji").path
    export(folder, "unet", tmp_path / "fp32")
    _, unet, _, _ = export(folder, "unet", tmp_path / "int8", "int8")
    large = (tmp_path / "fp32/openvino_model.bin").stat().st_size
    small = (tmp_path / "int8/openvino_model.bin").stat().st_size
    assert 0.25 <= small / large < 0.27
    sizes = {"batch": 2, "sequence": 24, "height": 64, "width": 64}
    assert 30 < compare(folder, unet, tmp_path / "int8", sizes) < 90


def test_int8_weights_carry_a_scale_for_each_output_channel(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    export(tiny_pipeline("sd15"), "unet", tmp_path, "int8")
    constants = {
        layer.attrib["name"]: layer.find("data").attrib
        for layer in layers_of(tmp_path)
        if layer.attrib["type"] == "Const"
    }
    found = 0
    for name, weight in constants.items():
        if weight["element_type"] == "i8":
            found += 1
            shape = [int(axis) for axis in weight["shape"].split(", ")]
            scales = [int(axis) for axis in constants[f"{name}.scales"]["shape"].split(", ")]
            assert scales == [shape[0], *[1] * (len(shape) - 1)]
    assert found > 10


def test_a_rule_of_a_recipe_decides_how_the_layers_that_it_names_are_stored(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    recipe = Recipe(
        name="mixed",
        description="",
        storage="int8",
        compute="float32",
        tolerance=TOLERANCE,
        rules=(
            Rule(component="unet", layers="mid_block.*", storage="float16"),
            Rule(component="unet", layers="up_blocks.*", storage="float32"),
        ),
    )
    folder = tiny_pipeline("sd15")
    _, unet, _, _ = export(folder, "unet", tmp_path, recipe)
    types = stored_types(tmp_path)
    assert types["mid_block.resnets.0.conv1.weight"] == "f16"
    assert types["up_blocks.0.resnets.0.conv1.weight"] == "f32"
    assert types["down_blocks.1.resnets.0.conv2.weight"] == "i8"
    sizes = {"batch": 2, "sequence": 77, "height": 64, "width": 96}
    assert compare(folder, unet, tmp_path, sizes) > 30


def test_a_recipe_that_computes_in_16_bits_is_refused(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    recipe = Recipe(
        name="half", description="", storage="float16", compute="float16", tolerance=TOLERANCE
    )
    with pytest.raises(ExportError, match="half wants unet to compute in float16") as caught:
        export(tiny_pipeline("ddim"), "unet", tmp_path, recipe)
    assert "float32" in caught.value.hint


def test_16_bit_weights_are_marked_so_that_a_plugin_may_keep_them(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    export(tiny_pipeline("sd15"), "unet", tmp_path, "fp16-storage")
    marked = [
        layer
        for layer in layers_of(tmp_path)
        if layer.find("rt_info/attribute[@name='decompression']") is not None
    ]
    halves = [name for name, kind in stored_types(tmp_path).items() if kind == "f16"]
    assert len(marked) == len(halves) > 10
    assert {layer.attrib["type"] for layer in marked} == {"Convert"}


@pytest.mark.parametrize("recipe", ["int8", "fp16-storage"])
def test_the_look_up_of_a_token_widens_the_rows_that_it_takes_and_no_other(
    tiny_pipeline: TinyPipeline, tmp_path: Path, recipe: str
) -> None:
    export(tiny_pipeline("sd15"), "text_encoder", tmp_path, recipe)
    core = openvino.Core()
    compiled = core.compile_model(
        tmp_path / "openvino_model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    nodes = compiled.get_runtime_model().get_ordered_ops()
    readers = [node for node in nodes if node.get_rt_info()["layerType"].astype(str) == "Gather"]
    sources = [node.input(0).get_source_output() for node in readers]
    tables = [it.get_node() for it in sources if it.get_shape()[-1] > 1]  # the others are scales
    found = {table.get_rt_info()["outputPrecisions"].astype(str) for table in tables}
    assert "f32" not in found


def test_constants_are_aligned_lie_one_behind_the_other_and_fill_the_file(tmp_path: Path) -> None:
    export(resolve("builtin:emoji").path, "unet", tmp_path, "fp16-storage")
    places = sorted(
        (int(data.attrib["offset"]), int(data.attrib["size"]))
        for layer in layers_of(tmp_path)
        if layer.attrib["type"] == "Const"
        for data in layer.findall("data")
    )
    assert all(start % 64 == 0 for start, _ in places)
    assert_laid_out(places, tmp_path / "openvino_model.bin")


def test_writing_needs_no_openvino(
    tiny_pipeline: TinyPipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)  # an import of it raises ImportError
    _, _, _, result = export(tiny_pipeline("ddim"), "unet", tmp_path)
    assert set(result.toolkits) == {"torch", "diffusers", "transformers"}
    assert result.operator_sets == {"opset": 13}
