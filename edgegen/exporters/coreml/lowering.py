"""Lowers a captured graph to a Core ML program."""

from __future__ import annotations

from edgegen.core.recipe import Recipe
from edgegen.exporters.capture import Capture
from edgegen.exporters.coreml.graph import Graph
from edgegen.exporters.coreml.interface import natives_of
from edgegen.exporters.coreml.operators import LOWERINGS
from edgegen.exporters.coreml.writer import GraphWriter
from edgegen.exporters.lowering import walk


def lower(capture: Capture, recipe: Recipe, *, minimum_os: int, split_attention: bool) -> Graph:
    """Return the program, whose constants say which weights they want.

    Raises ExportError that names every operator which the table lacks, and a layer that uses it.
    """
    writer = GraphWriter(
        capture.component.name,
        recipe.of(capture.component),
        minimum_os=minimum_os,
        split_attention=split_attention,
        upcast_attention=capture.upcast_attention,
        natives=natives_of(capture.component),
    )
    _, outputs = walk(capture, writer, LOWERINGS)
    return writer.finish(list(zip(capture.component.outputs, outputs, strict=True)))
