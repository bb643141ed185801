"""Holds the ONNX exporter against torch: every family, every form of the graph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import onnxruntime
import pytest

from edgegen.core.model import Component, PipelineSpec
from edgegen.core.profile import OperatorSet, Shapes
from edgegen.core.recipe import Recipe, Rule
from edgegen.models.read import read_pipeline
from edgegen.models.source import resolve
from edgegen.packaging.axes import fix_axes
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


def export(
    folder: Path,
    name: str,
    destination: Path,
    recipe: Recipe | str = "fp32",
    *,
    operators: OperatorSet = "contrib",
    shapes: Shapes = "dynamic",
) -> tuple[PipelineSpec, Component, Heard]:
    done = export_component(
        "onnx", folder, name, destination, recipe, operators=operators, shapes=shapes
    )
    return done.spec, done.component, done.heard


def compare(folder: Path, component: Component, exported: Path, sizes: dict[str, int]) -> float:
    """Return the lowest PSNR of any output, after checking names, types and shapes."""
    session = onnxruntime.InferenceSession(
        exported / "model.onnx", providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    assert names == [output.name for output in component.outputs]
    return lowest_psnr_db(folder, component, lambda values: session.run(None, values), sizes)


@pytest.mark.parametrize("family", SOME_FAMILIES)
def test_every_familys_denoiser_computes_what_torch_computes_at_any_size(
    family: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline(family)
    _, unet, heard = export(folder, "unet", tmp_path)
    for sizes in (
        {"batch": 2, "sequence": 77, "height": 64, "width": 96},
        {"batch": 1, "sequence": 20, "height": 32, "width": 32},
    ):
        assert compare(folder, unet, tmp_path, sizes) > 110
    assert heard.steps == ["toolkits", "graph", "weights", "save"]
    assert heard.done_bytes == heard.total_bytes > 0


@pytest.mark.parametrize(("family", "name"), OTHER_COMPONENTS)
def test_every_other_component_computes_what_torch_computes(
    family: str, name: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline(family)
    _, component, _ = export(folder, name, tmp_path)
    sizes = {"batch": 3, "height": 32, "width": 48}
    assert compare(folder, component, tmp_path, sizes) > 110


@pytest.mark.parametrize("name", ["unet", "vae_decoder", "text_encoder"])
def test_plain_operators_leave_no_contributed_ones(
    name: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline("sd15")
    _, component, _ = export(folder, name, tmp_path, operators="plain")
    sizes = {"batch": 2, "sequence": 77, "height": 64, "width": 96}
    assert compare(folder, component, tmp_path, sizes) > 110
    model = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    assert {entry.domain for entry in model.opset_import} == {""}
    onnx.checker.check_model(str(tmp_path / "model.onnx"))


def test_fixed_shapes_are_in_the_graph(tiny_pipeline: TinyPipeline, tmp_path: Path) -> None:
    folder = tiny_pipeline("sd15")
    spec, unet, _ = export(folder, "unet", tmp_path, shapes="fixed")
    assert all(isinstance(axis, int) for tensor in unet.inputs for axis in tensor.shape)
    assert unet.inputs[0].shape[0] == 2
    assert compare(folder, unet, tmp_path, {}) > 110
    model = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    assert not any(node.op_type == "Shape" for node in model.graph.node)
    assert spec.generation.width // spec.generation.vae_scale_factor == unet.inputs[0].shape[3]


@pytest.mark.parametrize("operators", ["contrib", "plain"])
def test_fp16_computes_in_16_bits_but_for_the_embedding_of_the_timestep(
    operators: OperatorSet, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline("sd15")
    _, unet, _ = export(folder, "unet", tmp_path, "fp16", operators=operators)
    sizes = {"batch": 2, "sequence": 77, "height": 64, "width": 96}
    assert compare(folder, unet, tmp_path, sizes) > 55
    types = node_types(tmp_path)
    assert types["Conv"] == {onnx.TensorProto.FLOAT16}
    assert types["Sin"] == types["Cos"] == {onnx.TensorProto.FLOAT}


def test_fp16_keeps_the_autoencoders_arithmetic_in_32_bits(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline("sdxl")
    _, decoder, _ = export(folder, "vae_decoder", tmp_path, "fp16")
    assert node_types(tmp_path)["Conv"] == {onnx.TensorProto.FLOAT}
    assert compare(folder, decoder, tmp_path, {"batch": 1, "height": 32, "width": 32}) > 60


def node_types(folder: Path) -> dict[str, set[int]]:
    """Return the types of the first inputs of each kind of node."""
    model = onnx.shape_inference.infer_shapes(
        onnx.load(folder / "model.onnx", load_external_data=False)
    )
    known = {
        info.name: info.type.tensor_type.elem_type
        for info in (*model.graph.value_info, *model.graph.input, *model.graph.output)
    }
    found: dict[str, set[int]] = {}
    for node in model.graph.node:
        if node.input and node.input[0] in known:
            found.setdefault(node.op_type, set()).add(known[node.input[0]])
    return found


def test_fp16_storage_halves_the_weights_and_changes_nothing_where_they_were_fp16(
    tmp_path: Path,
) -> None:
    folder = resolve("builtin:emoji").path
    export(folder, "unet", tmp_path / "fp32")
    _, unet, _ = export(folder, "unet", tmp_path / "fp16", "fp16-storage")
    large = (tmp_path / "fp32/model.onnx_data").stat().st_size
    small = (tmp_path / "fp16/model.onnx_data").stat().st_size
    assert 0.5 <= small / large < 0.51
    sizes = {"batch": 2, "sequence": 24, "height": 64, "width": 64}
    assert compare(folder, unet, tmp_path / "fp16", sizes) > 110


def test_a_rule_of_a_recipe_decides_the_types_of_the_layers_that_it_names(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    recipe = Recipe(
        name="mixed",
        description="",
        storage="float16",
        compute="float16",
        tolerance=TOLERANCE,
        rules=(Rule(component="unet", layers="mid_block.*", storage="float32", compute="float32"),),
    )
    folder = tiny_pipeline("sd15")
    _, unet, _ = export(folder, "unet", tmp_path, recipe)
    model = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    types = {weight.name: weight.data_type for weight in model.graph.initializer}
    middle = [name for name in types if name.startswith("mid_block.resnets.0.conv1.weight")]
    outside = [name for name in types if name.startswith("down_blocks.0.resnets.0.conv1.weight")]
    assert {types[name] for name in middle} == {onnx.TensorProto.FLOAT}
    assert {types[name] for name in outside} == {onnx.TensorProto.FLOAT16}
    sizes = {"batch": 2, "sequence": 77, "height": 64, "width": 96}
    assert compare(folder, unet, tmp_path, sizes) > 55


def test_large_weights_begin_at_a_page_and_lie_one_behind_the_other(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    export(resolve("builtin:emoji").path, "unet", tmp_path, "fp16-storage")
    model = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    places = []
    for weight in model.graph.initializer:
        entries = {entry.key: entry.value for entry in weight.external_data}
        if entries:
            assert entries["location"] == "model.onnx_data"
            places.append((int(entries["offset"]), int(entries["length"])))
    assert_laid_out(places, tmp_path / "model.onnx_data")


def test_attention_that_would_overflow_in_16_bits_is_computed_in_32_where_the_config_says_so(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    import json
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(tiny_pipeline("sd21"), folder)
    path = folder / "unet/config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "upcast_attention": True}))
    export(folder, "unet", tmp_path / "out", "fp16", operators="plain")
    types = node_types(tmp_path / "out")
    assert types["Softmax"] == {onnx.TensorProto.FLOAT}
    assert types["Conv"] == {onnx.TensorProto.FLOAT16}


def test_axes_that_stay_open_keep_their_names(tiny_pipeline: TinyPipeline, tmp_path: Path) -> None:
    _, unet, _ = export(tiny_pipeline("sd15"), "unet", tmp_path)
    model = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    names = [
        axis.dim_param or axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim
    ]
    assert names == list(unet.inputs[0].shape)
    assert "batch" in names


def test_fix_axes_leaves_a_text_encoder_its_batch(tiny_pipeline: TinyPipeline) -> None:
    spec = read_pipeline(resolve(str(tiny_pipeline("sd15"))))
    text = fix_axes(spec.components[0], spec, "dynamic")
    assert text.inputs[0].shape == ("batch", 77)
    assert replace(text, inputs=(), outputs=()) == replace(
        spec.components[0], inputs=(), outputs=()
    )
