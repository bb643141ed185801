"""Exports one component to ONNX: capture, lower, stream the weights, save the graph."""

from __future__ import annotations

import math
from importlib.metadata import version
from pathlib import Path

from edgegen.core.files import translate_disk_errors
from edgegen.exporters.base import ExportJob, ExportProgress, ExportResult

GRAPH_NAME = "model.onnx"
WEIGHTS_NAME = "model.onnx_data"
TOOLKITS = ("torch", "diffusers", "transformers", "onnx", "onnx-ir")


class OnnxExporter:
    """Writes `model.onnx`, and its weights in `model.onnx_data` beside it."""

    def prepare(self) -> None:
        """Import torch, diffusers, transformers and onnx-ir."""
        import diffusers.models
        import transformers  # noqa: F401 - imported for the processes that are forked from this one

        from edgegen.exporters import capture, wrappers  # noqa: F401 - as above
        from edgegen.exporters.onnx import lowering  # noqa: F401 - as above

        for name in ("AutoencoderKL", "AutoencoderTiny", "UNet2DConditionModel", "UNet2DModel"):
            getattr(diffusers.models, name)

    def export(self, job: ExportJob, progress: ExportProgress) -> ExportResult:
        """Write a component's graph and weights into `job.destination`."""
        progress.step("toolkits")
        import onnx_ir as ir

        from edgegen.exporters.capture import capture
        from edgegen.exporters.onnx.lowering import lower
        from edgegen.exporters.onnx.weights import stream_weights
        from edgegen.pipelines.binding import bind
        from edgegen.pipelines.weights import Weights

        source, destination = Path(job.source), Path(job.destination)
        weights = Weights.open(source)
        progress.step("graph")
        captured = capture(job.component, source, shapes=job.shapes)
        bound = bind(weights, captured.parameter_shapes)
        model, uses = lower(captured, job.recipe, job.operators)
        total = sum(use.dtype.itemsize * math.prod(use.form.shape) for use in uses)
        progress.step("weights", int(total))
        written = stream_weights(uses, bound, weights, destination / WEIGHTS_NAME, progress.advance)
        progress.step("save")
        graph_path = destination / GRAPH_NAME
        if not written:
            (destination / WEIGHTS_NAME).unlink()
        with translate_disk_errors(destination):
            ir.save(model, graph_path)
        return ExportResult(
            path=GRAPH_NAME,
            storage_bytes=written + graph_path.stat().st_size,
            operator_sets=dict(model.opset_imports),
            toolkits={name: version(name) for name in TOOLKITS},
        )
