"""The activations of a component as a runtime holds them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgegen.core.model import Role
from edgegen.core.recipe import ComponentRecipe
from edgegen.core.trace import ComponentTrace, Operator
from edgegen.predict.liveness import peak_of
from edgegen.predict.runtime_memory import RuntimeMemory
from edgegen.predict.weights import widened_bytes

POINTER_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Activations:
    """What a component takes besides its weights.

    `own_bytes` is its own as long as it is loaded, once it has run; `heap_bytes` and `lent_bytes`
    are what it takes besides while it runs, from the heap and in large blocks.
    """

    own_bytes: float
    heap_bytes: float
    lent_bytes: float


def activations(
    trace: ComponentTrace, role: Role, recipe: ComponentRecipe, runtime: RuntimeMemory
) -> Activations:
    """Return what a component's results take on a runtime, with what it needs to compute them."""

    def temporary(operator: Operator) -> int:
        widened = 0
        if runtime.widens:
            widened = sum(
                widened_bytes(recipe, operator.layer, shape)
                for shape in operator.weights
                if len(shape) > 1 and operator.kind != "embedding"
            )
        return widened + scores_bytes(operator, trace, runtime.scores_bytes)

    live = peak_of(trace, temporary, large_bytes=runtime.returned_from_bytes)
    kept = runtime.operator_bytes * len(trace.operators)
    if runtime.keeps_activations:
        tables = sum(map(pointers_bytes, trace.operators)) if runtime.indirection else 0
        factor = runtime.live.get(role, 1.0)
        return Activations(
            own_bytes=kept + tables + factor * live.together, heap_bytes=0, lent_bytes=0
        )
    return Activations(own_bytes=kept, heap_bytes=runtime.heap * live.small, lent_bytes=live.large)


def scores_bytes(operator: Operator, trace: ComponentTrace, at_once: int) -> int:
    """Return how much of the scores of attention is in memory at once; 0 where a kernel has none.

    All heads together up to `at_once` bytes, else one head, in blocks of queries.
    """
    if operator.kind != "scaled_dot_product_attention" or not at_once:
        return 0
    query, key = (trace.operators[it].shape for it in operator.takes[:2])
    head = 4 * query[0] * query[-2] * key[-2]
    heads = math.prod(query[1:-2])
    if heads * head <= at_once:
        return heads * head
    return head // -(-head // at_once)


def pointers_bytes(operator: Operator) -> int:
    """Return the table of pointers of a convolution whose kernel has several entries."""
    if operator.kind != "conv2d" or not operator.weights:
        return 0
    kernel = math.prod(operator.weights[0][2:])
    return POINTER_BYTES * kernel * math.prod(operator.shape[2:]) if kernel > 1 else 0
