"""The highest memory of a component's results, from its trace."""

from __future__ import annotations

from edgegen.core.trace import ComponentTrace, Operator
from edgegen.predict.liveness import peak_bytes


def operator(kind: str, elements: int, *takes: int) -> Operator:
    return Operator(kind=kind, layer=kind, shape=(elements,), dtype="float32", takes=takes)


def test_a_result_is_alive_until_its_last_reader() -> None:
    chain = (
        operator("input", 10),
        operator("conv2d", 100, 0),
        operator("silu", 100, 1),
        operator("conv2d", 50, 2),
        operator("add", 50, 3, 0),
    )
    assert peak_bytes(ComponentTrace(operators=chain, outputs=(4,))) == 4 * (10 + 100 + 100)


def test_a_view_is_the_memory_of_its_argument() -> None:
    chain = (operator("input", 10), operator("conv2d", 100, 0), operator("view", 100, 1))
    assert peak_bytes(ComponentTrace(operators=chain, outputs=(2,))) == 4 * (10 + 100)
