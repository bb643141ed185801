"""Exports one component to OpenVINO IR: lower, stream the weights, save the graph."""

from __future__ import annotations

from pathlib import Path

from edgegen.core.calibration import Calibration
from edgegen.core.codec import load_json
from edgegen.core.files import translate_disk_errors
from edgegen.exporters.base import ExportJob, ExportProgress, ExportResult, OpenedComponent
from edgegen.exporters.opened import import_toolkits, toolkit_versions

GRAPH_NAME = "openvino_model.xml"
WEIGHTS_NAME = "openvino_model.bin"


class OpenVinoExporter:
    """Writes `openvino_model.xml`, and its weights in `openvino_model.bin` beside it.

    OpenVINO itself is not needed for that.
    """

    def prepare(self) -> None:
        """Import torch, diffusers and transformers."""
        import_toolkits()
        from edgegen.exporters.openvino import lowering  # noqa: F401 - imported for the forks

    def export(
        self, job: ExportJob, opened: OpenedComponent, progress: ExportProgress
    ) -> ExportResult:
        """Write a component's graph and weights into `job.destination`."""
        from edgegen.exporters.openvino.ir_xml import ir_xml
        from edgegen.exporters.openvino.lowering import lower
        from edgegen.exporters.openvino.weights import place, stream_constants

        destination = Path(job.destination)
        bound, weights = opened.bound, opened.weights
        calibration = (
            None if job.calibration is None else load_json(Calibration, Path(job.calibration))
        )
        graph = lower(opened.capture, job.recipe, calibration)
        progress.step("weights", sum(constant.size_bytes for constant in graph.constants))
        offsets = place(graph.constants)
        written = stream_constants(
            graph.constants,
            offsets,
            bound,
            weights,
            destination / WEIGHTS_NAME,
            progress.advance,
            block=job.recipe.block,
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
            toolkits=toolkit_versions(),
        )
