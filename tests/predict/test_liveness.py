"""The highest memory of a component's results, from its trace."""

from __future__ import annotations

from edgegen.core.trace import ComponentTrace
from edgegen.predict.liveness import peak_of
from tests.predict.traced import operator, trace

CHAIN = (
    operator("input", (10,)),
    operator("conv2d", (100,), 0),
    operator("silu", (100,), 1),
    operator("conv2d", (50,), 2),
    operator("add", (50,), 3, 0),
)


def test_a_result_is_alive_until_its_last_reader() -> None:
    assert peak_of(trace(CHAIN)).together == 4 * (10 + 100 + 100)


def test_an_output_is_alive_to_the_end() -> None:
    early = ComponentTrace(operators=CHAIN, outputs=(1, 4))
    assert peak_of(early).together == 4 * (10 + 100 + 100 + 50)


def test_a_view_is_the_memory_of_its_argument() -> None:
    viewed = (*CHAIN[:2], operator("view", (100,), 1), operator("silu", (100,), 2))
    assert peak_of(trace(viewed)).together == 4 * (100 + 100)


def test_what_an_operator_needs_besides_counts_while_it_runs() -> None:
    found = peak_of(trace(CHAIN), lambda it: 1000 if it.kind == "add" else 0)
    assert found.together == 4 * (10 + 50 + 50) + 1000


def test_large_blocks_are_summed_apart_from_small_ones() -> None:
    found = peak_of(trace(CHAIN), large_bytes=400)
    assert (found.small, found.large) == (4 * (10 + 50 + 50), 4 * 200)
