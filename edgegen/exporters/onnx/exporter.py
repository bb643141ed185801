"""Exports one component to ONNX: lower, stream the weights, save the graph, cut and compile it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from edgegen_runner.contexts import context_of

from edgegen.core.calibration import Calibration
from edgegen.core.chips import chip_folder
from edgegen.core.codec import decode, load_json
from edgegen.core.files import translate_disk_errors
from edgegen.core.model import LoraInput
from edgegen.core.targets import load_target
from edgegen.exporters.base import (
    CompiledComponent,
    ExportJob,
    ExportProgress,
    ExportResult,
    OpenedComponent,
)
from edgegen.exporters.onnx.options import OnnxOptions
from edgegen.exporters.opened import import_toolkits, toolkit_versions

GRAPH_NAME = "model.onnx"
WEIGHTS_NAME = "model.onnx_data"
GRAPH_FOLDER = "graph"
"""Where a graph lies until it is compiled."""


class OnnxExporter:
    """Writes `model.onnx`, and its weights in `model.onnx_data` beside it."""

    def prepare(self) -> None:
        """Import torch, diffusers, transformers and onnx-ir."""
        import_toolkits()
        from edgegen.exporters.onnx import lowering  # noqa: F401 - imported for the forks

    def export(
        self, job: ExportJob, opened: OpenedComponent, progress: ExportProgress
    ) -> ExportResult:
        """Write a component's graph and weights into `job.destination`."""
        import onnx_ir as ir

        from edgegen.exporters.onnx.lowering import lower
        from edgegen.exporters.onnx.parts import part_path, split
        from edgegen.exporters.onnx.weights import stream_weights

        bound, weights = opened.bound, opened.weights
        options = decode(OnnxOptions, job.options, source="the job", at="options")
        place = Path(job.destination)
        destination = place / GRAPH_FOLDER if options.chips else place
        destination.mkdir(exist_ok=True)
        calibration = (
            None if job.calibration is None else load_json(Calibration, Path(job.calibration))
        )
        sizes = load_target(job.target).sizes
        lowered = lower(opened.capture, job.recipe, options, sizes, calibration)
        model = lowered.model
        progress.step("weights", sum(use.size_bytes for use in lowered.uses))
        written = stream_weights(
            lowered.uses, bound, weights, destination / WEIGHTS_NAME, progress.advance
        )
        progress.step("save")
        models = [model]
        if options.chips:
            models = split(model, options.context_bytes)
        graphs = [part_path(destination / GRAPH_NAME, it) for it in range(1, len(models) + 1)]
        if not written:
            (destination / WEIGHTS_NAME).unlink()
        with translate_disk_errors(destination):
            for part, graph in zip(models, graphs, strict=True):
                ir.save(part, graph)
        size_bytes, used = written + graphs[0].stat().st_size, ["onnx", "onnx-ir"]
        compiled: dict[str, CompiledComponent] = {}
        if options.chips:
            from edgegen.exporters.onnx.contexts import PACKAGE

            compiled, size_bytes = _compile(graphs, place, options, progress)
            shutil.rmtree(destination)
            used += ["onnxruntime", PACKAGE]
        return ExportResult(
            path=GRAPH_NAME,
            storage_bytes=size_bytes,
            operator_sets=dict(model.opset_imports),
            toolkits=toolkit_versions(*used),
            compiled=compiled,
            lora_inputs={
                name.removesuffix(".weight"): LoraInput(weight=bound[name].key, shape=shape)
                for name, shape in lowered.loras.items()
            },
        )


def _compile(
    graphs: Sequence[Path], place: Path, options: OnnxOptions, progress: ExportProgress
) -> tuple[dict[str, CompiledComponent], int]:
    """Compile graphs for each chip; return what was made, and what the largest chip's files take.

    One chip's contexts go to `place`, those of several to a folder of each in it.
    """
    from edgegen.exporters.onnx.contexts import compile_parts

    compiled, sizes = {}, []
    for chip in options.chips:
        progress.step(f"compile for {chip.title}")
        folder = place / chip_folder(options.chips, chip)
        folder.mkdir(exist_ok=True)
        compiled[chip.name] = compile_parts(
            graphs,
            folder,
            chip,
            allow_processor=options.allow_processor,
            effort=options.effort,
        )
        made = (folder / graph.name for graph in graphs)
        sizes.append(sum(it.stat().st_size + context_of(it).stat().st_size for it in made))
    return compiled, max(sizes)
