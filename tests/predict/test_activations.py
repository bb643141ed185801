"""What runtimes need besides the results of operators."""

from __future__ import annotations

from edgegen.core.recipe import ComponentRecipe
from edgegen.predict.activations import activations, pointers_bytes, scores_bytes
from edgegen.predict.runtime_memory import LITERT, ONNX_RUNTIME_LEAN, RuntimeMemory
from tests.predict.traced import operator, trace

HALF = ComponentRecipe(
    name="fp16-storage",
    storage="float16",
    compute="float32",
    activations="float",
    rules=(),
    float32_layers=(),
)
ATTENTION = trace(
    [
        *(operator("input", (1, 8, 4096, 40)) for _ in range(3)),
        operator("scaled_dot_product_attention", (1, 8, 4096, 40), 0, 1, 2),
    ]
)
CONVOLUTION = operator("conv2d", (1, 16, 32, 32), 0, weights=((16, 4, 3, 3), (16,)))


def test_scores_of_all_heads_are_in_memory_where_they_are_small() -> None:
    assert scores_bytes(ATTENTION.operators[3], ATTENTION, 1 << 30) == 4 * 8 * 4096**2


def test_scores_that_are_large_are_those_of_one_head_or_a_part_of_it() -> None:
    assert scores_bytes(ATTENTION.operators[3], ATTENTION, 64 << 20) == 4 * 4096**2
    assert scores_bytes(ATTENTION.operators[3], ATTENTION, 16 << 20) == 4096**2


def test_a_kernel_that_never_has_the_scores_needs_nothing_for_them() -> None:
    assert scores_bytes(ATTENTION.operators[3], ATTENTION, 0) == 0


def test_a_kernel_of_one_pixel_needs_no_table_of_pointers() -> None:
    assert pointers_bytes(CONVOLUTION) == 8 * 9 * 32 * 32
    assert pointers_bytes(operator("conv2d", (1, 4, 8, 8), 0, weights=((4, 4, 1, 1),))) == 0


def test_xnnpack_keeps_its_tables_and_results_as_long_as_a_component_is_loaded() -> None:
    traced = trace([operator("input", (1, 4, 32, 32)), CONVOLUTION])
    found = activations(traced, "decoder", HALF, LITERT)
    results = 4 * (4 + 16) * 32 * 32
    assert found.own_bytes == 2 * LITERT.operator_bytes + pointers_bytes(CONVOLUTION) + results
    assert (found.heap_bytes, found.lent_bytes) == (0, 0)


def test_a_lean_run_widens_a_weight_for_the_operator_that_reads_it() -> None:
    weight = (4096, 4096)
    traced = trace(
        [operator("input", (1, 4096)), operator("linear", (1, 4096), 0, weights=(weight,))]
    )
    lean = activations(traced, "denoiser", HALF, ONNX_RUNTIME_LEAN)
    assert lean.lent_bytes == 4 * 4096**2
    plain = RuntimeMemory(
        base_bytes=0, operator_bytes=0, keeps_activations=False, returned_from_bytes=1, heap=1.0
    )
    assert activations(traced, "denoiser", HALF, plain).lent_bytes == 2 * 4 * 4096
