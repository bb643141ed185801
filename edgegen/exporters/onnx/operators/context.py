"""What a lowering may know of its node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from edgegen.core.errors import ExportError
from edgegen.exporters.onnx.writer import GraphWriter


@dataclass(frozen=True, kw_only=True)
class Context:
    """The writer, the traced node, and the values of the nodes before it."""

    writer: GraphWriter
    node: torch.fx.Node
    values: Mapping[torch.fx.Node, Any]

    @property
    def result_shape(self) -> tuple[int | torch.SymInt, ...]:
        """The traced shape of the node's result, symbolic where an input is."""
        return tuple(self.node.meta["val"].shape)

    def shape_of(self, position: int) -> tuple[int | torch.SymInt, ...]:
        """Return the traced shape of an argument."""
        argument = self.node.args[position]
        if not isinstance(argument, torch.fx.Node):
            raise self.refuse("an argument that is not a tensor")
        return tuple(argument.meta["val"].shape)

    def refuse(self, what: str) -> ExportError:
        """Return the error that says that this use of the operator is not known."""
        return ExportError(
            f"{self.writer.component}: {self.node.target} in {self.writer.layer or 'the top'} "
            f"has {what}, which the ONNX exporter does not write.",
            hint="Please report the model's config.",
        )


def same_size(left: int | torch.SymInt, right: int | torch.SymInt) -> bool:
    """Tell whether two traced sizes are the same number or the same expression."""
    if isinstance(left, int) or isinstance(right, int):
        return isinstance(left, int) and isinstance(right, int) and left == right
    return bool(left.node.expr == right.node.expr)
