"""What a lowering to OpenVINO may know of its node."""

from __future__ import annotations

from edgegen.exporters import lowering
from edgegen.exporters.openvino.writer import GraphWriter

Context = lowering.Context[GraphWriter]
