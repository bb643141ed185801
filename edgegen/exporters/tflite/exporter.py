"""Exports one component to TFLite: lower, cut what is too large, stream the weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgegen.core.calibration import Calibration
from edgegen.core.codec import decode, load_json
from edgegen.exporters.base import ExportJob, ExportProgress, ExportResult, OpenedComponent
from edgegen.exporters.opened import import_toolkits, toolkit_versions
from edgegen.exporters.tflite.options import TfliteOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgegen.exporters.stored_weights import WeightForm


class TfliteExporter:
    """Writes `model.tflite` and, where that would be too large, `model.2.tflite` and so on."""

    def prepare(self) -> None:
        """Import torch, diffusers, transformers and TFLite's schema."""
        import_toolkits()
        from edgegen.exporters.tflite import flatbuffer, lowering  # noqa: F401 - imported for the forks

    def export(
        self, job: ExportJob, opened: OpenedComponent, progress: ExportProgress
    ) -> ExportResult:
        """Write a component's graph and weights into `job.destination`."""
        import numpy as np

        from edgegen.exporters.stored_weights import load_weight
        from edgegen.exporters.tflite.flatbuffer import SCHEMA_VERSION, write_model
        from edgegen.exporters.tflite.lowering import lower
        from edgegen.exporters.tflite.parts import file_name, split
        from edgegen.exporters.tflite.weights import data_bytes

        options = decode(TfliteOptions, job.options, source="the job", at="options")
        destination = Path(job.destination)
        bound, weights = opened.bound, opened.weights

        calibration = (
            None if job.calibration is None else load_json(Calibration, Path(job.calibration))
        )

        def read(form: WeightForm) -> NDArray[np.float32]:
            return load_weight(form, np.dtype(np.float32), bound, weights)

        graph = lower(opened.capture, job.recipe, read=read, calibration=calibration)
        parts = split(graph, options.part_bytes)
        progress.step("weights", sum(data_bytes(part) for part in parts))
        written = sum(
            write_model(
                part,
                destination / file_name(number),
                bound=bound,
                weights=weights,
                progress=progress.advance,
                external=False,
            )
            for number, part in enumerate(parts, start=1)
        )
        return ExportResult(
            path=file_name(1),
            storage_bytes=written,
            operator_sets={"schema": SCHEMA_VERSION},
            toolkits=toolkit_versions("ai-edge-litert"),
        )
