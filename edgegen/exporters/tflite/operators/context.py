"""What a lowering to TFLite may know of its node."""

from __future__ import annotations

from edgegen.exporters import lowering
from edgegen.exporters.tflite.writer import GraphWriter

Context = lowering.Context[GraphWriter]


def fixed(context: Context, shape: tuple[object, ...]) -> tuple[int, ...]:
    """Return a shape as numbers. Raises ExportError for an open axis: TFLite packages have none."""
    numbers = tuple(size for size in shape if isinstance(size, int))
    if len(numbers) < len(shape):
        raise context.refuse("an open axis")
    return numbers
