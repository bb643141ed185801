"""What an image takes in arithmetic: the operations of each component, and how often it runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from edgegen.core.trace import ComponentTrace, Operator


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentWork:
    """The floating-point operations of one call of a component, and the calls of an image."""

    operations: int
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the components of an image compute, by name."""

    components: Mapping[str, ComponentWork]

    @property
    def operations(self) -> int:
        """Return the floating-point operations of an image."""
        return sum(it.operations * it.calls for it in self.components.values())


def operations_of(trace: ComponentTrace) -> int:
    """Return the floating-point operations of one call: two for a product and its sum."""
    return sum(_operations(it, trace) for it in trace.operators)


def _operations(operator: Operator, trace: ComponentTrace) -> int:
    match operator.kind:
        case "input":
            return 0
        case "conv2d" | "linear" if operator.weights:
            return 2 * operator.elements * math.prod(operator.weights[0][1:])
        case "scaled_dot_product_attention":
            query, key = (trace.operators[it].shape for it in operator.takes[:2])
            return 4 * math.prod(query) * key[-2]
        case "matmul" | "bmm":
            return 2 * operator.elements * trace.operators[operator.takes[0]].shape[-1]
    return operator.elements
