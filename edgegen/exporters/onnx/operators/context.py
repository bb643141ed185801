"""What a lowering to ONNX may know of its node."""

from __future__ import annotations

from edgegen.exporters import lowering
from edgegen.exporters.onnx.writer import GraphWriter

Context = lowering.Context[GraphWriter]
