"""4 bits in blocks and activations in 8 bits in OpenVINO: what is written, what it computes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
from numpy.typing import DTypeLike, NDArray

from edgegen.compress.codec import Granularity
from edgegen.compress.codecs import CODECS
from edgegen.core.calibration import Calibration, LayerRange
from edgegen.core.codec import dump_json
from edgegen.core.errors import ConfigError, ExportError
from edgegen.core.model import TensorSpec
from edgegen.core.recipe import ComponentRecipe, Recipe, Rule
from edgegen.core.recipes import load_recipe
from edgegen.core.targets import load_target
from edgegen.devices.profiles import load_profile
from edgegen.exporters.lowering import Parameter
from edgegen.exporters.openvino.exporter import GRAPH_NAME, WEIGHTS_NAME
from edgegen.exporters.openvino.ir_xml import ir_xml
from edgegen.exporters.openvino.weights import place, stream_constants
from edgegen.exporters.openvino.writer import GraphWriter
from edgegen.models.binding import BoundTensor
from edgegen.models.safetensors import TensorEntry
from edgegen.packaging.runtime_versions import refuse_older
from tests.exporters.harness import TOLERANCE, TinyPipeline, component_of, export_component
from tests.exporters.test_openvino_export import compare, export, stored_types
from tests.exporters.test_tflite_export import calibrated

SIZES = {"batch": 2, "sequence": 77, "height": 64, "width": 96}
FOUR_BITS = {"int4": "i4", "int4-asymmetric": "u4"}


@dataclass(frozen=True, kw_only=True)
class OneWeight:
    """A source of one weight."""

    array_: NDArray[np.float32]
    name: str = "one"
    entries: dict[str, Any] = field(default_factory=dict)
    takes_all_keys: bool = False

    def array(
        self, key: str, dtype: DTypeLike | None = None, *, again: bool = False
    ) -> NDArray[Any]:
        return self.array_


def restored(
    weight: NDArray[np.float32], storage: str, shape: tuple[int, ...], folder: Path
) -> NDArray[np.float32]:
    """Return what OpenVINO makes of a stored weight that a graph wants in a shape."""
    recipe = ComponentRecipe(
        name="mine",
        storage=storage,
        compute="float32",
        activations="float",
        rules=(),
        float32_layers=(),
        block=32,
    )
    writer = GraphWriter("one", recipe, None)
    source = writer.input(TensorSpec(name="x", dtype="float32", shape=(1,)))
    value = writer.weight(Parameter(name="w", shape=weight.shape), shape=shape)
    output = TensorSpec(name="y", dtype="float32", shape=shape)
    graph = writer.finish([source], [(output, writer.binary("Multiply", value, source))])
    offsets = place(graph.constants)
    entry = TensorEntry(
        dtype="float32", shape=weight.shape, file=folder, offset=0, size_bytes=weight.nbytes
    )
    bound = {"w": BoundTensor(parameter="w", key="w", entry=entry, shape=weight.shape)}
    heard: list[int] = []
    stream_constants(
        graph.constants,
        offsets,
        bound,
        OneWeight(array_=weight),
        folder / WEIGHTS_NAME,
        heard.append,
        block=recipe.block,
    )
    assert sum(heard) == sum(constant.size_bytes for constant in graph.constants)
    (folder / GRAPH_NAME).write_text(ir_xml(graph, offsets))
    compiled = openvino.Core().compile_model(folder / GRAPH_NAME, "CPU")
    found: NDArray[np.float32] = compiled([np.ones(1, np.float32)])[0]
    return found


@pytest.mark.parametrize("storage", ["int4", "uint4"])
@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        pytest.param((40, 128), (40, 128), id="blocks of 32"),
        pytest.param((65, 75), (65, 75), id="blocks of 25, an odd number of numbers"),
        pytest.param((70, 74), (70, 74), id="one block a row"),
        pytest.param((12, 64, 3, 3), (12, 64, 3, 3), id="a kernel"),
        pytest.param((6, 96, 3, 3), (2, 3, 96, 3, 3), id="a kernel of groups"),
        pytest.param((70, 74, 1, 1), (2, 35, 74, 1, 1), id="groups, one block a row"),
    ],
)
def test_openvino_reads_the_numbers_that_the_codec_gives_back(
    storage: str, shape: tuple[int, ...], wanted: tuple[int, ...], tmp_path: Path
) -> None:
    weight = np.random.default_rng(3).normal(size=shape).astype(np.float32)
    found = restored(weight, storage, wanted, tmp_path)
    codec = CODECS[storage]
    expected = codec.decode(codec.encode(weight, Granularity(block=32))).reshape(wanted)
    # a plugin may round the product of an integer and a scale to the scale's type
    np.testing.assert_allclose(found, expected, rtol=1e-3)


@pytest.mark.parametrize("recipe", FOUR_BITS)
@pytest.mark.parametrize("name", ["unet", "vae_decoder"])
def test_matrices_are_stored_in_4_bits_and_kernels_and_the_ends_in_8(
    name: str, recipe: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline("sd15")
    _, component, _, _ = export(folder, name, tmp_path, recipe)
    assert 18 < compare(folder, component, tmp_path, SIZES) < 90
    types = {it: kind for it, kind in stored_types(tmp_path).items() if it.endswith(".weight")}
    kernels = [kind for it, kind in types.items() if "conv" in it or "embed" in it]
    assert set(kernels) <= {"i8", "f32"}
    matrices = [kind for it, kind in types.items() if ".ff.net." in it or ".mlp." in it]
    assert (FOUR_BITS[recipe] in matrices) == (name != "vae_decoder")


@pytest.mark.parametrize("recipe", FOUR_BITS)
def test_the_processor_multiplies_with_matrices_of_4_bits_as_they_lie(
    recipe: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    export(tiny_pipeline("sd15"), "unet", tmp_path, recipe)
    kept = [of for of in executed(tmp_path) if of["runtimePrecision"] == FOUR_BITS[recipe]]
    written = [it for it in stored_types(tmp_path).values() if it == FOUR_BITS[recipe]]
    matrices = len(written) // (2 if recipe == "int4-asymmetric" else 1)  # zero points
    assert len(kept) == matrices > 0
    assert {of["layerType"] for of in kept} == {"FullyConnected"}


@pytest.mark.parametrize("storage", ["int4", "uint4"])
def test_rows_of_a_table_in_4_bits_are_looked_up(
    storage: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    recipe = Recipe(
        name="mine",
        description="",
        storage="float32",
        compute="float32",
        tolerance=TOLERANCE,
        rules=(Rule(layers="*token_embedding", storage=storage),),
    )
    folder = tiny_pipeline("sd15")
    _, component, _, _ = export(folder, "text_encoder", tmp_path, recipe)
    packed = {it for it, kind in stored_types(tmp_path).items() if kind in FOUR_BITS.values()}
    assert any("token_embedding.weight" in it for it in packed)
    assert 15 < compare(folder, component, tmp_path, SIZES) < 60


def with_calibration(
    folder: Path, place: Path, recipe: str, calibration: Calibration | None = None
) -> None:
    component = component_of(folder, "unet", target="openvino", shapes="fixed")[1]
    measured = place.parent / "calibration.json"
    measured.write_text(dump_json(calibration or calibrated(folder, component)))
    export_component("openvino", folder, "unet", place, recipe, calibration=measured)


def executed(folder: Path) -> list[dict[str, str]]:
    """Return how the processor runs each product of a matrix or a kernel with its weight."""
    compiled = openvino.Core().compile_model(folder / GRAPH_NAME, "CPU")
    found = []
    for node in compiled.get_runtime_model().get_ordered_ops():
        facts = {
            name: node.get_rt_info()[name].astype(str)
            for name in ("layerType", "primitiveType", "runtimePrecision")
        }
        if facts["layerType"] in ("FullyConnected", "Convolution"):
            found.append(facts)
    return found


@pytest.mark.parametrize(
    ("recipe", "kinds"),
    [("int8-hybrid", {"MatMul"}), ("int8-static", {"MatMul", "Convolution"})],
)
def test_activations_in_8_bits_are_those_of_the_products_that_the_recipe_names(
    recipe: str, kinds: set[str], tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline("sd15")
    with_calibration(folder, tmp_path / "out", recipe)
    model = openvino.Core().read_model(tmp_path / "out" / GRAPH_NAME)
    readers = {
        reader.get_node().get_type_name()
        for node in model.get_ops()
        if node.get_type_name() == "FakeQuantize"
        for reader in node.output(0).get_target_inputs()
    }
    assert readers == kinds
    component = component_of(folder, "unet", target="openvino", shapes="dynamic")[1]
    assert 25 < compare(folder, component, tmp_path / "out", SIZES) < 90


@pytest.mark.parametrize(
    ("recipe", "layers"),
    [("int8-hybrid", {"FullyConnected"}), ("int8-static", {"FullyConnected", "Convolution"})],
)
def test_the_processor_multiplies_integers_where_activations_have_8_bits(
    recipe: str, layers: set[str], tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    with_calibration(tiny_pipeline("sd15"), tmp_path / "out", recipe)
    of_integers = {
        it["layerType"]
        for it in executed(tmp_path / "out")
        if it["runtimePrecision"] in ("u8", "i8") and it["primitiveType"].lower().endswith("_i8")
    }
    assert of_integers == layers


def test_one_value_that_several_layers_read_is_rounded_once_for_a_range() -> None:
    recipe = ComponentRecipe(
        name="mine",
        storage="int8",
        compute="float32",
        activations="int8",
        rules=(),
        float32_layers=(),
    )
    ranges = {"query": a_range(2.0), "key": a_range(2.0), "wider": a_range(3.0)}
    writer = GraphWriter("one", recipe, Calibration(components={"one": ranges}))
    source = writer.input(TensorSpec(name="x", dtype="float32", shape=(1, 128)))
    weight = Parameter(name="w", shape=(64, 128))
    factors = {}
    for layer in ranges:
        writer.enter(layer)
        factors[layer] = writer.factor(source, weight)
    assert factors["query"] is factors["key"]
    assert factors["wider"] is not factors["key"]
    assert {it.layer.type for it in factors.values()} == {"FakeQuantize"}
    small = Parameter(name="small", shape=(8, 128))
    assert writer.factor(source, small) is source


def a_range(high: float) -> LayerRange:
    return LayerRange(
        input_minimum=-1.0,
        input_maximum=high,
        input_low=-1.0,
        input_high=high,
        output_minimum=-1.0,
        output_maximum=1.0,
        output_low=-1.0,
        output_high=1.0,
    )


def test_calibrated_activations_want_a_range_of_every_layer(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline("sd15")
    with pytest.raises(ExportError, match="calibrated"):
        export(folder, "unet", tmp_path / "none", "int8-static")
    empty = Calibration(components={"unet": {}})
    with pytest.raises(ExportError, match="no range was measured"):
        with_calibration(folder, tmp_path / "empty", "int8-static", empty)


@pytest.mark.parametrize("name", ["int4", "int4-asymmetric", "int8-hybrid", "int8-static"])
def test_a_version_that_cannot_read_the_graph_is_refused_by_the_name_of_the_recipe(
    name: str,
) -> None:
    target = load_target("openvino")
    recipe, profile = load_recipe(name, target), load_profile("x86-mini-pc")
    runtime = profile.runtime("openvino")
    assert runtime is not None
    refuse_older(recipe, target, replace(runtime, version="2023.3.0"), profile)
    with pytest.raises(ConfigError, match=rf"'{name}'.*from 2023\.3\.0 on.*has 2023\.2\.0"):
        refuse_older(recipe, target, replace(runtime, version="2023.2.0"), profile)
