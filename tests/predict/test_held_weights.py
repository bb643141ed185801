"""Weights as runtimes hold them."""

from __future__ import annotations

import pytest
from edgegen_runner import backends

from edgegen.core.recipe import ComponentRecipe
from edgegen.core.targets import load_target
from edgegen.packaging.predicted import StoredWeight
from edgegen.predict.runtime_memory import (
    LITERT,
    ONNX_RUNTIME_FAST,
    ONNX_RUNTIME_LEAN,
    OPENVINO,
    SMALL_BYTES,
    RuntimeMemory,
    runtime_memory,
)
from edgegen.predict.weights import held_weights
from tests.predict.traced import operator, trace

MATRIX, KERNEL, TABLE = (512, 256), (64, 64, 3, 3), (1000, 64)
ELEMENTS = {"linear": 512 * 256, "convolution": 64 * 64 * 9, "embedding": 64_000}
WEIGHTS = [
    StoredWeight(layer="linear", shape=MATRIX),
    StoredWeight(layer="convolution", shape=KERNEL),
    StoredWeight(layer="embedding", shape=TABLE),
]
TRACE = trace([operator("input", (1,)), operator("embedding", (1, 64), 0, weights=(TABLE,))])


def recipe(storage: str, activations: str = "float") -> ComponentRecipe:
    return ComponentRecipe(
        name=storage,
        storage=storage,
        compute="float32",
        activations=activations,  # type: ignore[arg-type]
        rules=(),
        float32_layers=(),
    )


def held(runtime: RuntimeMemory, target: str, of: ComponentRecipe) -> dict[str, float]:
    sizes = load_target(target).sizes
    return {it.layer: it.held_bytes for it in held_weights(WEIGHTS, TRACE, of, sizes, runtime)}


def test_a_lean_session_reads_matrices_where_they_lie_and_of_a_table_only_rows() -> None:
    found = held(ONNX_RUNTIME_LEAN, "onnx", recipe("float16"))
    assert found["linear"] == 2 * ELEMENTS["linear"]
    assert found["embedding"] == 0


def test_openvino_folds_convolutions_of_int8_and_computes_with_matrices_of_int8() -> None:
    found = held(OPENVINO, "openvino", recipe("int8"))
    assert found["convolution"] > 7 * ELEMENTS["convolution"]
    assert found["linear"] < 3 * ELEMENTS["linear"]


def test_litert_packs_4_bits_and_keeps_convolutions_in_8_beside_blocks() -> None:
    found = held(LITERT, "tflite", recipe("int4", "dynamic-int8"))
    assert found["linear"] == pytest.approx(1.17 * ELEMENTS["linear"], rel=0.01)
    assert found["convolution"] == pytest.approx(2 * ELEMENTS["convolution"], rel=0.05)
    by_channel = held(LITERT, "tflite", recipe("int4-channel", "dynamic-int8"))
    assert by_channel["convolution"] == pytest.approx(0.8 * ELEMENTS["convolution"], rel=0.05)


def test_litert_holds_a_mapped_and_a_packed_copy() -> None:
    for form, bytes_each in ((recipe("float32"), 8), (recipe("int8", "dynamic-int8"), 2)):
        found = held(LITERT, "tflite", form)
        assert found["linear"] == pytest.approx(bytes_each * ELEMENTS["linear"], rel=0.05)


def test_int8_weights_that_are_not_computed_with_are_widened_twice() -> None:
    found = held(LITERT, "tflite", recipe("int8"))
    assert found["linear"] > 8 * ELEMENTS["linear"]


def test_onnx_runtime_copies_small_components_and_maps_large_ones() -> None:
    assert runtime_memory("onnxruntime", "auto", SMALL_BYTES) is ONNX_RUNTIME_FAST
    assert runtime_memory("onnxruntime", "auto", SMALL_BYTES + 1) is ONNX_RUNTIME_LEAN
    assert runtime_memory("onnxruntime", "fast", 1 << 40) is ONNX_RUNTIME_FAST
    assert runtime_memory("onnxruntime", "lean", 1) is ONNX_RUNTIME_LEAN


def test_the_size_up_to_which_onnx_runtime_copies_is_the_runner_s() -> None:
    assert backends.SMALL_BYTES == SMALL_BYTES
