"""Holds the TFLite exporter against torch: every family, every recipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from edgegen.core.calibration import Calibration, LayerRange
from edgegen.core.codec import dump_json
from edgegen.core.errors import ExportError
from edgegen.core.model import Component
from edgegen.core.recipe import Recipe, Rule
from edgegen.exporters.tflite.operators import attention
from edgegen.models.source import resolve
from tests.exporters.harness import (
    LARGE_WEIGHT,
    OTHER_COMPONENTS,
    SOME_FAMILIES,
    TOLERANCE,
    Heard,
    TinyPipeline,
    component_of,
    export_component,
    inputs_of,
    lowest_psnr_db,
    psnr_db,
    torch_module,
)
from tests.exporters.small_networks import compute


def export(
    folder: Path,
    name: str,
    destination: Path,
    recipe: Recipe | str = "fp32",
    *,
    calibration: Calibration | None = None,
    **options: Any,
) -> tuple[Component, Heard]:
    measured = None
    if calibration is not None:
        measured = destination.parent / "calibration.json"
        measured.write_text(dump_json(calibration))
    done = export_component(
        *("tflite", folder, name, destination, recipe),
        shapes="fixed",
        calibration=measured,
        **options,
    )
    assert done.result.path == "model.tflite"
    written = sum(path.stat().st_size for path in destination.iterdir())
    assert done.result.storage_bytes == written
    return done.component, done.heard


def compare(folder: Path, component: Component, exported: Path) -> float:
    """Return the lowest PSNR of any output, after checking names, types and shapes."""
    interpreter = Interpreter(str(exported / "model.tflite"), num_threads=2)
    runner = interpreter.get_signature_runner()

    def compute(values: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        results = runner(**values)
        assert set(results) == {output.name for output in component.outputs}
        assert all(results[output.name].shape == output.shape for output in component.outputs)
        return [results[output.name] for output in component.outputs]

    return lowest_psnr_db(folder, component, compute)


def model_of(exported: Path) -> Any:
    return schema.ModelT.InitFromPackedBuf((exported / "model.tflite").read_bytes(), 0)


def operators_of(exported: Path) -> list[tuple[str, Any]]:
    model = model_of(exported)
    names = {number: name for name, number in vars(schema.BuiltinOperator).items()}
    codes = [names[code.builtinCode] for code in model.operatorCodes]
    return [(codes[each.opcodeIndex], each) for each in model.subgraphs[0].operators]


def counts_of(exported: Path) -> Counter[str]:
    return Counter(name for name, _ in operators_of(exported))


def calibrated(folder: Path, component: Component) -> Calibration:
    """Measure ranges on a few inputs, as calibration does on trajectories."""
    module = torch_module(folder, component)
    seen: dict[str, list[float]] = {}

    def watch(name: str) -> Callable[..., None]:
        def hear(
            _: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor
        ) -> None:
            ends = [edge(value) for value in (inputs[0], output) for edge in (torch.min, torch.max)]
            numbers = [float(end) for end in ends]
            before = seen.setdefault(name, numbers)
            seen[name] = [
                choose(old, new)
                for choose, old, new in zip((min, max, min, max), before, numbers, strict=True)
            ]

        return hear

    for name, layer in module.get_submodule("network").named_modules():
        if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d):
            layer.register_forward_hook(watch(name))
    with torch.no_grad():
        for seed in range(3):
            module(*inputs_of(component, seed=seed).values())
    ranges = {
        name: LayerRange(
            input_minimum=ends[0],
            input_maximum=ends[1],
            input_low=ends[0],
            input_high=ends[1],
            output_minimum=ends[2],
            output_maximum=ends[3],
            output_low=ends[2],
            output_high=ends[3],
        )
        for name, ends in seen.items()
    }
    return Calibration(components={component.name: ranges})


@pytest.mark.parametrize("family", SOME_FAMILIES)
def test_every_familys_denoiser_computes_what_torch_computes(
    family: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline(family)
    unet, heard = export(folder, "unet", tmp_path / "out")
    assert unet.inputs[0].shape[0] == 1
    assert compare(folder, unet, tmp_path / "out") > 120
    assert heard.steps == ["toolkits", "graph", "weights"]
    assert heard.done_bytes == heard.total_bytes > 0


@pytest.mark.parametrize(("family", "name"), OTHER_COMPONENTS)
def test_every_other_component_computes_what_torch_computes(
    family: str, name: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline(family)
    component, _ = export(folder, name, tmp_path / "out")
    assert compare(folder, component, tmp_path / "out") > 120


def test_only_inputs_outputs_and_the_heads_of_attention_are_transposed(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    export(tiny_pipeline("sd15"), "unet", tmp_path / "unet")
    counts = counts_of(tmp_path / "unet")
    # queries, keys and values of each attention and what it gives; the sample and the prediction
    assert counts["TRANSPOSE"] == 4 * counts["SOFTMAX"] + 2
    export(tiny_pipeline("sd15"), "vae_decoder", tmp_path / "decoder")
    assert counts_of(tmp_path / "decoder")["TRANSPOSE"] == 2


def test_xnnpack_takes_the_whole_denoiser(tiny_pipeline: TinyPipeline, tmp_path: Path) -> None:
    export(tiny_pipeline("sd15"), "unet", tmp_path / "out")
    interpreter = Interpreter(str(tmp_path / "out/model.tflite"), num_threads=2)
    interpreter.allocate_tensors()
    plan = Counter(operator["op_name"] for operator in interpreter._get_ops_details())
    assert plan["DELEGATE"] == 1


@pytest.mark.parametrize("limit_bytes", [pytest.param(100_000, marks=pytest.mark.slow), 20_000])
def test_attention_in_parts_gives_the_same(
    limit_bytes: int,
    tiny_pipeline: TinyPipeline,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tiny_pipeline("sd15")
    export(folder, "unet", tmp_path / "whole")
    monkeypatch.setattr(attention, "SCORES_BYTES", limit_bytes)
    unet, _ = export(folder, "unet", tmp_path / "parts")
    assert counts_of(tmp_path / "parts")["SOFTMAX"] > counts_of(tmp_path / "whole")["SOFTMAX"]
    assert compare(folder, unet, tmp_path / "parts") > 120


@pytest.mark.parametrize(
    ("recipe", "lowest_db"),
    [
        *(("fp16-storage", 75), ("int8-dynamic", 40), ("int8-weights", 45)),
        *(("int4-dynamic", 25), ("int4-channel", 20)),
    ],
)
@pytest.mark.parametrize("name", ["unet", "text_encoder"])
def test_a_recipe_of_smaller_weights_stays_near_torch(
    recipe: str, lowest_db: float, name: str, tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline("sd15")
    component, _ = export(folder, name, tmp_path / "out", recipe)
    assert lowest_db < compare(folder, component, tmp_path / "out") < 110


def test_xnnpack_takes_all_that_is_stored_in_blocks_of_4_bits(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    export(tiny_pipeline("sd15"), "unet", tmp_path / "out", "int4-dynamic")
    model = model_of(tmp_path / "out")
    tensors = model.subgraphs[0].tensors
    narrow = schema.TensorType.INT4
    kernels = [
        tensors[it.inputs[1]] for name, it in operators_of(tmp_path / "out") if name == "CONV_2D"
    ]
    assert not [it.name for it in kernels if it.type == narrow]
    matrices = [it for it in tensors if it.type == narrow]
    assert matrices
    for matrix in matrices:
        details = matrix.quantization.details
        scales = tensors[details.scales]
        assert (scales.type, details.blockSize) == (schema.TensorType.FLOAT16, 32)
        assert list(scales.shape) == [matrix.shape[0], matrix.shape[1] // 32]
    versions = {code.builtinCode: code.version for code in model.operatorCodes}
    assert versions[schema.BuiltinOperator.FULLY_CONNECTED] == 14  # LiteRT 2.0 would miscompute
    interpreter = Interpreter(str(tmp_path / "out/model.tflite"), num_threads=2)
    interpreter.allocate_tensors()
    plan = Counter(operator["op_name"] for operator in interpreter._get_ops_details())
    assert plan["DELEGATE"] == 1


@pytest.mark.parametrize(
    ("recipe", "columns", "side", "code", "dtype"),
    [
        ("int4-dynamic", 96, 1, "FULLY_CONNECTED", "INT4"),
        ("int4-dynamic", 72, 1, "FULLY_CONNECTED", "INT8"),
        ("int4-dynamic", 32, 3, "CONV_2D", "INT8"),
        ("int4-channel", 72, 1, "FULLY_CONNECTED", "INT4"),
        ("int4-channel", 32, 3, "CONV_2D", "INT4"),
        ("int8-dynamic", 96, 1, "CONV_2D", "INT8"),
    ],
)
def test_a_kernel_is_stored_as_some_operator_takes_it(
    recipe: str, columns: int, side: int, code: str, dtype: str, tmp_path: Path
) -> None:
    """In blocks only matrices, of which a kernel of one pixel is one; 72 is no whole block."""
    torch.manual_seed(3)
    network = torch.nn.Conv2d(columns, 64, side)
    expected, found = compute(
        "tflite", network, [torch.randn(1, columns, 5, 5)], tmp_path, recipe=recipe
    )
    assert psnr_db(expected[0], found[0]) > 25
    model = model_of(tmp_path)
    (operator,) = [it for name, it in operators_of(tmp_path) if name == code]
    kernel = model.subgraphs[0].tensors[operator.inputs[1]]
    assert kernel.type == getattr(schema.TensorType, dtype)


@pytest.mark.slow
def test_int8_takes_a_quarter_of_the_bytes(tmp_path: Path) -> None:
    folder = resolve("builtin:emoji").path
    sizes = {}
    for recipe in ("fp32", "fp16-storage", "int8-weights", "int8-dynamic"):
        _, heard = export(folder, "unet", tmp_path / recipe, recipe)
        sizes[recipe] = heard.total_bytes
    assert 0.5 <= sizes["fp16-storage"] / sizes["fp32"] < 0.52
    assert 0.25 <= sizes["int8-weights"] / sizes["fp32"] < 0.28
    assert 0.25 <= sizes["int8-dynamic"] / sizes["fp32"] < 0.28


@pytest.mark.parametrize(
    ("recipe", "dtype", "lowest_db"),
    [("int8-static", "INT8", 20), ("int8-static-a16", "INT16", 40)],
)
@pytest.mark.parametrize("name", [pytest.param("unet", marks=pytest.mark.slow), "vae_decoder"])
def test_static_recipes_multiply_integers_and_stay_near_torch(
    recipe: str,
    dtype: str,
    lowest_db: float,
    name: str,
    tiny_pipeline: TinyPipeline,
    tmp_path: Path,
) -> None:
    folder = tiny_pipeline("sd15")
    calibration = calibrated(folder, component_of(folder, name, target="tflite", shapes="fixed")[1])
    component, _ = export(folder, name, tmp_path / "out", recipe, calibration=calibration)
    tensors = model_of(tmp_path / "out").subgraphs[0].tensors
    products = [
        tensors[operator.outputs[0]].type
        for code, operator in operators_of(tmp_path / "out")
        if code in ("CONV_2D", "FULLY_CONNECTED")
        and np.prod(tensors[operator.inputs[1]].shape) > 4096
    ]
    assert products
    assert set(products) == {getattr(schema.TensorType, dtype)}
    assert lowest_db < compare(folder, component, tmp_path / "out") < 110


def test_a_static_recipe_wants_a_calibration_with_every_layer(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline("sd15")
    with pytest.raises(ExportError, match="calibrated"):
        export(folder, "unet", tmp_path / "none", "int8-static")
    empty = Calibration(components={"unet": {}})
    with pytest.raises(ExportError, match="no range was measured"):
        export(folder, "unet", tmp_path / "empty", "int8-static", calibration=empty)


def test_a_rule_of_a_recipe_decides_the_types_of_the_layers_that_it_names(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    recipe = Recipe(
        name="mixed",
        description="",
        storage="float16",
        compute="float32",
        tolerance=TOLERANCE,
        rules=(Rule(component="unet", layers="mid_block.*", storage="float32"),),
    )
    export(tiny_pipeline("sd15"), "unet", tmp_path / "out", recipe)
    tensors = model_of(tmp_path / "out").subgraphs[0].tensors
    types = {tensor.name.decode(): tensor.type for tensor in tensors}
    assert types[LARGE_WEIGHT] == schema.TensorType.FLOAT32
    assert types["down_blocks.0.resnets.0.conv1.weight"] == schema.TensorType.FLOAT16


def test_arithmetic_in_16_bits_is_refused(tiny_pipeline: TinyPipeline, tmp_path: Path) -> None:
    recipe = Recipe(
        name="half", description="", storage="float16", compute="float16", tolerance=TOLERANCE
    )
    with pytest.raises(ExportError, match="computed in float16"):
        export(tiny_pipeline("sd15"), "unet", tmp_path / "out", recipe)


def test_a_model_beyond_a_files_limit_becomes_parts(
    tiny_pipeline: TinyPipeline, tmp_path: Path
) -> None:
    folder = tiny_pipeline("sd15")
    unet, _ = export(folder, "unet", tmp_path / "out", part_bytes=2 << 20)
    names = ["model.tflite", "model.2.tflite", "model.3.tflite"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)
    values: Mapping[str, Any] = {name: value.numpy() for name, value in inputs_of(unet).items()}
    for name in names:
        interpreter = Interpreter(str(tmp_path / "out" / name))
        runner = interpreter.get_signature_runner()
        wanted = runner.get_input_details()
        values = {**values, **runner(**{key: values[key] for key in wanted})}
    with torch.no_grad():
        (expected,) = torch_module(folder, unet)(*inputs_of(unet).values())
    assert psnr_db(expected.numpy(), values["out_sample"]) > 120
