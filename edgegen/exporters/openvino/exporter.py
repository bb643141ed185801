"""Exports one component to OpenVINO IR: capture, lower, stream the weights, save the graph."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from edgegen.core.files import translate_disk_errors
from edgegen.exporters.base import ExportJob, ExportProgress, ExportResult

GRAPH_NAME = "openvino_model.xml"
WEIGHTS_NAME = "openvino_model.bin"
TOOLKITS = ("torch", "diffusers", "transformers")


class OpenVinoExporter:
    """Writes `openvino_model.xml`, and its weights in `openvino_model.bin` beside it.

    OpenVINO itself is not needed for that.
    """

    def prepare(self) -> None:
        """Import torch, diffusers and transformers."""
        import diffusers.models
        import transformers  # noqa: F401 - imported for the processes that are forked from this one

        from edgegen.exporters import capture, wrappers  # noqa: F401 - as above
        from edgegen.exporters.openvino import lowering  # noqa: F401 - as above

        for name in ("AutoencoderKL", "AutoencoderTiny", "UNet2DConditionModel", "UNet2DModel"):
            getattr(diffusers.models, name)

    def export(self, job: ExportJob, progress: ExportProgress) -> ExportResult:
        """Write a component's graph and weights into `job.destination`."""
        progress.step("toolkits")
        from edgegen.exporters.capture import capture
        from edgegen.exporters.openvino.ir_xml import ir_xml
        from edgegen.exporters.openvino.lowering import lower
        from edgegen.exporters.openvino.weights import place, stream_constants
        from edgegen.pipelines.binding import bind
        from edgegen.pipelines.weights import Weights

        source, destination = Path(job.source), Path(job.destination)
        weights = Weights.open(source)
        progress.step("graph")
        captured = capture(job.component, source, shapes=job.shapes)
        bound = bind(weights, captured.parameter_shapes)
        graph = lower(captured, job.recipe)
        progress.step("weights", sum(constant.size_bytes for constant in graph.constants))
        offsets = place(graph.constants)
        written = stream_constants(
            graph.constants, offsets, bound, weights, destination / WEIGHTS_NAME, progress.advance
        )
        progress.step("save")
        text = ir_xml(graph, offsets).encode()
        with translate_disk_errors(destination):
            (destination / GRAPH_NAME).write_bytes(text)
        newest = max(int(layer.opset.removeprefix("opset")) for layer in graph.layers)
        return ExportResult(
            path=GRAPH_NAME,
            storage_bytes=written + len(text),
            operator_sets={"opset": newest},
            toolkits={name: version(name) for name in TOOLKITS},
        )
