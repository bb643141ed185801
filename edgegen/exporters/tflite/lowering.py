"""Lowers a captured graph to TFLite."""

from __future__ import annotations

from edgegen.core.calibration import Calibration
from edgegen.core.recipe import Recipe
from edgegen.exporters.capture import Capture
from edgegen.exporters.lowering import walk
from edgegen.exporters.tflite.graph import Graph
from edgegen.exporters.tflite.operators import LOWERINGS
from edgegen.exporters.tflite.writer import GraphWriter, ReadWeight


def lower(
    capture: Capture, recipe: Recipe, *, read: ReadWeight, calibration: Calibration | None
) -> Graph:
    """Return the TFLite graph, whose weights are to be streamed.

    `read` is asked for biases, and for the weights beside them, where activations are static.
    Raises ExportError that names every operator which the table lacks, and a layer that uses it;
    or for a layer whose static activations have no range.
    """
    writer = GraphWriter(
        capture.component.name, recipe.of(capture.component), read=read, calibration=calibration
    )
    inputs, outputs = walk(capture, writer, LOWERINGS)
    component = capture.component
    return writer.finish(
        {tensor.name: value for tensor, value in zip(component.inputs, inputs, strict=True)},
        {tensor.name: value for tensor, value in zip(component.outputs, outputs, strict=True)},
    )
