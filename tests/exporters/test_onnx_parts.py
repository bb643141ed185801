"""Cutting ONNX graphs into parts: together they compute what the whole computes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from edgegen.core.errors import ExportError
from edgegen.exporters.onnx.parts import part_path, split

WIDTH, LAYERS = 32, 6
WEIGHT_BYTES = WIDTH * WIDTH
"""What a layer of `quantized` stores, but for its scales."""


def initializer(name: str, array: NDArray[np.generic]) -> ir.Value:
    return ir.Value(
        name=name,
        const_value=ir.tensor(array, name=name),
        type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
        shape=ir.Shape(array.shape),
    )


class Writer:
    """Writes layers whose weights have 8 bits and whose activations have 16."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes: list[ir.Node] = []
        self.initializers: list[ir.Value] = []

    def constant(self, name: str, array: NDArray[np.generic]) -> ir.Value:
        self.initializers.append(initializer(name, array))
        return self.initializers[-1]

    def node(
        self, op_type: str, inputs: Sequence[ir.Value], kind: ir.DataType, name: str
    ) -> ir.Value:
        node = ir.node(op_type, inputs, name=name)
        node.outputs[0].name = name
        node.outputs[0].type = ir.TensorType(kind)
        self.nodes.append(node)
        return node.outputs[0]

    def quantized(self, value: ir.Value, name: str) -> ir.Value:
        by = [
            self.constant(f"{name}.scale", np.float32(1 / 4096)),
            self.constant(f"{name}.zero", np.uint16(32768)),
        ]
        whole = self.node("QuantizeLinear", [value, *by], ir.DataType.UINT16, f"{name}/Q")
        return self.node("DequantizeLinear", [whole, *by], ir.DataType.FLOAT, f"{name}/DQ")

    def layer(self, value: ir.Value, name: str) -> ir.Value:
        weight = self.rng.integers(-127, 128, (WIDTH, WIDTH)).astype(np.int8)
        stored = [
            self.constant(f"{name}.weight", weight),
            self.constant(f"{name}.scales", np.full(WIDTH, 2e-3, np.float32)),
        ]
        matrix = self.node("DequantizeLinear", stored, ir.DataType.FLOAT, f"{name}.weight/DQ")
        product = self.node("MatMul", [value, matrix], ir.DataType.FLOAT, f"{name}/MatMul")
        return self.quantized(product, name)


def model(*, unused: bool = False) -> ir.Model:
    """Return a stack of layers with a skip from the first to the last, as UNets have."""
    writer = Writer()
    x, spare = (
        ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape((4, WIDTH)))
        for name in ("x", "spare")
    )
    value = skip = writer.quantized(x, "x.in")
    for number in range(LAYERS):
        value = writer.layer(value, f"layers.{number}")
        skip = value if number == 0 else skip
    total = writer.node("Add", [value, skip], ir.DataType.FLOAT, "out/Add")
    result = writer.node("Identity", [total], ir.DataType.FLOAT, "y")
    result.shape = ir.Shape((4, WIDTH))
    graph = ir.Graph(
        [x, spare] if unused else [x],
        [result],
        nodes=writer.nodes,
        initializers=writer.initializers,
        opset_imports={"": 21},
        name="unet",
    )
    return ir.Model(graph, ir_version=10, producer_name="edgegen")


def computed(
    model: ir.Model, path: Path, values: dict[str, NDArray[np.generic]]
) -> dict[str, NDArray[np.generic]]:
    """Compute a model's outputs, each node by itself: fused ones round otherwise."""
    ir.save(model, path)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [it.name for it in session.get_outputs()]
    feeds = {it.name: values[it.name] for it in session.get_inputs()}
    return dict(zip(names, session.run(names, feeds), strict=True))


@pytest.mark.parametrize("count", [2, 3, 6])
def test_parts_compute_the_whole_to_the_bit(count: int, tmp_path: Path) -> None:
    x = np.random.default_rng(1).normal(size=(4, WIDTH)).astype(np.float32)
    expected = computed(model(), tmp_path / "whole.onnx", {"x": x})["y"]
    parts = split(model(), LAYERS // count * (WEIGHT_BYTES + 4 * WIDTH + 100))
    assert len(parts) == count
    values: dict[str, NDArray[np.generic]] = {"x": x}
    for number, part in enumerate(parts, start=1):
        values |= computed(part, part_path(tmp_path / "model.onnx", number), values)
    assert np.array_equal(values["y"], expected)
    assert float(np.ptp(expected)) > 0.1
    assert (tmp_path / f"model.{count}.onnx").is_file()


def test_integers_cross_and_become_floats_in_each_part() -> None:
    first, second = split(model(), 3 * (WEIGHT_BYTES + 4 * WIDTH + 100))
    crossing = {it.name: it.dtype for it in first.graph.outputs}
    assert crossing == {
        "layers.0/Q": ir.DataType.UINT16,
        "layers.2/Q": ir.DataType.UINT16,
    }
    assert {it.name for it in second.graph.inputs} == set(crossing)
    repeated = {node.outputs[0].name for node in second.graph}
    assert {"layers.0/DQ", "layers.2/DQ"} <= repeated


def test_parts_are_alike_in_size() -> None:
    for count in (2, 3):
        parts = split(model(), LAYERS // count * (WEIGHT_BYTES + 4 * WIDTH + 100))
        layers = [
            sum(name.endswith(".weight") for name in part.graph.initializers) for part in parts
        ]
        assert layers == [LAYERS // count] * count


def test_what_fits_stays_whole() -> None:
    whole = model()
    assert split(whole, 1 << 20) == [whole]


def test_an_input_that_nothing_uses_is_the_first_parts() -> None:
    first, second = split(model(unused=True), 3 * (WEIGHT_BYTES + 4 * WIDTH + 100))
    assert [it.name for it in first.graph.inputs] == ["x", "spare"]
    assert "spare" not in {it.name for it in second.graph.inputs}


def test_an_operator_beyond_the_limit_is_refused() -> None:
    with pytest.raises(ExportError, match="an operator cannot be cut") as caught:
        split(model(), WEIGHT_BYTES // 2)
    assert "--part-size" in caught.value.hint
