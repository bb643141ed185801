"""Lowers a captured graph to ONNX."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from edgegen.core.calibration import Calibration
from edgegen.core.model import ADAPTED_ROLES, main_role
from edgegen.core.recipe import Recipe
from edgegen.core.target import StoredSizes
from edgegen.exporters.capture import Capture
from edgegen.exporters.lowering import walk
from edgegen.exporters.onnx.operators import LOWERINGS
from edgegen.exporters.onnx.options import OnnxOptions
from edgegen.exporters.onnx.writer import GraphWriter, WeightUse


@dataclass(frozen=True, kw_only=True)
class Lowered:
    """A graph without weights, and the weights that it wants.

    `loras` are the weights beside which a LoRA may be given at run time, with their shapes.
    """

    model: ir.Model
    uses: tuple[WeightUse, ...]
    loras: Mapping[str, tuple[int, ...]]


def lower(
    capture: Capture,
    recipe: Recipe,
    options: OnnxOptions,
    sizes: StoredSizes,
    calibration: Calibration | None = None,
) -> Lowered:
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
        lora_as_input=options.lora_as_input and main_role(capture.component.role) in ADAPTED_ROLES,
    )
    inputs, outputs = walk(capture, writer, LOWERINGS)
    model = writer.finish(inputs, list(zip(capture.component.outputs, outputs, strict=True)))
    reachable = {id(value) for value in model.graph.initializers.values()}
    uses = tuple(use for use in writer.weights.values() if id(use.value) in reachable)
    return Lowered(
        model=model, uses=uses, loras={name: it.shape for name, it in writer.loras.items()}
    )
