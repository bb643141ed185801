"""What a lowering to Core ML may know of its node."""

from __future__ import annotations

from typing import Any

from edgegen.exporters import lowering
from edgegen.exporters.coreml.writer import GraphWriter

Context = lowering.Context[GraphWriter]


def sizes(context: Context, shape: Any) -> tuple[int, ...]:
    """Return a traced shape as numbers. Raises ExportError where an axis is open."""
    if not all(isinstance(axis, int) for axis in shape):
        raise context.refuse("an axis that is open")
    return tuple(shape)


def result_of(context: Context) -> tuple[int, ...]:
    """Return the node's result's shape as numbers."""
    return sizes(context, context.result_shape)
