"""Graphs that are said another way for OpenVINO's processor plugin: the same numbers come out."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgegen_runner.backends import BackendOptions, open_backend
from edgegen_runner.package import load_package

from tests.device_runners.tiny_tflite import Array, write_manifest

ov = pytest.importorskip("openvino", reason="pip install edgegen[openvino]")
op = pytest.importorskip("openvino.opset13")
rewrites = pytest.importorskip("edgegen_runner.backends.openvino_rewrites")

RANDOM = np.random.default_rng(11)
Node = Any


def numbers(*shape: int) -> Array:
    return RANDOM.standard_normal(shape).astype(np.float32)


def integers(*values: int) -> Node:
    return op.constant(np.array(values, np.int64))


def graph(make: Callable[..., Sequence[Node]], *shapes: Sequence[int]) -> Any:
    """Return a model of inputs `x0`, `x1`, … and outputs `y0`, `y1`, …"""
    inputs = [op.parameter(list(shape), np.float32) for shape in shapes]
    for index, each in enumerate(inputs):
        each.output(0).set_names({f"x{index}"})
    results = []
    for index, node in enumerate(make(*inputs)):
        output = node if isinstance(node, ov.Output) else node.output(0)
        output.set_names({f"y{index}"})
        results.append(op.result(output))
    return ov.Model(results, inputs, "tiny")


def computed(model: Any, inputs: Mapping[str, Array]) -> dict[str, Array]:
    gc.collect()  # what a rewritten graph took from the one before must be its own
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    values = compiled(inputs)
    return {output.get_any_name(): np.array(values[output]) for output in compiled.outputs}


def kinds(model: Any) -> list[str]:
    return [node.get_type_name() for node in model.get_ordered_ops()]


def assert_the_same(
    make: Callable[..., Sequence[Node]],
    *shapes: Sequence[int],
    arithmetic: str = "float32",
    like: Sequence[Sequence[int]] = (),
    close: float = 2e-5,
) -> list[str]:
    """Check that rewriting leaves the outputs; return the kinds of the operations afterwards."""
    inputs = {f"x{at}": numbers(*shape) for at, shape in enumerate(like or shapes)}
    before = computed(graph(make, *shapes), inputs)
    model = graph(make, *shapes)
    lent = rewrites.rewrite(model, arithmetic)
    after = computed(model, inputs)
    del lent
    assert after.keys() == before.keys()
    for name, value in before.items():
        np.testing.assert_allclose(after[name], value, rtol=close, atol=close * np.ptp(value))
    return kinds(model)


def normalized(x: Node) -> Sequence[Node]:
    scale, shift = op.constant(numbers_of(12, 1)), op.constant(numbers_of(12, 2))
    return [op.group_normalization(x, scale, shift, 3, 1e-5)]


def numbers_of(*shape: int) -> Array:
    """Return the same numbers for the same shape: a graph is made twice."""
    return np.random.default_rng(shape).standard_normal(shape[:-1]).astype(np.float32)


def test_norms_of_known_sizes_come_from_sums_of_channels() -> None:
    found = assert_the_same(normalized, (2, 12, 5, 7))
    assert "GroupNormalization" not in found


def test_norms_of_pictures_far_from_zero_are_as_exact_as_float32_allows() -> None:
    def make(x: Node) -> Sequence[Node]:
        return normalized(op.add(x, op.constant(np.float32(100))))

    assert "GroupNormalization" not in assert_the_same(make, (2, 12, 5, 7), close=1e-4)


@pytest.mark.parametrize("shape", [(2, 12, -1, -1), (-1, 12, 5, 7), (2, 12, 35)])
def test_other_norms_stay(shape: Sequence[int]) -> None:
    like = [tuple({-1: 5}.get(size, size) for size in shape)]
    assert "GroupNormalization" in assert_the_same(normalized, shape, like=like)


@pytest.fixture
def amx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewrites, "processor_features", lambda: frozenset({"amx_bf16"}))


def attended(query: Node, key: Node, value: Node) -> Sequence[Node]:
    return [op.scaled_dot_product_attention(query, key, value, causal=False)]


@pytest.mark.parametrize("keys", [4, 9])
@pytest.mark.parametrize("batch", [1, -1])
def test_heads_are_padded_to_rows_of_a_tile(amx: None, keys: int, batch: int) -> None:
    shapes = [(batch, 2, size, 40) for size in (4, keys, keys)]
    like = [(1, *shape[1:]) for shape in shapes]
    found = assert_the_same(attended, *shapes, arithmetic="bfloat16", like=like)
    assert "ScaledDotProductAttention" not in found
    assert found.count("Pad") == 2


def causal(query: Node, key: Node, value: Node) -> Sequence[Node]:
    return [op.scaled_dot_product_attention(query, key, value, causal=True)]


def masked(query: Node, key: Node, value: Node) -> Sequence[Node]:
    mask = op.constant(numbers_of(1, 1, 4, 4, 3))
    return [op.scaled_dot_product_attention(query, key, value, mask, causal=False)]


@pytest.mark.parametrize(
    ("make", "width", "arithmetic"),
    [
        (attended, 64, "bfloat16"),
        (attended, 40, "float32"),
        (attended, 40, "float16"),
        (causal, 40, "bfloat16"),
        (masked, 40, "bfloat16"),
    ],
)
def test_other_attention_stays(
    amx: None, make: Callable[..., Sequence[Node]], width: int, arithmetic: str
) -> None:
    found = assert_the_same(make, *[(1, 2, 4, width)] * 3, arithmetic=arithmetic)
    assert "ScaledDotProductAttention" in found


def test_heads_stay_without_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewrites, "processor_features", lambda: frozenset({"avx512_bf16"}))
    found = assert_the_same(attended, *[(1, 2, 4, 40)] * 3, arithmetic="bfloat16")
    assert "ScaledDotProductAttention" in found


def doubled(x: Node, *, by: float = 2.0, mode: str = "nearest", sizes: bool = False) -> Node:
    target = integers(10, 14) if sizes else op.constant(np.array([by, by], np.float32))
    return op.interpolate(
        x,
        target,
        mode,
        "sizes" if sizes else "scales",
        axes=integers(2, 3),
        nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )


def kernel(kind: str, *shape: int) -> Node:
    """Return a kernel as recipes store it."""
    whole = np.random.default_rng(shape).integers(-8, 8, shape)
    if kind == "float32":
        return op.constant((whole / 8).astype(np.float32))
    if kind == "float16":
        return op.convert(op.constant((whole / 8).astype(np.float16)), "f32")
    scales = op.constant(np.full((shape[0], *[1] * (len(shape) - 1)), 0.125, np.float32))
    if kind == "int8":
        return op.multiply(op.convert(op.constant(whole.astype(np.int8)), "f32"), scales)
    if kind == "int4":
        values = op.convert(op.constant(whole.astype(np.int8), dtype=ov.Type.i4), "f32")
        return op.multiply(values, scales)
    stored = op.convert(op.constant((whole + 8).astype(np.uint8), dtype=ov.Type.u4), "f32")
    zeros = op.convert(op.constant(np.full([1] * len(shape), 8, np.uint8), dtype=ov.Type.u4), "f32")
    return op.multiply(op.subtract(stored, zeros), scales)


KINDS = ["float32", "float16", "int8", "int4", "uint4"]


def convolved(x: Node, kind: str = "float32", *, strides: int = 1, pads: int = 1) -> Node:
    weight = kernel(kind, 4, 6, 3, 3)
    return op.convolution(x, weight, [strides] * 2, [pads] * 2, [pads] * 2, [1, 1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", [False, True])
def test_an_upsampling_is_one_transposed_convolution(kind: str, sizes: bool) -> None:
    found = assert_the_same(lambda x: [convolved(doubled(x, sizes=sizes), kind)], (2, 6, 5, 7))
    assert "ConvolutionBackpropData" in found
    assert "Interpolate" not in found


def test_an_upsampling_of_open_size_is_one_too() -> None:
    shape, like = (-1, 6, -1, -1), [(2, 6, 5, 7)]
    found = assert_the_same(lambda x: [convolved(doubled(x))], shape, like=like)
    assert "ConvolutionBackpropData" in found


def test_in_16_bits_its_kernel_is_stored_so() -> None:
    model = graph(lambda x: [convolved(doubled(x))], (2, 6, 5, 7))
    rewrites.rewrite(model, "bfloat16")
    found = {node.get_output_element_type(0).to_string() for node in model.get_ordered_ops()}
    assert "f16" in found


@pytest.mark.parametrize(
    "make",
    [
        lambda x: [convolved(doubled(x, by=3.0))],
        lambda x: [convolved(doubled(x, mode="linear"))],
        lambda x: [convolved(doubled(x), strides=2)],
        lambda x: [convolved(doubled(x), pads=0)],
        lambda x: [convolved(both := doubled(x)), op.relu(both)],
        lambda x: [convolved(x)],
    ],
)
def test_other_convolutions_stay(make: Callable[..., Sequence[Node]]) -> None:
    assert "ConvolutionBackpropData" not in assert_the_same(make, (2, 6, 5, 7))


def test_a_large_upsampling_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewrites, "_MOST_CHANNELS", 4 * 6 - 1)
    found = assert_the_same(lambda x: [convolved(doubled(x))], (2, 6, 5, 7))
    assert "ConvolutionBackpropData" not in found


def gated(kind: str, *, parts: Sequence[int] = (8, 8), axis: int = -1) -> Callable[..., list[Node]]:
    def make(x: Node) -> list[Node]:
        bias = op.constant(numbers_of(16, 5))
        product = op.add(op.matmul(x, kernel(kind, 16, 6), False, True), bias)
        split = op.variadic_split(product, op.constant(np.int64(axis)), integers(*parts))
        return [split.output(index) for index in range(len(parts))]

    return make


@pytest.mark.parametrize("axis", [-1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_halves_of_a_product_are_computed_by_themselves(kind: str, axis: int) -> None:
    found = assert_the_same(gated(kind, axis=axis), (2, 3, 6))
    # Zero points of the whole weight have no halves.
    assert ("VariadicSplit" in found) is (kind == "uint4")


def with_two_users(x: Node) -> Sequence[Node]:
    product = op.matmul(x, kernel("float32", 16, 6), False, True)
    both = op.add(product, op.constant(numbers_of(16, 5)))
    split = op.variadic_split(both, op.constant(np.int64(-1)), integers(8, 8))
    return [split.output(0), split.output(1), op.relu(both)]


def with_rows_added(x: Node) -> Sequence[Node]:
    """Add another row of numbers to each of two rows, as a table of positions would be."""
    product = op.matmul(x, kernel("float32", 16, 6), False, True)
    rows = op.constant(np.random.default_rng(1).standard_normal((2, 16)).astype(np.float32))
    split = op.variadic_split(op.add(product, rows), op.constant(np.int64(-1)), integers(8, 8))
    return [split.output(0), split.output(1)]


def of_two_inputs(x: Node) -> Sequence[Node]:
    product = op.matmul(x, op.concat([x] * 8, 1), False, True)
    added = op.add(product, op.multiply(product, op.constant(np.float32(2))))
    split = op.variadic_split(added, op.constant(np.int64(-1)), integers(8, 8))
    return [split.output(0), split.output(1)]


@pytest.mark.parametrize(
    "make",
    [
        gated("float32", parts=(4, 12)),
        gated("float32", parts=(4, 4, 8)),
        with_two_users,
        with_rows_added,
        of_two_inputs,
    ],
)
def test_other_splits_stay(make: Callable[..., Sequence[Node]]) -> None:
    assert "VariadicSplit" in assert_the_same(make, (2, 2, 6))
    open_shape = assert_the_same(make, (-1, 2, 6), like=[(2, 2, 6)])
    assert "VariadicSplit" in open_shape


@pytest.mark.parametrize("kind", KINDS)
def test_kernels_of_integers_are_stored_in_float16(kind: str, tmp_path: Path) -> None:
    def make(x: Node) -> Sequence[Node]:
        return [convolved(x, kind)]

    shape, model = (2, 6, 5, 7), graph(make, (2, 6, 5, 7))
    inputs = {"x0": numbers(*shape)}
    is_integer = kind in ("int8", "int4", "uint4")
    assert rewrites.widens(model) is is_integer
    before = computed(model, inputs)
    rewrites.widen(model)
    assert not rewrites.widens(model)
    ov.save_model(model, tmp_path / "wide.xml", compress_to_fp16=False)
    model = ov.Core().read_model(tmp_path / "wide.xml")
    rewrites.rewrite(model, "float32")
    np.testing.assert_allclose(computed(model, inputs)["y0"], before["y0"], rtol=1e-5, atol=1e-5)


def test_kernels_beyond_float16_are_stored_in_float32() -> None:
    def make(x: Node) -> Sequence[Node]:
        whole = op.convert(op.constant(np.full((4, 6, 3, 3), 100, np.int8)), "f32")
        large = op.multiply(whole, op.constant(np.float32(1000)))
        return [op.convolution(x, large, [1, 1], [1, 1], [1, 1], [1, 1])]

    model, inputs = graph(make, (2, 6, 5, 7)), {"x0": numbers(2, 6, 5, 7)}
    before = computed(model, inputs)["y0"]
    rewrites.widen(model)
    after = computed(model, inputs)["y0"]
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-5 * np.ptp(before))


def test_kernels_of_calibrated_activations_stay_integers() -> None:
    def make(x: Node) -> Sequence[Node]:
        ends = [op.constant(np.float32(end)) for end in (-4, 4, -4, 4)]
        return [convolved(op.fake_quantize(x, *ends, 256), "int8")]

    assert not rewrites.widens(graph(make, (2, 6, 5, 7)))


@pytest.mark.parametrize(("kept", "memory"), [(True, "lean"), (False, "lean"), (False, "fast")])
def test_widened_kernels_lie_in_a_file_that_is_kept_or_gone(
    kept: bool, memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, place = tmp_path / "package", tmp_path / "kept"
    (folder / "unet").mkdir(parents=True)

    def make(x: Node) -> Sequence[Node]:
        return [convolved(x, "int4")]

    model = graph(make, (2, 6, 5, 7))
    ov.save_model(model, folder / "unet/openvino_model.xml", compress_to_fp16=False)
    inputs = {"x0": numbers(2, 6, 5, 7)}
    expected = computed(model, inputs)["y0"]
    outputs = {"y0": (2, 4, 5, 7)}
    write_manifest(folder, "openvino", "unet/openvino_model.xml", inputs, outputs)
    monkeypatch.setattr("edgegen_runner.optimized.MOST_BYTES", 0)
    options = BackendOptions(name="openvino", memory=memory, optimized=place if kept else None)
    component = load_package(folder).component("unet")
    before = set(folder.rglob("*"))
    for _ in range(2):
        session = open_backend(options).load(component.path, component)
        np.testing.assert_allclose(session.run(inputs)["y0"], expected, rtol=1e-4, atol=1e-4)
        session.close()
    assert set(folder.rglob("*")) == before
    written = [path.name for path in place.rglob("*.xml")]
    assert written == (["widened.xml"] if kept else [])


def test_without_room_kernels_are_widened_by_the_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "unet").mkdir()
    model = graph(lambda x: [convolved(x, "int8")], (2, 6, 5, 7))
    ov.save_model(model, tmp_path / "unet/openvino_model.xml", compress_to_fp16=False)
    inputs = {"x0": numbers(2, 6, 5, 7)}
    expected = computed(model, inputs)["y0"]
    write_manifest(tmp_path, "openvino", "unet/openvino_model.xml", inputs, {"y0": (2, 4, 5, 7)})

    def full(*_: object, **__: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr(ov, "save_model", full)
    component = load_package(tmp_path).component("unet")
    session = open_backend(BackendOptions(name="openvino", memory="lean")).load(
        component.path, component
    )
    np.testing.assert_allclose(session.run(inputs)["y0"], expected, rtol=1e-4, atol=1e-4)
