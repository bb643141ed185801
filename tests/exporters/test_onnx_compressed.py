"""ONNX in 8 and 4 bits: which operators multiply, and how near it stays to torch."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from edgegen.compress.codec import Granularity
from edgegen.compress.codecs import CODECS
from edgegen.core.calibration import Calibration
from edgegen.core.codec import dump_json
from edgegen.core.errors import ConfigError, ExportError
from edgegen.core.profile import DeviceProfile
from edgegen.core.recipe import Recipe
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_target
from edgegen.devices.profiles import load_profile
from edgegen.exporters.base import resolve_options
from edgegen.exporters.onnx.weights import in_nibbles
from edgegen.packaging.runtime_versions import refuse_older
from tests.exporters.harness import (
    TinyPipeline,
    component_of,
    export_component,
    torch_module,
)
from tests.exporters.test_onnx_export import compare
from tests.exporters.test_tflite_export import calibrated

TARGET = load_target("onnx")
SIZES = {"batch": 2, "sequence": 77, "height": 32, "width": 48}


def model_of(folder: Path) -> onnx.ModelProto:
    return onnx.load(folder / "model.onnx", load_external_data=True)


def counts_of(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def optimized(folder: Path) -> Counter[str]:
    """Return how often onnxruntime computes with each operator."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # the file that it writes is for this machine only
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    onnxruntime.InferenceSession(folder / "model.onnx", options, ["CPUExecutionProvider"])
    return counts_of(onnx.load(folder / "optimized.onnx", load_external_data=False))


