"""What a lowering may know of its node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from edgegen.core.errors import ExportError
from edgegen.exporters.capture import Capture, Shape
from edgegen.exporters.onnx.writer import GraphWriter


@dataclass(frozen=True, kw_only=True)
class Context:
    """The writer, the traced node, and the values of the nodes before it."""

    writer: GraphWriter
    capture: Capture
    node: torch.fx.Node
    values: Mapping[torch.fx.Node, Any]

    @property
    def result_shape(self) -> Shape:
        """The traced shape of the node's result, with a `Size` where an axis is open."""
        return self.capture.shapes[self.node][0]

    @property
    def is_floating(self) -> bool:
        """Whether the node's result is a floating-point tensor."""
        return bool(self.node.meta["val"].is_floating_point())

    def shape_of(self, position: int) -> Shape:
        """Return the traced shape of an argument."""
        argument = self.node.args[position]
        if not isinstance(argument, torch.fx.Node):
            raise self.refuse("an argument that is not a tensor")
        return self.capture.shapes[argument][0]

    def refuse(self, what: str) -> ExportError:
        """Return the error that says that this use of the operator is not known."""
        return ExportError(
            f"{self.writer.component}: {self.node.target} in {self.writer.layer or 'the top'} "
            f"has {what}, which the ONNX exporter does not write.",
            hint="Please report the model's config.",
        )
