"""Lowers a captured graph to OpenVINO's."""

from __future__ import annotations

from edgegen.core.calibration import Calibration
from edgegen.core.recipe import Recipe
from edgegen.exporters.capture import Capture
from edgegen.exporters.lowering import walk
from edgegen.exporters.openvino.graph import Graph
from edgegen.exporters.openvino.operators import LOWERINGS
from edgegen.exporters.openvino.writer import GraphWriter


def lower(capture: Capture, recipe: Recipe, calibration: Calibration | None) -> Graph:
    """Return the graph, whose constants say which weights they want.

    Raises ExportError that names every operator which the table lacks, and a layer that uses it;
    or for a layer whose calibrated activations have no range.
    """
    writer = GraphWriter(capture.component.name, recipe.of(capture.component), calibration)
    inputs, outputs = walk(capture, writer, LOWERINGS)
    return writer.finish(inputs, list(zip(capture.component.outputs, outputs, strict=True)))
