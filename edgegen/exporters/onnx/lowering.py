"""Lowers a captured graph to ONNX."""

from __future__ import annotations

import onnx_ir as ir

from edgegen.core.calibration import Calibration
from edgegen.core.recipe import Recipe
from edgegen.core.target import StoredSizes
from edgegen.exporters.capture import Capture
from edgegen.exporters.lowering import walk
from edgegen.exporters.onnx.operators import LOWERINGS
from edgegen.exporters.onnx.options import OnnxOptions
from edgegen.exporters.onnx.writer import GraphWriter, WeightUse


def lower(
    capture: Capture,
    recipe: Recipe,
    options: OnnxOptions,
    sizes: StoredSizes,
    calibration: Calibration | None = None,
) -> tuple[ir.Model, tuple[WeightUse, ...]]:
    """Return the ONNX model, its weights still empty, and which weights it wants.

    Raises ExportError that names every operator which the table lacks, and a layer that uses it,
    and where a static recipe has no range for a layer.
    """
    writer = GraphWriter(
        capture.component.name,
        recipe.of(capture.component),
        options,
        sizes,
        calibration=calibration,
        upcast_attention=capture.upcast_attention,
    )
    inputs, outputs = walk(capture, writer, LOWERINGS)
    model = writer.finish(inputs, list(zip(capture.component.outputs, outputs, strict=True)))
    reachable = {id(value) for value in model.graph.initializers.values()}
    uses = tuple(use for use in writer.weights.values() if id(use.value) in reachable)
    return model, uses
