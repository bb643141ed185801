"""Holds the TFLite file format against the runtime: written graphs must compute what they say."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from safetensors.numpy import save_file

from edgegen.compress.codec import Granularity
from edgegen.compress.codecs import CODECS
from edgegen.compress.int8 import quantize
from edgegen.core.errors import ExportError, SourceError
from edgegen.exporters.data_file import PAGE_BYTES
from edgegen.exporters.stored_weights import WeightForm
from edgegen.exporters.tflite import flatbuffer
from edgegen.exporters.tflite.flatbuffer import write_model
from edgegen.exporters.tflite.graph import (
    BlockScales,
    Graph,
    Operator,
    Quantization,
    Tensor,
    Weight,
)
from edgegen.exporters.tflite.parts import file_name, split
from edgegen.exporters.tflite.weights import data_bytes
from edgegen.models.binding import bind
from edgegen.models.weights import Weights
from edgegen.networks.base import KeyRules

Arrays = Mapping[str, NDArray[Any]]
BOTH_FORMS = pytest.mark.parametrize("external", [False, True], ids=["plain", "external"])
WIDTH = 64


def random(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def weight(name: str, shape: tuple[int, ...], dtype: Any = "float32", **more: Any) -> Tensor:
    form = WeightForm(parameter=name, axes=None, shape=shape)
    data = Weight(form=form, storage=dtype, granularity=Granularity(**more))
    return Tensor(name=name, shape=shape, dtype=dtype, data=data)


def four_bits(shape: tuple[int, ...], block: int | None, name: str = "w") -> Tensor:
    """Return a weight of 4 bits in blocks; by channel without a `block`."""
    form = WeightForm(parameter=name, axes=None, shape=shape)
    storage = "int4-channel" if block is None else "int4"
    data = Weight(form=form, storage=storage, granularity=Granularity(block=block))
    scales = None
    if block is not None:
        scales = Tensor(
            name=f"{name}.scales",
            shape=(shape[0], shape[1] // block),
            dtype="float16",
            data=BlockScales(of=data),
        )
    return Tensor(name=name, shape=shape, dtype="int4", data=data, block_scales=scales)


def activation(name: str, *shape: int) -> Tensor:
    return Tensor(name=name, shape=shape, dtype="float32")


def dense(x: Tensor, matrix: Tensor, name: str) -> tuple[Operator, Tensor]:
    """Return `x · matrixᵀ` and its result."""
    result = activation(name, x.shape[0], matrix.shape[0])
    options = {"keepNumDims": True, "asymmetricQuantizeInputs": False}
    version = {"float32": 1, "float16": 1, "int8": 12, "int4": 14}[matrix.dtype]
    return Operator(
        code="FULLY_CONNECTED",
        inputs=(x, matrix, None),
        outputs=(result,),
        options_type="FullyConnectedOptions",
        options=options,
        version=version,
    ), result


def add(x: Tensor, y: Tensor, name: str) -> tuple[Operator, Tensor]:
    result = activation(name, *x.shape)
    made = Operator(code="ADD", inputs=(x, y), outputs=(result,), options_type="AddOptions")
    return made, result


def one_layer(matrix: Tensor, *more: Operator) -> Graph:
    """Return a graph of one layer; `more` runs before it."""
    x = activation("x", 2, matrix.shape[1])
    operator, y = dense(x, more[-1].outputs[0] if more else matrix, "y")
    return Graph(name="layer", operators=(*more, operator), inputs={"in": x}, outputs={"out": y})


def write(
    graph: Graph, folder: Path, arrays: Arrays, *, external: bool = False, name: str = ""
) -> Path:
    """Write a graph whose weights are `arrays`; check that progress adds up to its data."""
    source = folder / "source"
    source.mkdir(exist_ok=True)
    if arrays:
        save_file(dict(arrays), source / "model.safetensors")
    else:
        save_file({"none": np.zeros(1, np.float32)}, source / "model.safetensors")
    weights = Weights.open(source)
    shapes = {key: entry.shape for key, entry in weights.entries.items()}
    bound = bind(weights, shapes, KeyRules())
    path = folder / (name or file_name(1))
    heard: list[int] = []
    size_bytes = write_model(
        graph, path, bound=bound, weights=weights, progress=heard.append, external=external
    )
    assert path.stat().st_size == size_bytes
    assert sum(heard) == data_bytes(graph)
    return path


def run(path: Path, **inputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
    interpreter = Interpreter(model_path=str(path))
    signature = interpreter.get_signature_runner("serving_default")
    assert set(signature.get_input_details()) == set(inputs)
    return {name: np.array(value) for name, value in signature(**inputs).items()}


@BOTH_FORMS
def test_a_float_weight_computes_what_it_says(tmp_path: Path, external: bool) -> None:
    matrix, x = random(8, WIDTH), random(2, WIDTH, seed=1)
    path = write(one_layer(weight("w", matrix.shape)), tmp_path, {"w": matrix}, external=external)
    result = run(path, **{"in": x})
    assert set(result) == {"out"}
    np.testing.assert_allclose(result["out"], x @ matrix.T, rtol=1e-5, atol=1e-5)


@BOTH_FORMS
@pytest.mark.parametrize("per_channel", [True, False], ids=["per-channel", "per-tensor"])
def test_an_int8_weight_gets_the_scales_of_its_values(
    tmp_path: Path, external: bool, per_channel: bool
) -> None:
    matrix = random(8, WIDTH) * np.logspace(-2, 2, 8, dtype=np.float32)[:, None]
    x = random(2, WIDTH, seed=1)
    stored = weight("w", matrix.shape, "int8", per_channel=per_channel)
    path = write(one_layer(stored), tmp_path, {"w": matrix}, external=external)
    expected = quantize(matrix, Granularity(per_channel=per_channel))
    interpreter = Interpreter(model_path=str(path))
    detail = next(it for it in interpreter.get_tensor_details() if it["name"] == "w")
    np.testing.assert_array_equal(
        detail["quantization_parameters"]["scales"], expected.scales[:, 0]
    )
    assert not detail["quantization_parameters"]["zero_points"].any()
    assert detail["quantization_parameters"]["quantized_dimension"] == 0
    rows = expected.values * expected.scales
    # The runtime rounds the activations to 8 bits: half a step of the largest, for each product.
    step = np.abs(x).max() / 127 / 2 * np.abs(rows).sum(axis=1)
    assert (np.abs(run(path, **{"in": x})["out"] - x @ rows.T) <= step).all()


@BOTH_FORMS
@pytest.mark.parametrize("block", [32, None])
def test_a_4_bit_weight_computes_with_its_integers_and_scales(
    tmp_path: Path, external: bool, block: int | None
) -> None:
    """In blocks, whose scales are a tensor, or by channel."""
    matrix = random(8, WIDTH) * np.logspace(-2, 2, 8, dtype=np.float32)[:, None]
    x = random(2, WIDTH, seed=1)
    stored = four_bits(matrix.shape, block)
    path = write(one_layer(stored), tmp_path, {"w": matrix}, external=external)
    codec = CODECS["int4-channel" if block is None else "int4"]
    rows = codec.decode(codec.encode(matrix, Granularity(block=block)))
    step = np.abs(x).max() / 127 / 2 * np.abs(rows).sum(axis=1)
    assert (np.abs(run(path, **{"in": x})["out"] - x @ rows.T) <= step).all()
    # half a byte a number, and the scales: 2 bytes a block, or beside the tensor
    data = data_bytes(one_layer(stored))
    assert data == matrix.size // 2 + (0 if block is None else 2 * matrix.size // block)


def test_a_table_of_4_bits_is_read_row_by_row(tmp_path: Path) -> None:
    table = random(3, 6)
    stored = four_bits(table.shape, None)
    rows = Tensor(name="rows", shape=(3,), dtype="int32")
    y = activation("y", 3, 6)
    look_up = Operator(code="EMBEDDING_LOOKUP", inputs=(rows, stored), outputs=(y,), version=4)
    graph = Graph(name="table", operators=(look_up,), inputs={"rows": rows}, outputs={"y": y})
    assert data_bytes(graph) == 9
    found = run(write(graph, tmp_path, {"w": table}), rows=np.array([2, 0, 1], np.int32))["y"]
    codec = CODECS["int4-channel"]
    expected = codec.decode(codec.encode(table, Granularity()))[[2, 0, 1]]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_parts_carry_the_scales_of_their_own_blocks(tmp_path: Path) -> None:
    x = activation("x", 2, WIDTH)
    arrays = {f"w{number}": random(WIDTH, WIDTH, seed=number) for number in range(2)}
    stored = [four_bits((WIDTH, WIDTH), 32, name) for name in arrays]
    one, y = dense(x, stored[0], "y")
    two, z = dense(y, stored[1], "z")
    graph = Graph(name="net", operators=(one, two), inputs={"x": x}, outputs={"z": z})
    parts = split(graph, data_bytes(graph) // 2 + PAGE_BYTES // 4)
    assert [data_bytes(part) for part in parts] == [WIDTH * WIDTH // 2 + WIDTH * 4] * 2
    value = random(2, WIDTH, seed=9)
    whole = run(write(graph, tmp_path, arrays), x=value)["z"]
    values = {"x": value}
    for number, part in enumerate(parts, start=1):
        path = write(part, tmp_path, arrays, name=f"part.{number}.tflite")
        values |= run(path, **{name: values[name] for name in part.inputs})
    np.testing.assert_array_equal(values["z"], whole)


def test_an_int8_weight_is_quantized_along_its_own_axis(tmp_path: Path) -> None:
    matrix = random(3, 5) * np.float32([1, 10, 100, 1000, 0])
    stored = weight("w", matrix.shape, "int8", axis=1)
    result = activation("y", *matrix.shape)
    operator = Operator(
        code="DEQUANTIZE",
        inputs=(stored,),
        outputs=(result,),
        options_type="DequantizeOptions",
        version=5,
    )
    x = activation("x", *matrix.shape)
    join, joined = add(x, result, "joined")
    graph = Graph(name="axis", operators=(operator, join), inputs={"x": x}, outputs={"y": joined})
    found = run(write(graph, tmp_path, {"w": matrix}), x=np.zeros_like(matrix))["y"]
    assert (np.abs(found - matrix) <= np.abs(matrix).max(axis=0) / 127 / 2 * 1.001).all()


@BOTH_FORMS
def test_a_half_weight_is_dequantized(tmp_path: Path, external: bool) -> None:
    matrix, x = random(8, WIDTH), random(2, WIDTH, seed=1)
    half = weight("w", matrix.shape, "float16")
    full = activation("w.float32", *matrix.shape)
    widen = Operator(
        code="DEQUANTIZE",
        inputs=(half,),
        outputs=(full,),
        options_type="DequantizeOptions",
        version=3,
    )
    path = write(one_layer(half, widen), tmp_path, {"w": matrix}, external=external)
    expected = x @ matrix.astype(np.float16).astype(np.float32).T
    np.testing.assert_allclose(run(path, **{"in": x})["out"], expected, rtol=1e-5, atol=1e-5)


def constants_graph(first: NDArray[Any], second: NDArray[Any]) -> Graph:
    """Return `reshape(x + first + second, (3, 2))`."""
    x = activation("x", 2, 3)
    constants = [
        Tensor(name=name, shape=data.shape, dtype="float32", data=data)
        for name, data in (("a", first), ("b", second))
    ]
    once, summed = add(x, constants[0], "once")
    twice, summed = add(summed, constants[1], "twice")
    shape = Tensor(name="shape", shape=(2,), dtype="int32", data=np.array([3, 2], np.int32))
    result = activation("y", 3, 2)
    turn = Operator(
        code="RESHAPE",
        inputs=(summed, shape),
        outputs=(result,),
        options_type="ReshapeOptions",
        options={"newShape": [3, 2]},
    )
    return Graph(
        name="constants", operators=(once, twice, turn), inputs={"x": x}, outputs={"y": result}
    )


@BOTH_FORMS
def test_constants_are_stored_and_equal_ones_only_once(tmp_path: Path, external: bool) -> None:
    x, constant = random(2, 3), np.full((2, 3), 7, np.float32)
    graph = constants_graph(constant, constant.copy())
    result = run(write(graph, tmp_path, {}, external=external), x=x)["y"]
    np.testing.assert_allclose(result, (x + 14).reshape(3, 2), rtol=1e-6)
    assert data_bytes(graph) == constant.nbytes + 8
    other = constants_graph(constant, constant + 1)
    assert data_bytes(other) == 2 * constant.nbytes + 8


@BOTH_FORMS
def test_the_same_weights_make_the_same_bytes(tmp_path: Path, external: bool) -> None:
    def made(name: str) -> bytes:
        graph = one_layer(weight("w", (8, WIDTH), "int8"))
        arrays = {"w": random(8, WIDTH)}
        return write(graph, tmp_path, arrays, external=external, name=name).read_bytes()

    assert made("one.tflite") == made("two.tflite")


def test_large_weights_lie_on_pages_and_operators_share_codes(tmp_path: Path) -> None:
    shape = (512, 512)
    arrays = {f"w{number}": random(*shape, seed=number) for number in range(2)}
    x = activation("x", 1, 512)
    one, y = dense(x, weight("w0", shape), "y")
    two, z = dense(y, weight("w1", shape), "z")
    graph = Graph(name="pages", operators=(one, two), inputs={"x": x}, outputs={"z": z})
    data = write(graph, tmp_path, arrays).read_bytes()
    model = schema.Model.GetRootAs(data, 0)
    assert schema.Model.ModelBufferHasIdentifier(data, 0)
    assert model.OperatorCodesLength() == 1
    for number, array in enumerate(arrays.values(), start=1):
        offset = data.index(array.tobytes())
        assert offset % PAGE_BYTES == 0
        np.testing.assert_array_equal(
            model.Buffers(number).DataAsNumpy().view(np.float32).reshape(shape), array
        )
    assert model.Buffers(0).DataIsNone()


@BOTH_FORMS
def test_a_file_that_was_cut_short_is_not_run(tmp_path: Path, external: bool) -> None:
    graph = one_layer(weight("w", (512, 512)))
    path = write(graph, tmp_path, {"w": random(512, 512)}, external=external)
    path.write_bytes(path.read_bytes()[:-PAGE_BYTES])
    with pytest.raises((ValueError, RuntimeError)):
        Interpreter(model_path=str(path))


def test_a_plain_file_that_is_too_large_is_refused_before_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flatbuffer, "PLAIN_LIMIT_BYTES", 4096)
    graph, arrays = one_layer(weight("w", (64, WIDTH))), {"w": random(64, WIDTH)}
    with pytest.raises(ExportError, match="a plain TFLite file holds 4,096"):
        write(graph, tmp_path, arrays)
    assert not (tmp_path / file_name(1)).exists()
    write(graph, tmp_path, arrays, external=True)


def test_weights_that_cannot_be_stored_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not finite"):
        write(one_layer(weight("w", (1, 2))), tmp_path, {"w": np.float32([[1, np.nan]])})
    with pytest.raises(ExportError, match="which float16 cannot"):
        write(one_layer(weight("w", (1, 2), "float16")), tmp_path, {"w": np.float32([[1, 1e6]])})


def broken_graphs() -> dict[str, Graph]:
    graph = constants_graph(np.zeros((2, 3), np.float32), np.ones((2, 3), np.float32))
    first, second, turn = graph.operators
    half = replace(weight("w", (2, 2), "float16"), dtype="int8")
    long = Tensor(name="long", shape=(3,), dtype="float32", data=np.zeros(2, np.float32))
    scales = Quantization(scales=(1.0, 1.0), zero_points=(0, 0))
    scaled = Tensor(name="s", shape=(3,), dtype="int8", quantization=scales)

    def with_operator(operator: Operator) -> Graph:
        return replace(graph, operators=(first, second, operator))

    return {
        "uses 'once' before": replace(graph, operators=(second, first, turn)),
        "Nothing makes the output 'y'": replace(graph, operators=(first, second)),
        "makes 'once', which is there": replace(graph, operators=(first, first, second, turn)),
        "no operator 'RESHAP'": with_operator(replace(turn, code="RESHAP")),
        "no options 'ReshapOptions'": with_operator(replace(turn, options_type="ReshapOptions")),
        "no options ''": with_operator(replace(turn, options_type="")),
        "no field 'shape'": with_operator(replace(turn, options={"shape": [3, 2]})),
        "stored as float16, not as int8": one_layer(half),
        "in blocks and has no scales": one_layer(
            replace(four_bits((2, 32), 32), block_scales=None)
        ),
        "but its weight 'w'": one_layer(replace(weight("w", (2, 3)), shape=(3, 2))),
        "but its data": with_operator(replace(turn, inputs=(turn.inputs[0], long))),
        "has 2 scales": replace(graph, inputs={**graph.inputs, "scaled": scaled}),
    }


@pytest.mark.parametrize("message", broken_graphs())
def test_a_graph_that_contradicts_itself_is_refused(tmp_path: Path, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        write(broken_graphs()[message], tmp_path, {"w": random(2, 3)})


def skip_net(dtype: Any = "float32") -> tuple[Graph, dict[str, NDArray[np.float32]]]:
    """Return a network that narrows, skips from its first layer to the last, and widens.

    The fewest bytes cross in its middle: the narrow activation and the one that skips. Its
    outputs are the last and the narrow one.
    """
    sizes = [WIDTH, WIDTH, WIDTH, 4, WIDTH, WIDTH, WIDTH]
    x = activation("x", 2, WIDTH)
    operators, arrays, results = [], {}, [x]
    for number, (columns, rows) in enumerate(itertools.pairwise(sizes)):
        arrays[f"w{number}"] = random(rows, columns, seed=number) / np.float32(columns**0.5)
        stored = weight(f"w{number}", (rows, columns), dtype)
        if dtype == "float16":
            full = activation(f"w{number}.float32", rows, columns)
            widen = Operator(
                code="DEQUANTIZE",
                inputs=(stored,),
                outputs=(full,),
                options_type="DequantizeOptions",
                version=3,
            )
            operators.insert(0, widen)  # all of them run before any layer
            stored = full
        layer, y = dense(results[-1], stored, "y")  # not a unique name
        operators.append(layer)
        results.append(y)
    join, joined = add(results[-1], results[1], "joined")
    again, last = add(joined, x, "last")
    operators += [join, again]
    return Graph(
        name="net",
        operators=tuple(operators),
        inputs={"x": x},
        outputs={"last": last, "narrow": results[3]},
    ), arrays


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("layers", [2, 3, 6])
def test_parts_one_after_the_other_compute_what_the_whole_does(
    tmp_path: Path, dtype: str, layers: int
) -> None:
    graph, arrays = skip_net(dtype)
    limit_bytes = layers * WIDTH * WIDTH * np.dtype(dtype).itemsize
    parts = split(graph, limit_bytes)
    assert all(data_bytes(part) <= limit_bytes for part in parts)
    # Four layers are WIDTH × WIDTH and two, beside each other in the middle, are 4 × WIDTH.
    assert len(parts) == {2: 3, 3: 2, 6: 1}[layers]
    x = random(2, WIDTH, seed=9)
    expected = run(write(graph, tmp_path, arrays), x=x)
    values: dict[str, NDArray[Any]] = {"x": x}
    for number, part in enumerate(parts, start=1):
        path = write(part, tmp_path, arrays, name=file_name(number))
        values |= run(path, **{name: values[name] for name in part.inputs})
    for name, value in expected.items():
        np.testing.assert_allclose(values[name], value, rtol=1e-5, atol=1e-5)


def test_a_graph_is_cut_where_the_least_crosses() -> None:
    graph, _ = skip_net()
    first, second = split(graph, 3 * WIDTH * WIDTH * 4)
    # Behind the narrow layer: the narrow activation, under its name as an output, and the skip.
    assert list(first.outputs) == ["narrow", "y"]
    assert {name: tensor.shape for name, tensor in second.inputs.items()} == {
        "x": (2, WIDTH),
        "y": (2, WIDTH),
        "narrow": (2, 4),
    }
    assert list(second.outputs) == ["last"]


def test_parts_are_alike_in_size_where_the_same_crosses_everywhere() -> None:
    x = activation("x", 1, WIDTH)
    operators, y = [], x
    for number in range(8):
        layer, y = dense(y, weight(f"w{number}", (WIDTH, WIDTH)), f"y{number}")
        operators.append(layer)
    graph = Graph(name="chain", operators=tuple(operators), inputs={"x": x}, outputs={"y": y})
    parts = split(graph, 7 * WIDTH * WIDTH * 4)
    assert [len(part.operators) for part in parts] == [4, 4]


def test_a_shared_weight_counts_once_in_a_part() -> None:
    x = activation("x", 1, WIDTH)
    operators, y = [], x
    for number in range(4):
        layer, y = dense(y, weight("w", (WIDTH, WIDTH)), f"y{number}")
        operators.append(layer)
    graph = Graph(name="shared", operators=tuple(operators), inputs={"x": x}, outputs={"y": y})
    assert split(graph, WIDTH * WIDTH * 4) == [graph]


def test_an_operator_beyond_the_limit_is_an_error() -> None:
    graph, _ = skip_net()
    with pytest.raises(ExportError, match="FULLY_CONNECTED with 'x', 'w0' needs 16,384 bytes"):
        split(graph, WIDTH * WIDTH * 4 - 1)