def initializers_of(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    return {it.name: numpy_helper.to_array(it) for it in model.graph.initializer}


@pytest.mark.usefixtures("captures_once")
@pytest.mark.parametrize(
    ("recipe", "lowest_db"), [("int8", 45), ("int8-dynamic", 40), ("int4", 25)]
)
@pytest.mark.parametrize("name", ["unet", pytest.param("text_encoder", marks=pytest.mark.slow)])
def test_a_recipe_of_few_bits_stays_near_torch(
    recipe: str, lowest_db: float, name: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline("sd15")
    exported = export_component("onnx", folder, name, tmp_path, recipe)
    assert exported.heard.done_bytes == exported.heard.total_bytes > 0
    assert lowest_db < compare(folder, exported.component, tmp_path, SIZES) < 110
    onnx.checker.check_model(str(tmp_path / "model.onnx"))


@pytest.mark.usefixtures("captures_once")
def test_each_recipe_multiplies_with_the_operators_that_its_runtime_is_best_at(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline("sd15")
    counts = {}
    for recipe in ("fp32", "int8", "int8-dynamic", "int4"):
        export_component("onnx", folder, "unet", tmp_path / recipe, recipe)
        counts[recipe] = counts_of(model_of(tmp_path / recipe))
    linear = counts["fp32"]["MatMul"]
    assert counts["int8"]["MatMul"] == linear
    assert not counts["int8"]["DequantizeLinear"]
    dynamic = counts["int8-dynamic"]
    assert dynamic["MatMulInteger"] > 0
    assert dynamic["MatMulInteger"] + dynamic["MatMul"] == linear

    assert dynamic["Conv"] == counts["fp32"]["Conv"]
    assert not dynamic["ConvInteger"]
    assert counts["int4"]["MatMulNBits"] > 0
    assert counts["int4"]["MatMulNBits"] + counts["int4"]["MatMul"] == linear
    assert optimized(tmp_path / "int8-dynamic")["MatMulInteger"] == 0  # all were fused


@pytest.mark.usefixtures("captures_once")
def test_the_graph_holds_what_the_codecs_encode(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline("sd15")
    exported = export_component("onnx", folder, "unet", tmp_path, recipe("int4", block=16))
    weights = {
        name.removeprefix("network."): value.detach().numpy()
        for name, value in torch_module(folder, exported.component).named_parameters()
    }
    held = initializers_of(model_of(tmp_path))
    bits = {"int4": 0, "int8": 0}
    for name, values in held.items():
        found = re.fullmatch(r"(.*?)(\.T)?\.(int4|int8)\.\d", name)
        if found is None:
            continue
        weight = weights[found[1]]
        encoded = CODECS[found[3]].encode(weight, Granularity(block=16))
        scales = held[f"{name}.scales"]
        assert encoded.scales is not None
        np.testing.assert_array_equal(scales.reshape(-1), encoded.scales.reshape(-1))
        if found[3] == "int4":
            assert weight.ndim == 2
            assert values.shape == (len(weight), weight.shape[1] // 16, 8)
            np.testing.assert_array_equal(unpacked(values).reshape(weight.shape), encoded.values)
        else:
            np.testing.assert_array_equal(values.T if found[2] else values, encoded.values)
        bits[found[3]] += 1
    assert min(bits.values()) > 0


def unpacked(packed: NDArray[np.uint8]) -> NDArray[np.int8]:
    halves = np.stack([packed & 15, packed >> 4], axis=-1).astype(np.int8)
    return halves.reshape(*packed.shape[:-1], -1) - np.int8(8)


def test_nibbles_hold_the_first_number_in_the_lower_half() -> None:
    values = np.random.default_rng(3).integers(-7, 8, (5, 32)).astype(np.int8)
    packed = in_nibbles(values)
    np.testing.assert_array_equal(unpacked(packed), values)
    assert packed[0, 0] & 15 == values[0, 0] + 8


@pytest.mark.usefixtures("captures_once")
def test_a_matrix_whose_rows_are_no_whole_blocks_is_stored_in_8_bits(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline("sd15")
    export_component("onnx", folder, "unet", tmp_path, recipe("int4", block=128))
    model = model_of(tmp_path)
    for node in model.graph.node:
        if node.op_type == "MatMulNBits":
            settings = {it.name: it.i for it in node.attribute}
            assert settings["K"] % 128 == 0
    assert any(".T.int8." in name for name in initializers_of(model))


@pytest.mark.usefixtures("captures_once")
@pytest.mark.parametrize("level", [pytest.param(0, marks=pytest.mark.slow), 4])
def test_the_accuracy_level_of_a_profile_is_that_of_the_products(
    level: int, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline("sd15")
    exported = export_component("onnx", folder, "unet", tmp_path, "int4", accuracy_level=level)
    levels = {
        next((it.i for it in node.attribute if it.name == "accuracy_level"), 0)
        for node in model_of(tmp_path).graph.node
        if node.op_type == "MatMulNBits"
    }
    assert levels == {level}
    assert compare(folder, exported.component, tmp_path, SIZES) > 25


@pytest.mark.usefixtures("captures_once")
@pytest.mark.parametrize(
    "component_name", ["vae_decoder", pytest.param("unet", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    ("name", "bits", "opset", "lowest_db"),
    [("int8-static", 8, 18, 20), ("int8-static-a16", 16, 21, 38)],
)
def test_static_recipes_quantize_around_each_product_and_onnxruntime_computes_with_integers(
    name: str,
    bits: int,
    opset: int,
    lowest_db: float,
    component_name: str,
    tiny_pipeline: TinyPipeline,
    tmp_path: Path,
) -> None:
    folder = tiny_pipeline("sd15")
    _, fixed = component_of(folder, component_name, target="onnx", shapes="fixed")
    path = written(calibrated(folder, fixed), tmp_path)
    component = export_component(
        "onnx", folder, component_name, tmp_path / "out", name, calibration=path
    ).component
    model = model_of(tmp_path / "out")
    kinds = {
        held.dtype
        for node in model.graph.node
        if node.op_type == "QuantizeLinear"
        for held in [initializers_of(model)[node.input[2]]]
    }
    assert kinds == {np.dtype(f"uint{bits}")}
    assert {it.version for it in model.opset_import if it.domain == ""} == {opset}
    assert lowest_db < compare(folder, component, tmp_path / "out", SIZES) < 110
    onnx.checker.check_model(str(tmp_path / "out/model.onnx"))
    if bits == 8:  # the processor's provider has no kernels for 16
        widened = {
            node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"
        }
        quantized = Counter(
            node.op_type for node in model.graph.node if {*node.input[:2]} <= widened
        )
        fused = optimized(tmp_path / "out")
        assert fused["QLinearConv"] == quantized["Conv"] > 0
        # Of a product of two axes with a bias, as those of the timestep are, it makes a Gemm of
        # floats; the decoder's few matrices are small.
        assert (fused["MatMulIntegerToFloat"] > 0) == (component_name == "unet")


def written(calibration: Calibration, folder: Path) -> Path:
    path = folder / "calibration.json"
    path.write_text(dump_json(calibration))
    return path


@pytest.mark.usefixtures("captures_once")
def test_a_static_recipe_wants_a_calibration_with_every_layer(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline("sd15")
    with pytest.raises(ExportError, match="calibrated"):
        export_component("onnx", folder, "unet", tmp_path / "none", "int8-static")
    empty = written(Calibration(components={"unet": {}}), tmp_path)
    with pytest.raises(ExportError, match="no range was measured"):
        export_component(
            "onnx", folder, "unet", tmp_path / "empty", "int8-static", calibration=empty
        )


@pytest.mark.usefixtures("captures_once")
@pytest.mark.parametrize("name", [pytest.param("int8", marks=pytest.mark.slow), "int8-dynamic"])
def test_a_recipe_of_ones_own_may_compute_the_rest_in_16_bits(
    name: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline("sd15")
    half = replace(load_recipe(name, TARGET), compute="float16")
    exported = export_component("onnx", folder, "unet", tmp_path, half)
    assert compare(folder, exported.component, tmp_path, SIZES) > 25


def test_blocks_are_refused_where_the_runtime_has_plain_operators_only() -> None:
    with pytest.raises(
        ConfigError, match=r"'int4' stores weights as int4, which only .*MatMulNBits"
    ):
        resolved("int4", load_profile("iphone-15-pro"))
    resolved("int8", load_profile("iphone-15-pro"))


@pytest.mark.parametrize(
    ("name", "older", "first"),
    [("int4", "1.16.1", "1.16.2"), ("int8-static-a16", "1.17.3", "1.18.0")],
)
def test_an_onnxruntime_that_lacks_the_operators_of_a_recipe_is_refused_by_name(
    name: str, older: str, first: str
) -> None:
    profile = load_profile("pixel-8")
    runtime = profile.runtime("onnx")
    assert runtime is not None
    asked = load_recipe(name, TARGET)
    with pytest.raises(ConfigError, match=f"'{name}' .* onnxruntime executes from {first} on"):
        refuse_older(asked, TARGET, replace(runtime, version=older), profile)
    refuse_older(asked, TARGET, replace(runtime, version=first), profile)
    refuse_older(load_recipe("int8", TARGET), TARGET, replace(runtime, version=older), profile)


@pytest.mark.parametrize("block", [8, 48])
def test_blocks_of_a_size_that_the_operator_lacks_are_refused(block: int) -> None:
    with pytest.raises(ConfigError, match=f"blocks of {block} numbers.*power of two"):
        resolved(recipe("int4", block=block), load_profile("pixel-8"))


def test_a_profile_sets_the_accuracy_level() -> None:
    profile = load_profile("pixel-8")
    assert getattr(resolved("int4", profile, accuracy_level=4), "accuracy_level", None) == 4


def resolved(name: str | Recipe, profile: DeviceProfile, **options: Any) -> object:
    runtime = profile.runtime("onnx")
    assert runtime is not None
    asked = load_recipe(name, TARGET) if isinstance(name, str) else name
    return resolve_options(TARGET, asked, replace(runtime, **options), profile)


def recipe(name: str, *, block: int) -> Recipe:
    return replace(load_recipe(name, TARGET), block=block)
