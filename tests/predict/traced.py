"""Traces written by hand."""

from __future__ import annotations

from collections.abc import Sequence

from edgegen.core.trace import ComponentTrace, Operator


def operator(
    kind: str,
    shape: tuple[int, ...],
    *takes: int,
    weights: tuple[tuple[int, ...], ...] = (),
    layer: str = "",
) -> Operator:
    """Return an operator on float32 numbers, whose layer has its kind's name."""
    return Operator(
        kind=kind,
        layer=layer or kind,
        shape=shape,
        dtype="float32",
        takes=takes,
        weights=weights,
    )


def trace(operators: Sequence[Operator]) -> ComponentTrace:
    """Return a trace whose last operator gives the output."""
    return ComponentTrace(operators=tuple(operators), outputs=(len(operators) - 1,))
